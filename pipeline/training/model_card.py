"""The model card beside an encoder, after the conventions of Hugging Face's model cards.

Training writes it without any figure, for nothing is measured then; `completed_card` fills them in.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.config.objectives import TRAITS
from pipeline.runtime.errors import listed
from pipeline.runtime.sanitize import for_markdown
from pipeline.storage.schema import CHOSEN, IngestSummary
from pipeline.training.collapse import Collapse
from pipeline.training.model_card_code import features_of_a_picture, library, network, ways_to_build
from pipeline.training.schedule import images_per_step

LONGEST_NAME = 60
_END_OF_METADATA = "\n---\n# "
_AFTER_USE = "\n## Training data\n"
_NOT_MEASURED = "Not known when this card was written: training ends before anything is measured."

PARAMETERS = ("optimizer", "learning_rate", "weight_decay", "warmup_fraction")
"""Of every training; what else decides how the weights came about stands in config.json."""


def model_card(
    config: Mapping[str, Any],
    summary: IngestSummary,
    parameters: int,
    beside_published: str,
    collapsed: Collapse | None = None,
) -> str:
    """The card of an encoder of so many `parameters`. `config` holds `config.json`; `beside_published` is the
    objective's comparison with the published code, if one trained it; `collapsed` is how its training ended,
    if it collapsed.

    The blocks of code run as they stand, in the card's own folder: the encoder by each library that has it,
    and the features of one picture.
    """
    size, trained = config["image_size"], "pretrain" in config
    objective = config["pretrain"]["objective"] if trained else None
    how = f"pretrained by {objective}" if trained else "not trained"
    return f"""---
library_name: {library(config)}
pipeline_tag: image-feature-extraction
tags:
- image-feature-extraction
- representation-learning
{_tag(objective)}- {"timm" if library(config) == "torchvision" else "pytorch"}
- clinfonce
---
# {config["encoder"]}, {how} (arm {config["arm"]})

