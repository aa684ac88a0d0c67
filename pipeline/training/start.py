"""The reference `start`: the weights from which training starts, as they came.

It is also how they reach training: as an encoder of this project, whatever their file was.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pipeline.config.pretrain import DOWNLOADED, PretrainParams
from pipeline.dataset.dataset import ImageDataset
from pipeline.encoders.base import Architecture, Encoder
from pipeline.encoders.config import EncoderConfig
from pipeline.encoders.files import missing_file, read_config, read_weights
from pipeline.encoders.given_weights import OF_ANOTHER_SIZE, fit_weights
from pipeline.encoders.patches import PatchResNet
from pipeline.encoders.preprocessing import Preprocessing, download_address, usual_preprocessing
from pipeline.encoders.registry import PATCH_RESNET, architecture_of, build_encoder, build_plain_encoder
from pipeline.encoders.timm_arguments import TimmArguments, timm_arguments_of
from pipeline.encoders.timm_models import PREFIX, build_timm, usual_size
from pipeline.encoders.weights_files import WeightsFile, WeightsRefused, read_weights_file, weights_sha256
from pipeline.runtime.errors import UserError, first_line, shown
from pipeline.storage.files import resolve_user_path
from pipeline.storage.schema import ENCODER_CONFIG, START, Layout
from pipeline.storage.validation import missing, reading
from pipeline.training.outputs import write_artifacts
from pipeline.training.progress import Progress

STRIDE_OF_WEIGHTS = 4
"""Stride of the first layer for which torchvision's weights are made."""


@dataclass(frozen=True)
class Start:
    """An encoder to start from, as `write_start` wrote it."""

    config: EncoderConfig
    tensors: dict[str, Tensor]
    provenance: dict[str, Any]
    """What config.json records about the weights."""

    @property
    def encoder_sha256(self) -> str:
        return str(self.provenance["start"]["encoder_sha256"])

    def load_into(self, encoder: Encoder) -> None:
        """Loads the weights into an encoder that is to be trained.

        Its batch norms keep their statistics, since those of a few augmented batches lower accuracy before a
        weight has moved (docs/log.md).
        """
        encoder.backbone.load_state_dict(self.tensors)
        encoder.keep_statistics()
        if isinstance(encoder.backbone, PatchResNet):
            # It is fitted again after training.
            encoder.backbone.reset_whitening()

    def below(self, adapter: Encoder) -> Encoder:
        """Returns the encoder as it came, with a linear layer above it that was trained."""
        encoder = build_encoder(replace(self.config.architecture, has_adapter=True))
        below = {f"network.{name}": tensor for name, tensor in self.tensors.items()}
        above = {f"adapter.{name}": tensor.cpu() for name, tensor in adapter.backbone.state_dict().items()}
        encoder.backbone.load_state_dict(below | above)
        return encoder


def write_start(
    params: PretrainParams, image_size: int, layout: Layout, *, stored_size: int | None = None
) -> list[str]:
    """Writes `layout.encoder("start")` from `pretrain.weights`, which is given; returns notes for the user.

    `stored_size` is `ingest.image_size`, if that is not `image_size`. Raises `UserError` for weights that
    cannot be used.
    """
    assert params.weights is not None
    summary = ImageDataset(layout.images).summary
    try:
        if params.weights == DOWNLOADED:
            encoder, architecture = _downloaded(params, image_size)
            preprocessing = usual_preprocessing(params.encoder)
            sha256, notes = None, list[str]()
        else:
            given = read_weights_file(resolve_user_path(params.weights))
            architecture, preprocessing = _described(params, given, image_size)
            encoder = build_plain_encoder(architecture)
            sha256 = given.sha256
            notes = given.notes + fit_weights(encoder, architecture.name, given.tensors, given.configuration)
        prepared = asdict(preprocessing)
        del prepared["notes"]
        config = EncoderConfig.checked(
            {
                "encoder": architecture.name,
                "stem_stride": architecture.stem_stride,
                "timm_arguments": architecture.timm_arguments,
                "feature_dim": encoder.feature_dim,
                "image_size": image_size,
                "stored_size": stored_size,
                "value_range": summary["value_range"],
                **prepared,
            }
        )
    except ValueError as why:
        raise UserError(f"pretrain.weights={shown(params.weights)} {why}") from None
    provenance = {
        "arm": START,
        "epochs": 0,
        "start": {
            "weights": params.weights,
            "sha256": sha256,
            "notes": notes,
            "prepared_otherwise": preprocessing.notes,
        },
    }
    write_artifacts(layout.encoder(START), encoder, config, provenance, summary, Progress(), [], {}, "")
    return notes + preprocessing.notes


def read_start(params: PretrainParams, layout: Layout) -> Start | None:
    """Returns what `write_start` wrote, or None without `pretrain.weights`.

    Raises `UserError` if it is missing or damaged, or if the file that it was made from has changed since.
    """
    if params.weights is None:
        return None
    folder = layout.encoder(START)
    if absent := missing_file(folder):
        raise missing(absent)
    with reading(folder / ENCODER_CONFIG):
        values = read_config(folder)
        config = EncoderConfig.checked(values)
        tensors, encoder_sha256 = read_weights(folder, config.weights_sha256)
        origin = values["start"] | {"encoder_sha256": encoder_sha256}
        sha256 = origin["sha256"]
    _check_is_unchanged(params.weights, sha256)
    return Start(config, tensors, {"start": origin})


