"""Prepare Caffe's source for the build: proto overlay and mends of what newer libraries broke.

Only the standard library is used, so that CMake can run this with any Python 3:

    python -m autocolor.caffe_source proto CAFFE_PROTO LAYERS_PROTO_FOLDER OUT
    python -m autocolor.caffe_source net CAFFE_NET_CPP OUT
    python -m autocolor.caffe_source pycaffe CAFFE_PYTHON_FOLDER OUT_FOLDER
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

_LAYER_PARAMETER_START = re.compile(r"^message LayerParameter \{\n", re.MULTILINE)

# One distribution of Caffe reads every -weights file as a binary protobuf, so that HDF5 weights
# load nothing. The dispatch is put back where it is missing.
_NET_WITHOUT_HDF5 = re.compile(
    r"(::CopyTrainedLayersFrom\(const string& ?trained_filename\) \{\n)"
    r"(\s*)(CopyTrainedLayersFromBinaryProto\(trained_filename\);\n\})"
)

# file -> [(text of 2018, text that today's numpy and scikit-image understand)]
_PYCAFFE_MENDS: dict[str, list[tuple[str, str]]] = {
    "io.py": [
        ("as_grey=", "as_gray="),
        (".tostring()", ".tobytes()"),
        ("np.fromstring(", "np.frombuffer("),
    ],
    "detector.py": [
        (
            "im[window[0]:window[2], window[1]:window[3]]",
            "im[int(window[0]):int(window[2]), int(window[1]):int(window[3])]",
        ),
        (
            "im[box[0]:box[2], box[1]:box[3]]",
            "im[int(box[0]):int(box[2]), int(box[1]):int(box[3])]",
        ),
    ],
}


class CaffeSourceError(RuntimeError):
    """Caffe's source is not the one this project knows how to extend."""


def insert_layer_parameters(proto: str, fields: str, messages: str) -> str:
    """Insert our fields into ``LayerParameter`` and append our messages.

    Parameters
    ----------
    proto : str
        Text of Caffe's ``caffe.proto``.
    fields : str
        Field lines for ``LayerParameter``.
    messages : str
        Message definitions.

    Returns
    -------
    str
        The extended text.

    Raises
    ------
    CaffeSourceError
        If ``LayerParameter`` is not found, or one of our names or ids is taken.
    """
    start = _LAYER_PARAMETER_START.search(proto)
    if start is None:
        raise CaffeSourceError("caffe.proto: expected 'message LayerParameter {', found none")
    for name in re.findall(r"^message (\w+)", messages, re.MULTILINE):
        if re.search(rf"\bmessage {name}\b", proto):
            raise CaffeSourceError(f"caffe.proto: message {name} is defined already")
    end = proto.index("\n}", start.end())
    taken = dict(re.findall(r"(\w+) = (\d+)", proto[start.end() : end]))
    for name, number in re.findall(r"(\w+) = (\d+)", fields):
        if name in taken or number in taken.values():
            raise CaffeSourceError(
                f"caffe.proto: LayerParameter already uses the name {name} or the id {number}"
            )
    return proto[: start.end()] + fields + proto[start.end() :] + "\n" + messages


def restore_hdf5_weights(net_source: str) -> str:
    """Make ``Net::CopyTrainedLayersFrom`` read HDF5 files, if this Caffe forgot how to."""
    return _NET_WITHOUT_HDF5.sub(
        r"\1\2if (H5Fis_hdf5(trained_filename.c_str()) > 0) {\n"
        r"\2\2CopyTrainedLayersFromHDF5(trained_filename);\n\2\2return;\n\2}\n\2\3",
        net_source,
    )


def install_pycaffe(source: Path, out: Path) -> None:
    """Copy pycaffe's Python files, mended for today's numpy and scikit-image.

    Raises
    ------
    CaffeSourceError
        If a text to mend is not in its file.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "proto").mkdir(exist_ok=True)
    (out / "proto" / "__init__.py").touch()
    for path in sorted(source.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for old, new in _PYCAFFE_MENDS.get(path.name, []):
            if old not in text:
                raise CaffeSourceError(f"{path}: expected to find {old!r}")
            text = text.replace(old, new)
        (out / path.name).write_text(text, encoding="utf-8")
    shutil.copytree(source / "imagenet", out / "imagenet", dirs_exist_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the preparation steps."""
    parser = argparse.ArgumentParser(prog="autocolor.caffe_source", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    proto = steps.add_parser("proto", help="extend caffe.proto with autocolor's layers")
    proto.add_argument("source", type=Path)
    proto.add_argument("layers", type=Path)
    proto.add_argument("out", type=Path)
    net = steps.add_parser("net", help="put back the reading of HDF5 weights")
    net.add_argument("source", type=Path)
    net.add_argument("out", type=Path)
    pycaffe = steps.add_parser("pycaffe", help="copy and mend pycaffe's Python files")
    pycaffe.add_argument("source", type=Path)
    pycaffe.add_argument("out", type=Path)
    arguments = parser.parse_args(argv)

    try:
        if arguments.step == "pycaffe":
            install_pycaffe(arguments.source, arguments.out)
            return 0
        text = arguments.source.read_text(encoding="utf-8")
        if arguments.step == "proto":
            text = insert_layer_parameters(
                text,
                (arguments.layers / "fields.proto").read_text(encoding="utf-8"),
                (arguments.layers / "messages.proto").read_text(encoding="utf-8"),
            )
        else:
            text = restore_hdf5_weights(text)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        if not arguments.out.exists() or arguments.out.read_text(encoding="utf-8") != text:
            arguments.out.write_text(text, encoding="utf-8")
    except (CaffeSourceError, OSError) as error:
        print(f"caffe_source: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
