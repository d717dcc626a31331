"""Prepare Caffe's source for the build: proto overlay and patches for newer libraries.

Only the standard library is used, so that CMake can run this with any Python 3:

    python tools/caffe_tree/caffe_source.py proto CAFFE_PROTO LAYERS_PROTO_FOLDER OUT [--onednn]
    python tools/caffe_tree/caffe_source.py net CAFFE_NET_CPP OUT
    python tools/caffe_tree/caffe_source.py thread CAFFE_INTERNAL_THREAD_CPP OUT
    python tools/caffe_tree/caffe_source.py pycaffe CAFFE_PYTHON_FOLDER OUT_FOLDER
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_LAYER_PARAMETER_START = re.compile(r"\bmessage\s+LayerParameter\s*\{[^\S\n]*\n")
_COMMENT_OR_STRING = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL
)
_FIELD = re.compile(r"(\w+) ?= ?(0[xX][0-9a-fA-F]+|[1-9][0-9]*)$")
_RANGE = re.compile(r"(\d+)(?: to (\d+|max))?")
_TYPE = re.compile(r"(?:message|enum) (\w+)$")
_MAXIMUM_ID = 2**29 - 1

# What the oneDNN engine adds to ConvolutionParameter.
_CONVOLUTION_START = re.compile(r"\bmessage\s+ConvolutionParameter\s*\{[^\S\n]*\n")
_ENGINE_START = re.compile(r"\benum\s+Engine\s*\{[^\S\n]*\n")
_FUSE_RELU = (
    "  // Rectify the output: stands for an in-place ReLU after the layer. Engine ONEDNN only.\n"
    "  optional bool fuse_relu = 7100 [default = false];\n"
)
_ONEDNN = "    ONEDNN = 7100;\n"

# One distribution of Caffe reads every -weights file as a binary protobuf, so that HDF5 weights
# load nothing. The dispatch is put back where it is missing.
_NET_WITHOUT_HDF5 = re.compile(
    r"(::CopyTrainedLayersFrom\(const string& ?trained_filename\) \{\n)"
    r"(\s*)(CopyTrainedLayersFromBinaryProto\(trained_filename\);\n\})"
)

# The threads that read data take over which GPU is in use. Where there is none, that fails, which
# ended Caffe even if the CPU was to compute.
_THREAD_DEVICES = {"cudaGetDevice(&device)": "Caffe::mode()", "cudaSetDevice(device)": "mode"}

# file -> [(text of 2018, text that today's numpy and scikit-image understand)]
_PYCAFFE_PATCHES: dict[str, list[tuple[str, str]]] = {
    "io.py": [
        # scikit-image and SciPy take half a second, and only three functions need them.
        (
            "import skimage.io\nfrom scipy.ndimage import zoom\nfrom skimage.transform import resize\n",
            "",
        ),
        (
            "    img = skimage.img_as_float(",
            "    import skimage.io\n    img = skimage.img_as_float(",
        ),
        (
            "    if im.shape[-1] == 1 or im.shape[-1] == 3:\n",
            "    from scipy.ndimage import zoom\n    from skimage.transform import resize\n"
            "    if im.shape[-1] == 1 or im.shape[-1] == 3:\n",
        ),
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


def _blank(match: re.Match[str]) -> str:
    """Blank a comment, or in a string what looks like syntax; lengths and lines stay."""
    syntax = r"[^\n]" if match[0].startswith("/") else r"[{}\[\];=]"
    return re.sub(syntax, " ", match[0])


def _without_comments(proto: str) -> str:
    """Blank comments and options in brackets; every other character keeps its place."""
    text = _COMMENT_OR_STRING.sub(_blank, proto)
    return re.sub(r"\[[^\]]*\]", lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def _statements(proto: str) -> Iterator[tuple[list[str], str]]:
    """Yield each statement after the headings of the blocks that it stands in."""
    scope: list[str] = []
    for words, end in re.findall(r"([^{};]*)([{};])", _without_comments(proto)):
        statement = " ".join(words.split())
        if statement:
            yield scope.copy(), statement
        if end == "{":
            scope.append(statement)
        elif end == "}" and scope:
            scope.pop()


def _types(proto: str, scope: list[str]) -> dict[str, str]:
    """Return the statement that defines each type of one scope."""
    found = ((_TYPE.match(words), words) for where, words in _statements(proto) if where == scope)
    return {match[1]: words for match, words in found if match}


def layer_parameter_fields(
    proto: str,
) -> tuple[dict[str, str], list[tuple[int, int, str]], dict[str, int]]:
    """Read what ``LayerParameter`` defines in the text of a ``caffe.proto``.

    Returns names with the statement that takes each, a field's or one that reserves it; ids as (first,
    last, the statement that takes them), of fields, ``reserved`` and ``extensions``; and the fields' ids.
    """
    names: dict[str, str] = {}
    ranges: list[tuple[int, int, str]] = []
    fields: dict[str, int] = {}
    for scope, statement in _statements(proto):
        # The fields of a oneof are the message's own; those of nested messages are not.
        if scope[:1] != ["message LayerParameter"] or any(
            not heading.startswith("oneof ") for heading in scope[1:]
        ):
            continue
        if statement.startswith(("reserved ", "extensions ")):
            names |= dict.fromkeys(re.findall(r"[\"'](\w+)[\"']", statement), statement)
            for first, last in _RANGE.findall(statement):
                end = _MAXIMUM_ID if last == "max" else int(last or first)
                ranges.append((int(first), end, statement))
        elif field := _FIELD.search(statement):
            fields[field[1]] = number = int(field[2], 0)
            names[field[1]] = statement
            ranges.append((number, number, statement))
    return names, ranges, fields


def insert_layer_parameters(proto: str, fields: str, messages: str) -> str:
    """Insert our field lines into ``LayerParameter`` and append our messages to a ``caffe.proto``.

    What is inserted has its line endings. A CaffeSourceError says if ``LayerParameter`` is not found, or
    one of our names or ids is taken.
    """
    start = _LAYER_PARAMETER_START.search(_without_comments(proto))
    if start is None:
        raise CaffeSourceError(
            "caffe.proto: expected 'message LayerParameter {' at the end of a line, found none"
        )
    heading = ["message LayerParameter"]
    types = _types(proto, []) | _types(proto, heading)
    for name in _types(messages, []):
        if name in types:
            raise CaffeSourceError(f"caffe.proto: {types[name]} is defined already")
    names, ranges, _ = layer_parameter_fields(proto)
    for name, number in layer_parameter_fields(f"{heading[0]} {{\n{fields}}}")[2].items():
        if name in names:
            raise CaffeSourceError(
                f"caffe.proto: LayerParameter's name {name} is taken by '{names[name]}'"
            )
        for first, last, statement in ranges:
            if first <= number <= last:
                raise CaffeSourceError(
                    f"caffe.proto: LayerParameter's id {number} of {name} is taken by '{statement}'"
                )
    newline = "\r\n" if proto[: start.end()].endswith("\r\n") else "\n"
    fields, messages = (text.replace("\n", newline) for text in (fields, messages))
    return proto[: start.end()] + fields + proto[start.end() :] + newline + messages


def insert_onednn_engine(proto: str) -> str:
    """Add to ``ConvolutionParameter`` of a ``caffe.proto`` the engine ``ONEDNN`` and ``fuse_relu``."""
    text = _without_comments(proto)
    message = _CONVOLUTION_START.search(text)
    engine = _ENGINE_START.search(text, message.end()) if message else None
    if message is None or engine is None:
        raise CaffeSourceError(
            "caffe.proto: expected 'message ConvolutionParameter {' and in it 'enum Engine {', "
            "each at the end of a line, found none"
        )
    head, middle, tail = (
        proto[: message.end()],
        proto[message.end() : engine.end()],
        proto[engine.end() :],
    )
    # The first value of an enum is its default, so the new one goes after that.
    default, tail = tail.split("\n", 1)
    return f"{head}{_FUSE_RELU}{middle}{default}\n{_ONEDNN}{tail}"


def restore_hdf5_weights(net_source: str) -> str:
    """Make ``Net::CopyTrainedLayersFrom`` read HDF5 files, if this Caffe forgot how to."""
    return _NET_WITHOUT_HDF5.sub(
        r"\1\2if (H5Fis_hdf5(trained_filename.c_str()) > 0) {\n"
        r"\2\2CopyTrainedLayersFromHDF5(trained_filename);\n\2\2return;\n\2}\n\2\3",
        net_source,
    )


def let_threads_run_without_gpu(thread_source: str) -> str:
    """Make ``InternalThread`` end the program for want of a GPU only where the GPU computes."""
    for call, mode in _THREAD_DEVICES.items():
        thread_source = thread_source.replace(
            f"CUDA_CHECK({call});",
            f"const cudaError_t status = {call};\n"
            f"  if ({mode} == Caffe::GPU) {{\n    CUDA_CHECK(status);\n  }}",
        )
    return thread_source


def install_pycaffe(source: Path, out: Path) -> None:
    """Copy pycaffe's Python files, patched for today's numpy and scikit-image."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "proto").mkdir(exist_ok=True)
    (out / "proto" / "__init__.py").touch()
    for path in sorted(source.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for old, new in _PYCAFFE_PATCHES.get(path.name, []):
            if old not in text:
                raise CaffeSourceError(f"{path}: expected to find {old!r}")
            text = text.replace(old, new)
        (out / path.name).write_text(text, encoding="utf-8")
    shutil.copytree(source / "imagenet", out / "imagenet", dirs_exist_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the preparation steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    proto = steps.add_parser("proto", help="extend caffe.proto with autocolor's layers")
    proto.add_argument("source", type=Path)
    proto.add_argument("layers", type=Path)
    proto.add_argument("out", type=Path)
    proto.add_argument("--onednn", action="store_true", help="also with the engine ONEDNN")
    net = steps.add_parser("net", help="put back the reading of HDF5 weights")
    net.add_argument("source", type=Path)
    net.add_argument("out", type=Path)
    thread = steps.add_parser(
        "thread", help="let data layers run without a GPU in a build with CUDA"
    )
    thread.add_argument("source", type=Path)
    thread.add_argument("out", type=Path)
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
            if arguments.onednn:
                text = insert_onednn_engine(text)
        elif arguments.step == "net":
            text = restore_hdf5_weights(text)
        else:
            text = let_threads_run_without_gpu(text)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        if not arguments.out.exists() or arguments.out.read_text(encoding="utf-8") != text:
            arguments.out.write_text(text, encoding="utf-8")
    except (CaffeSourceError, OSError) as error:
        print(f"caffe_source: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # This runs without set-up, too: the package is beside it and needs nothing for this.
    sys.path.append(str(Path(__file__).resolve().parents[2] / "python"))
    from autocolor.core.programs import run_program

    run_program(main)