def _check_is_unchanged(weights: str, sha256: str | None) -> None:
    """Raises `UserError` if the file of weights is there and not that with the hash."""
    path = resolve_user_path(weights)
    if sha256 is None or not path.exists():
        return
    try:
        unchanged = weights_sha256(path) == sha256
    except WeightsRefused as why:
        raise UserError(f"pretrain.weights={shown(weights)} {why}") from None
    if not unchanged:
        raise UserError(
            f"pretrain.weights={shown(weights)} has changed since the stage `start` read it: run "
            "`dvc repro -f start`, and then `dvc repro`, so that every arm starts from the same weights"
        )


def _described(
    params: PretrainParams, given: WeightsFile, image_size: int
) -> tuple[Architecture, Preprocessing]:
    """Returns the network of the weights and their preprocessing.

    Both come from the `config.json` beside them, if it is of this project or of timm, else from
    `pretrain.encoder`. Raises `WeightsRefused` if that is another network.
    """
    described = given.configuration or {}
    if "encoder" in described and "mean" in described:
        own = _checked(described)
        if own.has_adapter:
            raise WeightsRefused(
                "ends in a linear layer that was trained above frozen weights (pretrain.freeze=all): name "
                "those weights"
            )
        _check_is_same(params.encoder, own.encoder)
        if params.stem_stride not in ("auto", own.stem_stride):
            raise WeightsRefused(
                f"has a first layer of stride {own.stem_stride}, and pretrain.stem_stride="
                f"{params.stem_stride}: leave it at auto"
            )
        preprocessing = Preprocessing(own.mean, own.std, own.interpolation, own.crop_pct)
        return replace(own.architecture, image_size=image_size), preprocessing
    if params.encoder == PATCH_RESNET:
        raise WeightsRefused(
            f"is no encoder of this project with its {ENCODER_CONFIG}, and pretrain.encoder={PATCH_RESNET} "
            "has no other weights: name a folder such as ../other/data/encoders/chosen, or another encoder"
        )
    architecture = _published(params, image_size)
    # Older folders of timm hold the values of `pretrained_cfg` beside the architecture.
    beside = described if {"architecture", "mean"} <= described.keys() else None
    of_timm = described.get("pretrained_cfg", beside)
    if isinstance(of_timm, dict):
        if isinstance(named := described.get("architecture"), str):
            _check_is_same(params.encoder.removeprefix(PREFIX).split(".")[0], named, PREFIX)
        architecture = replace(architecture, timm_arguments=_timm_arguments(params, described))
        try:
            return architecture, Preprocessing.of_configuration(of_timm)
        except (TypeError, ValueError, OverflowError) as error:
            raise WeightsRefused(f"has a damaged pretrained_cfg ({first_line(error)})") from None
    return architecture, usual_preprocessing(params.encoder, given.name)


def _timm_arguments(params: PretrainParams, described: Mapping[str, Any]) -> TimmArguments | None:
    arguments = timm_arguments_of(described)
    if arguments is not None and not params.encoder.startswith(PREFIX):
        raise WeightsRefused(
            f"is of a network that timm built with {arguments}: set pretrain.encoder={PREFIX}{params.encoder}"
        )
    return arguments


def _checked(described: object) -> EncoderConfig:
    try:
        return EncoderConfig.checked(described)
    except ValueError as error:
        raise WeightsRefused(f"has a damaged {ENCODER_CONFIG} ({first_line(error)})") from None


def _check_is_same(requested: str, found: str, prefix: str = "") -> None:
    if requested != found:
        raise WeightsRefused(
            f"holds {shown(found)}, and pretrain.encoder names {requested}: set pretrain.encoder={prefix}"
            f"{shown(found)}"
        )


def _downloaded(params: PretrainParams, image_size: int) -> tuple[Encoder, Architecture]:
    """Returns the network with the weights that belong to its name. Raises `WeightsRefused`."""
    if params.encoder == PATCH_RESNET:
        raise WeightsRefused(
            f"has nothing to download for pretrain.encoder={PATCH_RESNET}, which has no published weights: "
            "name another encoder, such as resnet50 or timm/convnext_tiny"
        )
    # Imported here, as in `build_resnet`.
    from torchvision.models import get_model

    architecture = _published(params, image_size)
    with torch.device("meta"):
        build_plain_encoder(architecture)  # unknown names and sizes are refused before anything is downloaded
    try:
        if params.encoder.startswith(PREFIX):
            return build_timm(params.encoder, image_size, downloaded=True), architecture
        plain = get_model(params.encoder, weights="DEFAULT")
    except Exception as error:  # whatever the libraries for downloads raise
        is_of_timm = params.encoder.startswith(PREFIX)
        size = usual_size(params.encoder) if is_of_timm and "state_dict" in str(error) else None
        if size not in (None, image_size):
            raise WeightsRefused(OF_ANOTHER_SIZE.format(size=size, name=params.encoder)) from None
        raise WeightsRefused(
            f"can't be downloaded ({first_line(error):.120}): where there is a network, fetch "
            f"{download_address(params.encoder)}, and set pretrain.weights to the file"
        ) from None
    encoder = build_plain_encoder(architecture)
    fit_weights(encoder, architecture.name, plain.state_dict())
    return encoder, architecture


def _published(params: PretrainParams, image_size: int) -> Architecture:
    """Returns the architecture that published weights are for, unless `pretrain.stem_stride` is another."""
    stride = STRIDE_OF_WEIGHTS if params.stem_stride == "auto" else params.stem_stride
    return architecture_of(params.encoder, stride, image_size)
