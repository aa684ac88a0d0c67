"""What the optimisers do with the two groups of weights that they are given."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import Parameter

from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import build_plain_encoder
from pipeline.objectives.cl_infonce import ClInfoNCE
from pipeline.training.network import Network
from pipeline.training.optimizers import build_optimizer


@pytest.mark.parametrize("weight_decay", [0.0, 1e-6])
def test_lars_follows_the_norm_of_a_matrix_whatever_the_weight_decay(weight_decay: float) -> None:
    """You et al., arXiv 1708.03888: the step of a layer is 0.001 of its norm, times the rate; of a bias
    it is that of SGD."""
    params = PretrainParams(optimizer="lars", learning_rate=2.0, momentum=0.0, weight_decay=weight_decay)
    matrix, bias = Parameter(torch.full((2, 2), 0.5)), Parameter(torch.ones(2))
    layer = nn.ParameterList([matrix, bias])
    optimizer = build_optimizer(layer, params, torch.device("cpu"))
    matrix.grad, bias.grad = torch.full((2, 2), 3.0), torch.full((2,), 3.0)
    before = matrix.detach().clone()
    optimizer.step()
    assert float((before - matrix).norm().detach()) == pytest.approx(2.0 * 0.001 * 1.0, rel=1e-4)
    assert bias.tolist() == [1.0 - 2.0 * 3.0] * 2


def test_tokens_of_a_transformer_are_no_matrices() -> None:
    """Muon would orthogonalise them, and weight decay pull them to nothing."""
    network = nn.ModuleDict(
        {"encoder": timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0)}
    )
    matrices, others = build_optimizer(network, PretrainParams(), torch.device("cpu")).param_groups
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    beside = {names[id(parameter)] for parameter in others["params"]}
    assert {"encoder.pos_embed", "encoder.cls_token", "encoder.norm.weight"} <= beside
    assert "encoder.patch_embed.proj.weight" in {names[id(p)] for p in matrices["params"]}
    assert (matrices["weight_decay"], others["weight_decay"]) == (1e-4, 0.0)
    assert len(matrices["params"]) + len(others["params"]) == len(names)


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd", "lars"])
def test_layers_train_at_their_own_rates(optimizer: str) -> None:
    """As the trainer multiplies the rate of a step by their factors."""
    params = PretrainParams.model_validate({"optimizer": optimizer, "layer_decay": 0.5, "learning_rate": 1.0})
    encoder = build_plain_encoder(Architecture("resnet18", 4, 32))
    network = Network(encoder, ClInfoNCE(512, 8, 0.1))
    made = build_optimizer(network, params, torch.device("cpu"))
    name_of = {id(parameter): name for name, parameter in network.named_parameters()}
    factor_of = {name_of[id(p)]: group["rate_factor"] for group in made.param_groups for p in group["params"]}
    assert set(factor_of) == set(name_of.values())
    assert factor_of["encoder.backbone.conv1.weight"] == 0.5**4
    assert factor_of["encoder.backbone.layer3.0.bn1.bias"] == 0.5
    assert factor_of["encoder.backbone.layer4.1.conv2.weight"] == 1
    assert {f for name, f in factor_of.items() if not name.startswith("encoder.")} == {1.0}
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.step()
