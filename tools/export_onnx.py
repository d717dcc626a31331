"""Export a trained model as one ONNX file of standard operators, hypercolumns included."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from tqdm import tqdm

from autocolor.core.files import atomic_path
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.photo_lists import ListError, list_photos
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError, read_image, to_uint8
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import MANIFEST_NAME, Manifest
from autocolor.runtime.onnx_graph import load_onnx_model
from autocolor.runtime.onnx_net import OnnxNet
from autocolor.runtime.shipped import shipped_model_folder


class Difference(NamedTuple):
    """How far the colours of two backends lie apart on one photo."""

    histogram: float  #: Largest difference of the network's outputs
    pixel: int  #: Largest difference of the 8 bit RGB values
    #: RGB values, and how many of them differ at all
    values: int
    differing: int


def compare(ours: Colorizer, reference: Colorizer, photo: Path) -> Difference:
    """Colorize a photo with two colorizers."""
    grey = lightness(read_image(photo).rgb)
    predictions = [colorizer.predict(grey) for colorizer in (ours, reference)]
    histogram = max(
        float(np.abs(a - b).max())
        for a, b in zip(*(prediction.outputs for prediction in predictions), strict=True)
    )
    first, second = (to_uint8(prediction.colorize()).astype(int) for prediction in predictions)
    difference = np.abs(first - second)
    return Difference(
        histogram, int(difference.max()), difference.size, int(np.count_nonzero(difference))
    )


def check(folder: Path, model: bytes, photos: Sequence[Path], allowed: int) -> bool:
    """Compare an ONNX file's content with Caffe on photos; return whether they agree."""
    ours = Colorizer(folder, net=OnnxNet(model))
    reference = Colorizer(folder, backend="caffe")
    found: list[Difference] = []
    too_far = 0
    for photo in tqdm(photos, unit="photo"):
        try:
            difference = compare(ours, reference, photo)
        except ImageError as error:
            tqdm.write(f"export_onnx: error: {error}", file=sys.stderr)
            continue
        found.append(difference)
        if difference.pixel > allowed:
            too_far += 1
            tqdm.write(f"{photo}: {difference.pixel}/255 from Caffe")
    if not found:
        print("export_onnx: error: no photo could be read", file=sys.stderr)
        return False
    values = sum(difference.values for difference in found)
    differing = sum(difference.differing for difference in found)
    print(
        f"{len(found)} photos: colours differ from Caffe's by at most "
        f"{max(difference.pixel for difference in found)}/255, in {differing:,} of {values:,} "
        f"RGB values ({1e6 * differing / values:.2f} in a million); network outputs by at most "
        f"{max(difference.histogram for difference in found):.1e}"
    )
    return too_far == 0 and len(found) == len(photos)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/export_onnx.py --out autocolor.onnx
  python tools/export_onnx.py --model build/demo/model --out demo.onnx
  python tools/export_onnx.py --out autocolor.onnx --check build/data/photos/test

The input `data` is (N, 1, H, W), grey (R + G + B)/3 in [0, 1], with sides that are multiples of 32; the
outputs are histograms (N, K, H/stride, W/stride), or a and b. The manifest lies in the file's metadata as
model.json. The command `autocolor` needs no such file: it makes the same graph from a model folder
by itself. Only --check needs Caffe. Exit status: 1 if a photo differs by more than --tolerance.""",
    )
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="trained model (default: the one that comes with autocolor)",
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="PHOTOS",
        help="folder or list of photos on which to compare the file with Caffe",
    )
    parser.add_argument(
        "--tolerance",
        type=at_least(0),
        default=1,
        metavar="STEPS",
        help="largest difference of a pixel, in 1/255 (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    photos = [] if arguments.check is None else list_photos(arguments.check)
    if arguments.check is not None and not photos:
        raise ListError(f"{arguments.check}: no photos")
    folder = shipped_model_folder() if arguments.model is None else arguments.model
    manifest = Manifest.load(folder)
    model = load_onnx_model(
        folder / manifest.deploy, folder / manifest.weights, tuple(manifest.outputs)
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = MANIFEST_NAME, (folder / MANIFEST_NAME).read_text(encoding="utf-8")
    onnx.checker.check_model(model, full_check=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(arguments.out) as partial:
        onnx.save(model, partial)
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {len(model.graph.node)} nodes, {size / 1e6:.1f} MB")
    if photos and not check(folder, arguments.out.read_bytes(), photos, arguments.tolerance):
        return 1
    return 0


if __name__ == "__main__":
    run_program(main)