An image encoder: RGB images of {size} x {size} pixels in, {config["feature_dim"]} features an image out.
{_warning(collapsed)}
- **Network:** {network(config)}; {parameters / 1e6:.1f} million parameters
- **Weights:** `encoder.safetensors`, float32, {"trained from scratch" if trained else "taken from images"}
- **Made by:** clinfonce, a pipeline for contrastive learning from clusters of auxiliary information \
([Tsai et al. 2021](https://arxiv.org/abs/2106.02869), [2022](https://arxiv.org/abs/2202.06670))

## How to use

{ways_to_build(config)}

Then the features of a picture, prepared as for training and evaluation:

```python
{features_of_a_picture(config)}
```

Compare features by their cosine, or fit a linear classifier on them.

## Training data

{_training_data(config, summary)}

## Training procedure

{_procedure(config, beside_published)}

## Preprocessing

Upright by its EXIF orientation; values of more than 8 bits scaled {_scaling(config)}; RGB (transparency on
white); the shorter side scaled down to {size} pixels (bicubic); the central square; values 0-1, minus the
mean and divided by the deviation of each channel over the train images: mean {config["mean"]}, deviation
{config["std"]}. The code above does this.
{_storage(size)}
## Intended use and limits

Made for images like those it was trained on: finding similar ones, grouping them, or classifying them with
few labels. It was trained on a set of {config["train_images"]:,} images and on no others, so it knows nothing
beyond them and repeats whatever their selection favours. It sees an image at {size} pixels a side; what is
finer is lost. It was not examined for use on people, nor for any decision about them. The licence is for
whoever publishes it to choose, and depends on that of the images.

## Measured figures

{_NOT_MEASURED}
They stand in `data/evaluations/{config["arm"]}/metrics.json` of the project, and
`clinfonce export --arm {config["arm"]}` writes them into its copy of this card.
"""


def completed_card(card: str, figures: str, metadata: str, use: str) -> str | None:
    """`card` with the text `figures` as its last section, lines of YAML and another way to use it.

    None if it is not what `model_card` wrote.
    """
    head, before_figures, _ = card.partition(_NOT_MEASURED)
    if not (before_figures and _END_OF_METADATA in head and _AFTER_USE in head):
        return None
    head = head.replace(_END_OF_METADATA, f"\n{metadata}---\n# ", 1)
    head = head.replace(_AFTER_USE, f"{use}{_AFTER_USE}", 1)
    return f"{head}{figures.rstrip()}\n"


def _tag(objective: str | None) -> str:
    if objective is None:
        return "- whitened-patches\n"
    return "- contrastive-learning\n" if TRAITS[objective].contrastive else ""


def _warning(collapsed: Collapse | None) -> str:
    if collapsed is None:
        return ""
    return f"\n**Do not use it: its training collapsed.** At the end {collapsed.what}.\n"


def _training_data(config: Mapping[str, Any], summary: IngestSummary) -> str:
    images, labels = summary["images"], summary["labels"]
    lines = [
        f"{config['train_images']:,} of {images['train']:,} train images; "
        f"{images['test']:,} more were kept apart for testing.",
    ]
    if labels:
        named = listed([for_markdown(label[:LONGEST_NAME]) for label in labels])
        lines.append(f"Their labels name {len(labels):,} classes: {named}.")
    else:
        lines.append("None of them has a label.")
    if summary["attributes"]:
        named = listed([for_markdown(name[:LONGEST_NAME]) for name in summary["attributes"]])
        lines.append(f"Beside the images stood the columns {named}.")
    if summary["images_with_hashtags"]:
        everything = sum(images.values())
        lines.append(f"{summary['images_with_hashtags']:,} of the {everything:,} images have hashtags.")
    lines.append(_learned_from(config))
    return "\n".join(lines)


def _learned_from(config: Mapping[str, Any]) -> str:
    """What of the data reached the weights."""
    match config["arm"]:
        case "label":
            return "The labels are what it learned from: supervision, as a ceiling for the other arms."
        case "instance":
            return "Training saw the images alone, without labels or anything else beside them."
        case "untrained":
            return "Only the images' pixels were read, no labels or anything else beside them."
    assert config["arm"] == CHOSEN
    pretrain, clusters = config["pretrain"], "the clusters in the project's `data/clusters/chosen/`"
    result = "`statistics.json` there says how they were made."
    source = TRAITS[pretrain["objective"]].learns_from
    if source == "clusters":
        return f"It learned from {clusters}; {result} Training itself reads no labels."
    beside = " and their attributes" if source == "attributes" else " alone"
    if pretrain["sampler"] == "cluster":
        return f"Training saw the images{beside}, in batches by {clusters}; {result} It reads no labels."
    return f"Training saw the images{beside}, without labels or clusters."


def _procedure(config: Mapping[str, Any], beside_published: str) -> str:
    if "pretrain" not in config:
        return (
            "None: whitened patches of the images are the filters, and the pooled responses are whitened "
            "(after Coates and Ng, 2011). A reference that trained encoders should exceed."
        )
    pretrain = config["pretrain"]
    objective = pretrain["objective"]
    named = {name: pretrain[name] for name in (*PARAMETERS, *TRAITS[objective].reads)}
    named |= {f"{objective}.{name}": value for name, value in pretrain.get(objective, {}).items()}
    rows = [f"| {name} | {value} |" for name, value in named.items()]
    return "\n".join(
        [
            f"Objective `{objective}`, {_epochs(config['epochs'])}, {_batches(config)}, "
            f"seed {config['seed']}, {config['precision']} on {for_markdown(config['device'])}. "
            "Every parameter stands in "
            "`config.json`, the loss of each epoch in `history.csv` of the project's encoder folder.",
            "",
            f"Compared with the published code: {beside_published}",
            "",
            "| parameter | value |",
            "| --- | --- |",
            *rows,
        ]
    )


def _batches(config: Mapping[str, Any]) -> str:
    pretrain, images = config["pretrain"], config["train_images"]
    size = images_per_step(images, pretrain["batch_size"], pretrain["sampler"])
    if pretrain["sampler"] == "cluster":
        return f"{size:,} images a step in pairs of one cluster"
    if size < pretrain["batch_size"]:
        return f"all {images:,} images in one step"
    return f"{images // size:,} steps of {size:,} images an epoch"


def _scaling(config: Mapping[str, Any]) -> str:
    given = config.get("value_range")
    return "by their range" if given is None else f"from {given[0]:g} to {given[1]:g}"


def _storage(size: int) -> str:
    if size <= 64:
        return ""
    return (
        "The project stores images of more than 64 pixels as JPEG of quality 95, so that features of an\n"
        "original differ slightly from those that it measured; `clinfonce embed` gives the same.\n"
    )


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
