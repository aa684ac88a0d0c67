"""A linear layer above an encoder that stays as it is: what `pretrain.freeze=all` trains."""

from collections import OrderedDict

from torch import nn

from pipeline.encoders.base import Encoder


def identity_layer(features: int) -> nn.Linear:
    """Returns a linear layer that gives features as they are, until it is trained."""
    layer = nn.Linear(features, features)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def with_adapter(encoder: Encoder) -> Encoder:
    """Returns an encoder whose features pass through a layer of their own size.

    The names of the weights begin with `network.` and `adapter.`.
    """
    parts = OrderedDict(network=encoder.backbone, adapter=identity_layer(encoder.feature_dim))
    return Encoder(nn.Sequential(parts), encoder.feature_dim)
