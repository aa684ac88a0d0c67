"""The model card beside an encoder, after the conventions of Hugging Face's model cards.

Training writes it without any figure, for nothing is measured then; `completed_card` fills them in.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import listed
from pipeline.escaping import for_markdown
from pipeline.schema import CHOSEN, IngestSummary
from pipeline.training.card_code import library, network, ways_to_build

LONGEST_NAME = 60
_END_OF_METADATA = "\n---\n# "
_AFTER_USE = "\n## Training data\n"
_NOT_MEASURED = "Not known when this card was written: training ends before anything is measured."

# Everything that decides how the weights came about stands in config.json; these lines are for the eye.
TOLD_PARAMETERS = [
    "objective",
    "form",
    "sampler",
    "batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "warmup_fraction",
    "temperature",
    "projection_dim",
]


def model_card(
    config: Mapping[str, Any], summary: IngestSummary, parameters: int, beside_published: str
) -> str:
    """The card of an encoder of so many `parameters`. `config` is what `config.json` holds; the sentences
    `beside_published` are those of the objective, if it was trained by one.

    The blocks of code run as they stand, in the card's own folder: the encoder by each library that has it,
    and the features of one picture.
    """
    size, trained = config["image_size"], "pretrain" in config
    how = f"pretrained by {config['pretrain']['objective']}" if trained else "not trained"
    return f"""---
library_name: {library(config)}
pipeline_tag: image-feature-extraction
tags:
- image-feature-extraction
- representation-learning
{"- contrastive-learning" if trained else "- whitened-patches"}
- {"timm" if library(config) == "torchvision" else "pytorch"}
- clinfonce
---
# {config["encoder"]}, {how} (arm {config["arm"]})

An image encoder: RGB images of {size} x {size} pixels in, {config["feature_dim"]} features an image out.

- **Network:** {network(config)}; {parameters / 1e6:.1f} million parameters
- **Weights:** `encoder.safetensors`, float32, {"trained from scratch" if trained else "taken from images"}
- **Made by:** clinfonce, which learns from clusters of auxiliary information \
([Tsai et al. 2021](https://arxiv.org/abs/2106.02869), [2022](https://arxiv.org/abs/2202.06670))

## How to use

{ways_to_build(config)}

Then the features of a picture, prepared as for training and evaluation:

```python
{_features_of_a_picture(config)}
```

Compare features by their cosine, or fit a linear classifier on them.

## Training data

{_training_data(config, summary)}

## Training procedure

{_procedure(config, beside_published)}

## Preprocessing

Upright by its EXIF orientation, RGB (transparency on white), the shorter side scaled down to {size} pixels
(bicubic), the central square, values 0-1, then minus the mean and divided by the deviation of each channel
over the train images: mean {config["mean"]}, deviation {config["deviation"]}.
The code above does this, but for transparency.
{_storage(size)}
## Intended use and limits

Made for images like those it was trained on: finding similar ones, grouping them, or classifying them with
few labels. It saw {config["train_images"]:,} images and no others, so it knows nothing beyond them and
repeats whatever their selection favours. It sees an image at {size} pixels a side; what is finer is lost.
It was not examined for use on people, nor for any decision about them. The licence is for whoever publishes
it to choose, and depends on that of the images.

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


def _features_of_a_picture(config: Mapping[str, Any]) -> str:
    return f"""import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional


def prepared(path, size={config["image_size"]}):
    image = Image.open(path)
    image.draft("RGB", (2 * size, 2 * size))  # a JPEG is scaled down while it is decoded
    image = ImageOps.exif_transpose(image).convert("RGB")
    shorter = min(image.size)
    if shorter > size:
        width, height = (round(side * size / shorter) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = functional.pil_to_tensor(image.crop((left, top, left + side, top + side)))
    pixels = functional.resize(square[None] / 255, [size, size], antialias=True)
    return functional.normalize(pixels, {config["mean"]}, {config["deviation"]})


with torch.inference_mode():
    features = encoder(prepared("picture.jpg"))  # (1, {config["feature_dim"]})"""


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
        lines.append(f"{summary['images_with_hashtags']:,} images have hashtags.")
    lines.append(_what_labels_did(config["arm"]))
    return "\n".join(lines)


def _what_labels_did(arm: str) -> str:
    match arm:
        case "label":
            return "The labels are what it learned from: supervision, as a ceiling for the other arms."
        case "instance":
            return "Training saw the images alone, without labels or anything else beside them."
        case "untrained":
            return "Only the images' pixels were read, no labels or anything else beside them."
        case _:
            assert arm == CHOSEN
            return (
                "Training itself reads no labels; it learned from the clusters in the project's "
                "`data/clusters/chosen/`."
            )


def _procedure(config: Mapping[str, Any], beside_published: str) -> str:
    if "pretrain" not in config:
        return (
            "None: whitened patches of the images are the filters, and the pooled responses are whitened "
            "(after Coates and Ng, 2011). A reference that trained encoders should exceed."
        )
    pretrain = config["pretrain"]
    told = [(name, pretrain[name]) for name in TOLD_PARAMETERS if name in pretrain]
    if pretrain["objective"] in pretrain and isinstance(pretrain[pretrain["objective"]], dict):
        told += list(pretrain[pretrain["objective"]].items())
    rows = [f"| {name} | {value} |" for name, value in told]
    return "\n".join(
        [
            f"Objective `{pretrain['objective']}`, {_epochs(config['epochs'])}, seed {config['seed']}, "
            f"{config['precision']} on {for_markdown(config['device'])}. Every parameter stands in "
            "`config.json`, the loss of each epoch in `history.csv` of the project's encoder folder.",
            "",
            f"Beside the published code: {beside_published}",
            "",
            "| parameter | value |",
            "| --- | --- |",
            *rows,
        ]
    )


def _storage(size: int) -> str:
    if size <= 64:
        return ""
    return (
        "The project stores images of more than 64 pixels as JPEG of quality 95, so that features of an\n"
        "original differ slightly from those that it measured; `clinfonce embed` gives the same.\n"
    )


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
