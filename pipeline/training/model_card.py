"""The model card of an encoder, following the conventions of Hugging Face's model cards.

Its text is `templates/model_card.md`. Training writes it without metrics, since nothing has been measured
yet; `completed_card` adds them.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.augment.views import WHOLE_SQUARE, CentralCrop
from pipeline.dataset.value_range import GDAL_NODATA, NO_DATA, NO_DATA_FROM, USUAL_MAXIMA
from pipeline.encoders.patches import PatchResNet, WhitenedPatches
from pipeline.encoders.registry import (
    PATCH_RESNET,
    UNTRAINED_ENCODER,
    UNTRAINED_FEATURES,
    UNTRAINED_FILTERS,
)
from pipeline.encoders.timm_arguments import TimmArguments
from pipeline.encoders.timm_models import PREFIX, takes_image_size
from pipeline.objectives.traits import TRAITS
from pipeline.runtime.errors import listed
from pipeline.runtime.sanitize import for_markdown
from pipeline.storage.schema import IngestSummary
from pipeline.training.collapse import Collapse
from pipeline.training.schedule import images_per_step

LONGEST_NAME = 60
_END_OF_METADATA = "\n---\n# "
_AFTER_USE = "\n## Training data\n"
_NOT_MEASURED = "Not known when this card was written: training ends before anything is measured."

PARAMETERS = ("optimizer", "learning_rate", "weight_decay", "warmup_fraction")
"""Parameters listed for every training; config.json holds everything else that determines the weights."""


def model_card(
    config: Mapping[str, Any],
    summary: IngestSummary,
    parameters: int,
    beside_published: str,
    collapsed: Collapse | None,
) -> str:
    """Returns the card of an encoder with so many `parameters`.

    `config` holds `config.json`; `beside_published` is the objective's comparison with the published code, if
    the encoder was trained; `collapsed` describes the end of a training that collapsed.

    The code blocks run unchanged in the card's own folder: they load the encoder with each library that has
    it, and compute the features of one picture.
    """
    return fill_markdown(
        "model_card.md",
        "pipeline.training",
        config=config,
        summary=summary,
        parameters=parameters,
        beside_published=beside_published,
        collapsed=collapsed,
        not_measured=_NOT_MEASURED,
        start=config.get("start"),
        origin=_origin(config),
        **_network(config),
        **_preparation(config),
        **_training(config),
    )


def completed_card(card: str, figures: str, metadata: str, use: str) -> str | None:
    """Returns `card` with lines of YAML, another way to use the encoder, and `figures` as its last section.

    Returns None if `card` is not what `model_card` wrote.
    """
    head, before_figures, _ = card.partition(_NOT_MEASURED)
    if not (before_figures and _END_OF_METADATA in head and _AFTER_USE in head):
        return None
    head = head.replace(_END_OF_METADATA, f"\n{metadata}---\n# ", 1)
    head = head.replace(_AFTER_USE, f"{use}{_AFTER_USE}", 1)
    return f"{head}{figures.rstrip()}\n"


def fill_markdown(template: str, package: str, **values: object) -> str:
    """Fills in a Markdown template.

    Untrusted strings must go through the filter `text`, lists of them through `names`.
    """
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=False,  # noqa: S701 - it would escape for HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": "{:,}".format, "text": for_markdown, "names": _names}
    return environment.get_template(template).render(**values)


def _names(strings: Sequence[str]) -> str:
    return listed([for_markdown(string[:LONGEST_NAME]) for string in strings])


def _network(config: Mapping[str, Any]) -> dict[str, object]:
    """Returns the library of the network and, if it is the project's own, the source code of its classes."""
    stride = config["stem_stride"]
    kinds: list[type]
    match config["encoder"]:
        case encoder if encoder == PATCH_RESNET:
            kinds, construction = [WhitenedPatches, PatchResNet], f"PatchResNet({stride})"
        case encoder if encoder == UNTRAINED_ENCODER:
            sizes = f"{UNTRAINED_FILTERS}, {UNTRAINED_FEATURES}, {stride}"
            kinds, construction = [WhitenedPatches], f"WhitenedPatches({sizes})"
        case encoder if encoder.startswith(PREFIX):
            model = encoder.removeprefix(PREFIX).split(".")[0]
            sized = f", img_size={config['image_size']}" if takes_image_size(model) else ""
            arguments = TimmArguments.model_validate(config.get("timm_arguments") or {})
            built = f"{sized}, {arguments}" if arguments.given() else sized
            return {"library": "timm", "model": model, "built": built}
        case _:
            return {"library": "torchvision"}
    classes = "\n\n".join(inspect.getsource(kind) for kind in kinds)
    return {"library": "pytorch", "classes": classes, "construction": construction}


def _origin(config: Mapping[str, Any]) -> str:
    trained = config.get("pretrain") is not None
    if start := config.get("start"):
        of_file = f" (SHA-256 {start['sha256'][:12]})" if start["sha256"] else ""
        given = f"{for_markdown(start['weights'][:LONGEST_NAME])}{of_file}"
        return f"trained further from {given}" if trained else f"those of {given}"
    return "trained from scratch" if trained else "taken from images"


def _preparation(config: Mapping[str, Any]) -> dict[str, object]:
    return {
        "value_range": config.get("value_range"),
        "no_data": list(NO_DATA),
        "no_data_from": NO_DATA_FROM,
        "gdal_nodata": GDAL_NODATA,
        "usual_maxima": USUAL_MAXIMA,
        "decoded_size": config.get("stored_size") or config["image_size"],
        "scaled": _scaled(config),
    }


def _scaled(config: Mapping[str, Any]) -> dict[str, object] | None:
    """Returns how the central square is scaled and cropped for weights that were given, or None."""
    crop = CentralCrop(config["interpolation"], config["crop_pct"])
    if crop == WHOLE_SQUARE:
        return None
    size = config["image_size"]
    return {"side": crop.scaled_side(size), "offset": crop.offset(size), "interpolation": crop.interpolation}


def _training(config: Mapping[str, Any]) -> dict[str, object]:
    pretrain = config.get("pretrain")
    if pretrain is None:
        return {"pretrain": None, "traits": None, "learns_from": None, "seen": None, "teacher": None}
    objective = pretrain["objective"]
    decisive = {name: pretrain[name] for name in (*PARAMETERS, *TRAITS[objective].reads)}
    decisive |= {f"{objective}.{name}": value for name, value in pretrain.get(objective, {}).items()}
    return {
        "pretrain": pretrain,
        "traits": TRAITS[objective],
        "learns_from": TRAITS[objective].learns_from,
        "seen": _seen(config),
        "teacher": _teacher(config),
        "decisive": decisive,
        "step_images": images_per_step(config["train_images"], pretrain["batch_size"], pretrain["sampler"]),
    }


def _seen(config: Mapping[str, Any]) -> str:
    """Returns what the training read besides clusters and labels."""
    traits = TRAITS[config["pretrain"]["objective"]]
    beside = []
    if traits.learns_from == "attributes":
        beside.append("their attributes")
        if traits.attributes == "values_and_hashtags":
            beside.append("their hashtags")
    if "teacher" in config:
        beside.append("the vectors of its teacher")
    return " and ".join(["the images", *beside]) if beside else "the images alone"


def _teacher(config: Mapping[str, Any]) -> dict[str, object] | None:
    if "teacher" not in config:
        return None
    given = config["pretrain"]["teacher"]
    named = for_markdown(given["vectors"][:LONGEST_NAME])
    return {"vectors": named, "weight": given["weight"], "sha256": config["teacher"]["sha256"][:12]}
