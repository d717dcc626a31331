"""Show weights, and convert them between formats, layouts, names and nets."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from autocolor.core.programs import command_parser, run_program
from autocolor.nets.surgery import (
    HEADS,
    convert_names,
    fully_connected_as,
    net_shapes,
    read_net,
    transplant,
)
from autocolor.nets.weights_io import WeightsError, read_weights, write_weights
from autocolor.runtime.vgg16_gray import to_grey_input

_EPILOG = """\
It reads .caffemodel (also of 2014), .caffemodel.h5, .npz with arrays <layer>/weight and
<layer>/bias, and VGG-16 in .onnx, told apart by their content; it writes .caffemodel, or HDF5 if the
name ends in .h5.

examples:
  python tools/convert_weights.py inspect autocolorize.caffemodel.h5
  python tools/convert_weights.py convert --names ours \\
      --from autocolorize.caffemodel.h5 --out weights.caffemodel
  python tools/convert_weights.py grey --from VGG_ILSVRC_16_layers.caffemodel --out grey.caffemodel
  python tools/convert_weights.py transplant --partial \\
      --from grey.caffemodel --net deploy.prototxt --out start.caffemodel"""


def inspect(arguments: argparse.Namespace) -> None:
    """Print a table of layers, shapes and parameters."""
    weights = read_weights(arguments.file)
    width = max(len("layer"), *map(len, weights))
    total = 0
    for name, blobs in weights.items():
        parameters = sum(blob.size for blob in blobs)
        total += parameters
        shapes = "  ".join("x".join(map(str, blob.shape)) or "scalar" for blob in blobs)
        print(f"{name:{width}} {parameters:>13,}  {shapes}")
    print(f"{'total':{width}} {total:>13,}  in {len(weights)} layers")


def grey(arguments: argparse.Namespace) -> None:
    """Turn conv1_1 into one that reads grey in [0, 1]."""
    weights = read_weights(arguments.source)
    if len(weights.get("conv1_1", ())) != 2:
        raise WeightsError(f"{arguments.source}: conv1_1: expected a weight and a bias")
    weights["conv1_1"] = to_grey_input(*weights["conv1_1"])
    write_weights(arguments.out, weights, "grey")


def convert(arguments: argparse.Namespace) -> None:
    """Change the format and, where asked, layout and names."""
    weights = read_weights(arguments.source)
    layout = arguments.fc or ("conv" if arguments.names else None)
    if layout:
        weights = fully_connected_as(weights, layout)
    if arguments.names:
        head_axes = 4 if (arguments.names, layout) == ("release", "conv") else 2
        weights = convert_names(weights, arguments.names, head_axes)
    write_weights(arguments.out, weights, arguments.out.stem)


def transplant_command(arguments: argparse.Namespace) -> None:
    """Put weights into another net, by the names of layers."""
    rename = dict(arguments.rename)
    if len(rename) != len(arguments.rename):
        raise WeightsError("--rename: a layer is named twice")
    net = read_net(arguments.net)
    result = transplant(read_weights(arguments.source), net_shapes(net), rename)
    if not arguments.partial:
        result.check(arguments.source)
    if not result.weights:
        raise WeightsError(f"{arguments.source}: no layer fits {arguments.net}")
    write_weights(arguments.out, result.weights, net.name)
    print(f"{arguments.out}: {len(result.weights)} layers")
    for label, names in (
        ("not in the net, left out", result.unknown),
        ("missing, not written", result.missing),
        ("misshapen, not written", result.misshapen),
    ):
        if names:
            print(f"{label}: {'; '.join(names)}")


def _renaming(text: str) -> tuple[str, str]:
    old, _, new = text.partition("=")
    if not old or not new:
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, got {text!r}")
    return old, new


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(__doc__, _EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], None], summary: str, details: str = ""
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=f"{run.__doc__} {details}")
        command.set_defaults(run=run)
        return command

    command = add("inspect", inspect, "list layers, shapes and parameters")
    command.add_argument("file", type=Path, metavar="FILE")
    converters = [
        add(
            "grey",
            grey,
            "RGB conv1_1 to grey in [0, 1]",
            "The weights are summed over the colour channels and multiplied by 255; the bias takes "
            "in the ImageNet mean.",
        ),
        add(
            "convert",
            convert,
            "change format, layout or names",
            "Without --fc and --names only the format changes.",
        ),
        add(
            "transplant",
            transplant_command,
            "weights of one net into another",
            "InnerProduct and Convolution weights are reshaped into each other. A missing or "
            "misshapen layer is an error, unless --partial.",
        ),
    ]
    for command in converters:
        command.add_argument(
            "--from",
            dest="source",
            type=Path,
            required=True,
            metavar="FILE",
            help="weights to read",
        )
        command.add_argument(
            "--out",
            type=Path,
            required=True,
            metavar="FILE",
            help="weights to write, .caffemodel or .h5",
        )
    _, command, transplanting = converters
    command.add_argument(
        "--fc",
        choices=("conv", "inner-product"),
        help="layout of fc6, fc7 and fc8: conv, e.g. 4096x512x7x7, or "
        "inner-product, 4096x25088 (with --names: conv)",
    )
    command.add_argument(
        "--names",
        choices=tuple(HEADS),
        help="names and layout of the head: ours; the authors' release (all "
        "convolutions, or with --fc inner-product all of two axes, as both "
        "circulate); release-train, their training net",
    )
    transplanting.add_argument(
        "--net", type=Path, required=True, metavar="PROTOTXT", help="net that is to get the weights"
    )
    transplanting.add_argument(
        "--rename",
        type=_renaming,
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="a layer's name there and here; may be repeated",
    )
    transplanting.add_argument(
        "--partial",
        action="store_true",
        help="write what fits and list the rest, which Caffe then initializes",
    )
    arguments = parser.parse_args(argv)
    arguments.run(arguments)
    return 0


if __name__ == "__main__":
    run_program(main)
