"""Hundreds of malformed layers: each ends in one line that says layer, expected and received.

Caffe aborts the process on an error, so the cases run in forks of a fresh process, which is this file
run as a script.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from typing import NamedTuple

import numpy as np
import pytest

NOT_FINITE = ("nan", "inf", "-inf")


class Case(NamedTuple):
    """A net of Input layers and one layer named "bad"."""

    layer: str  # type
    inputs: dict  # name -> shape, or array to fill in
    parameters: str = ""
    tops: tuple = ("top",)
    got: str = ""  # what the message has to say after "got", as a regular expression
    backward: bool = False


def repeated(field, values):
    return " ".join(f"{field}: {value}" for value in values)


def geometry_cases(layer, parameter, bottoms, required=""):
    """Wrong numbers of values and bad values of the fields that both hypercolumn layers have.

    `bottoms` makes the inputs for a number of levels.
    """
    for field in ("scale", "offset_height", "offset_width", "activation_mult"):
        for levels in (1, 2, 3):
            for count in {2, 3, 4, 7} - {levels}:
                text = f"{parameter} {{ {required} {repeated(field, [1] * count)} }}"
                yield Case(layer, bottoms(levels), text, got=f"{count}$")
        bad = NOT_FINITE + (("0", "-1", "-0.25") if field == "scale" else ())
        for value in bad:
            for values in ((value,), (value, 1), (1, value)):
                text = f"{parameter} {{ {required} {repeated(field, values)} }}"
                yield Case(layer, bottoms(2), text, got=value)


def sparse_hypercolumn_cases():
    layer = "SparseHypercolumn"

    def bottoms(levels):
        return {"l": (2, 5, 2), **{f"f{i}": (2, 3, 4, 4) for i in range(levels)}}

    yield from geometry_cases(layer, "sparse_hypercolumn_param", bottoms)
    for shape in [(10,), (10, 2), (2, 5, 1), (2, 5, 3), (2, 2, 5), (2, 5, 2, 1), (2, 5, 0)]:
        yield Case(layer, {"l": shape, "f": (2, 3, 4, 4)}, got=" ".join(map(str, shape)))
    for images in (1, 3, 4):
        yield Case(layer, {"l": (2, 5, 2), "f": (images, 3, 4, 4)}, got=f"{images}$")
        yield Case(
            layer, {"l": (2, 5, 2), "f": (2, 3, 4, 4), "g": (images, 3, 4, 4)}, got=f"{images}$"
        )
    for shape in [(2,), (2, 3), (2, 3, 4), (2, 3, 4, 4, 1), (2, 3, 0, 4), (2, 0, 4, 4)]:
        received = " ".join(map(str, shape))
        yield Case(layer, {"l": (2, 5, 2), "f": shape}, got=received)
        yield Case(layer, {"l": (2, 5, 2), "f": (2, 3, 4, 4), "g": shape}, got=received)
    yield Case(layer, {}, got="0$")
    yield Case(layer, {"l": (2, 5, 2)}, got="1$")
    yield Case(layer, bottoms(1), tops=(), got="0$")
    yield Case(layer, bottoms(1), tops=("a", "b"), got="2$")
    yield Case(
        layer, {"l": (1, 500000, 2), "f": (1, 5000, 1, 1)}, got="hypercolumns of 1 x 500000 x 5000$"
    )
    yield Case(
        layer, bottoms(1), "propagate_down: true propagate_down: false", got="true", backward=True
    )


def hypercolumn_inner_product_cases():
    layer, parameter = "HypercolumnInnerProduct", "hypercolumn_inner_product_param"

    def bottoms(levels):
        return {f"f{i}": (2, 3, 4, 4) for i in range(levels)}

    yield from geometry_cases(layer, parameter, bottoms, "num_output: 2")
    for fields in ("", "num_output: 0", "num_output: 4294967295"):
        yield Case(layer, bottoms(1), f"{parameter} {{ {fields} }}", got=r"\d+$")
    for stride in (0, 4294967295):
        yield Case(
            layer, bottoms(1), f"{parameter} {{ num_output: 2 stride: {stride} }}", got=f"{stride}$"
        )
    good = f"{parameter} {{ num_output: 2 }}"
    for shape in [(2,), (2, 3), (2, 3, 4), (2, 3, 4, 4, 1), (2, 3, 0, 4), (0, 3, 4, 4)]:
        yield Case(layer, {"f": shape}, good, got=" ".join(map(str, shape)))
    for images in (1, 3):
        yield Case(layer, {"f": (2, 3, 4, 4), "g": (images, 3, 4, 4)}, good, got=f"{images}$")
    yield Case(layer, {}, good, got="0$")
    yield Case(layer, bottoms(1), good, tops=(), got="0$")
    yield Case(layer, bottoms(1), good, tops=("a", "b"), got="2$")
    for scale in (1e5, 1e-3):  # an output too large, and one of nothing
        yield Case(
            layer, bottoms(1), f"{parameter} {{ num_output: 2 scale: {scale} }}", got="2 x 2 x"
        )


def color_space_cases():
    layer = "ColorSpace"
    for shape in [
        (1,),
        (1, 3),
        (3, 4, 4),
        (1, 1, 4, 4),
        (1, 2, 4, 4),
        (1, 4, 4, 4),
        (1, 4, 4, 3),
        (1, 3, 4, 4, 1),
    ]:
        for space in ("HUE_CHROMA", "LAB", "ALPHA_BETA"):
            yield Case(
                layer,
                {"image": shape},
                f"color_space_param {{ color_space: {space} }}",
                ("a", "b"),
                got=" ".join(map(str, shape)),
            )
    image = {"image": (1, 3, 4, 4)}
    for tops in ((), ("a",), ("a", "b", "c")):
        yield Case(layer, image, tops=tops, got=f"{len(tops)}$")
    yield Case(layer, {}, tops=("a", "b"), got="0$")
    yield Case(layer, {**image, "other": (1, 3, 4, 4)}, tops=("a", "b"), got="2$")
    yield Case(layer, image, "propagate_down: true", ("a", "b"), "true", backward=True)


def color_histogram_cases():
    layer, parameter = "ColorHistogram", "color_histogram_param"
    good = {"c": (2, 1, 4, 4), "l": (2, 5, 2)}
    for fields, received in [
        ("bins: 0", "0"),
        ("bins: 4294967295", "4294967295"),
        ("region: 0", "0"),
        ("region: 2147483648", "2147483648"),
        ("bins: 1000000000", "2 x 5 histograms"),
        ("minimum: 1 maximum: 1", "1 and 1"),
        ("minimum: 2", "2 and 1"),
        ("maximum: -1", "0 and -1"),
    ]:
        yield Case(layer, good, f"{parameter} {{ {fields} }}", got=received)
    for value in NOT_FINITE:
        yield Case(layer, good, f"{parameter} {{ minimum: {value} }}", got=f"{value} and 1$")
        yield Case(layer, good, f"{parameter} {{ maximum: {value} }}", got=f"0 and {value}$")
    for value in (*NOT_FINITE, "0", "-25"):
        text = f"{parameter} {{ binning: GAUSSIAN_QUANTILE sigma: {value} }}"
        yield Case(layer, good, text, got=value)
    for joint, shapes in {
        "false": [(2, 2, 4, 4), (2, 3, 4, 4), (2, 4, 4), (2, 1, 4), (2, 1, 4, 4, 1), (2, 1, 0, 4)],
        "true": [(2, 1, 4, 4), (2, 3, 4, 4), (2, 4, 4), (2, 2, 4, 4, 1), (2, 2, 4, 0)],
    }.items():
        for shape in shapes:
            yield Case(
                layer,
                {**good, "c": shape},
                f"{parameter} {{ bins: 4 joint: {joint} }}",
                got=" ".join(map(str, shape)),
            )
    yield Case(
        layer,
        {**good, "c": (2, 2, 4, 4)},
        f"{parameter} {{ bins: 46341 joint: true }}",
        got="46341",
    )
    for shape in [(10,), (10, 2), (2, 5, 1), (2, 5, 3), (2, 5, 2, 1)]:
        yield Case(layer, {**good, "l": shape}, got=" ".join(map(str, shape)))
    for images in (1, 3):
        yield Case(layer, {**good, "l": (images, 5, 2)}, got=f"{images}$")
    yield Case(layer, {}, got="0$")
    yield Case(layer, {"c": (2, 1, 4, 4)}, got="1$")
    yield Case(layer, {**good, "other": (1,)}, got="3$")
    yield Case(layer, good, tops=(), got="0$")
    yield Case(layer, good, tops=("a", "b"), got="2$")
    for first in ("true", "false"):
        second = "true" if first == "false" else "false"
        yield Case(
            layer,
            good,
            f"propagate_down: {first} propagate_down: {second}",
            got="true",
            backward=True,
        )


def loss_cases():
    layer = "SoftmaxKLDivergenceLoss"
    good = {"s": (4, 3), "t": (4, 3)}
    for shape in [(4,), (4, 3, 1), (4, 3, 1, 1), (4, 0), (0, 3)]:
        yield Case(layer, {"s": shape, "t": shape}, got=" ".join(map(str, shape)))
    for shape in [(4,), (4, 2), (3, 3), (12,), (4, 3, 1), (3, 4)]:
        yield Case(layer, {**good, "t": shape}, got=" ".join(map(str, shape)))
    for shape in [(3,), (5,), (4, 2), (1, 4), (4, 1, 1), (4, 3)]:
        yield Case(layer, {**good, "w": shape}, got=" ".join(map(str, shape)))
    yield Case(layer, {}, got="0$")
    yield Case(layer, {"s": (4, 3)}, got="1$")
    yield Case(layer, {**good, "w": (4,), "other": (4,)}, got="4$")
    yield Case(layer, good, tops=("a", "b"), got="2$")
    for label in (0, 255, -1):
        yield Case(layer, good, f"loss_param {{ ignore_label: {label} }}", got=str(label))
    ones = {"s": np.zeros((4, 3)), "t": np.full((4, 3), 1 / 3), "w": np.ones(4)}
    for name in ones:
        for value in (np.nan, np.inf, -np.inf, -0.5):
            for row in (0, 3):
                if (name, value) in {("s", -0.5), ("w", -0.5)}:
                    continue  # these are fine
                inputs = {key: array.copy() for key, array in ones.items()}
                inputs[name][row, ...].flat[0] = value
                inputs[name].reshape(4, -1)[row, -1] = value
                yield Case(layer, inputs, got=f"-?{abs(value)}")
    for index in (1, 2):
        flags = repeated("propagate_down", ["true" if i == index else "false" for i in range(3)])
        yield Case(layer, {**good, "w": (4,)}, flags, got="true", backward=True)


def all_cases():
    return [
        *sparse_hypercolumn_cases(),
        *hypercolumn_inner_product_cases(),
        *color_space_cases(),
        *color_histogram_cases(),
        *loss_cases(),
    ]


def prototxt(case):
    shapes = {name: getattr(value, "shape", value) for name, value in case.inputs.items()}
    layers = [
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        f"{repeated('dim', shape)} }} }} }}"
        for name, shape in shapes.items()
    ]
    if case.backward:  # whatever is learned asks for a gradient of what it feeds
        layers += [
            f'layer {{ name: "learned_{name}" type: "Bias" bottom: "{name}" top: "{name}" '
            "bias_param { axis: 0 num_axes: 0 } }"
            for name in shapes
        ]
    bottoms = " ".join(f'bottom: "{name}"' for name in shapes)
    tops = " ".join(f'top: "{name}"' for name in case.tops)
    loss = "loss_weight: 1" if case.backward and case.layer != "SoftmaxKLDivergenceLoss" else ""
    loss = " ".join([loss] * len(case.tops))
    return "\n".join(
        [
            *layers,
            f'layer {{ name: "bad" type: "{case.layer}" {bottoms} {tops} {loss} {case.parameters} }}',
        ]
    )


def run_case(case, folder):
    """Build and run the net of a case in a fork; returns its wait status and what it said."""
    path, said = os.path.join(folder, "net.prototxt"), os.path.join(folder, "stderr")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(prototxt(case))
    child = os.fork()
    if child == 0:
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 2)
        signal.alarm(120)  # a billion bins are made first, and the machine may be busy
        import caffe

        net = caffe.Net(path, caffe.TRAIN)
        for name, value in case.inputs.items():
            if isinstance(value, np.ndarray):
                net.blobs[name].data[...] = value
        net.forward()
        if case.backward:
            net.backward()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    with open(said, encoding="utf-8", errors="replace") as stream:
        return status, stream.read()


def complaint(case, status, said):
    """What is wrong with the end of a case, or nothing."""
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT):
        return f"did not stop with an error (wait status {status})"
    lines = [line for line in said.splitlines() if re.match(r"F\d+ ", line)]
    if len(lines) != 1:
        return f"{len(lines)} lines of error"
    message = re.search(r"layer bad: .*expected.*got (.*)$", lines[0])
    if message is None:
        return f"does not name layer, expected and received: {lines[0]}"
    if not re.match(case.got, message[1].strip()):
        return f"expected to hear 'got {case.got}': {lines[0]}"
    return ""


def main():
    """Run all cases; prints a JSON list of [case, complaint]."""
    import caffe  # noqa: F401  the forks inherit it

    results = []
    with tempfile.TemporaryDirectory() as folder:
        results += [
            (prototxt(case), complaint(case, *run_case(case, folder))) for case in all_cases()
        ]
    print(json.dumps(results))


@pytest.mark.slow
def test_malformed_layers_end_in_a_clear_line(capsys):
    process = subprocess.run(
        [sys.executable, __file__],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GLOG_minloglevel": "0", "GLOG_logtostderr": "1"},
    )
    results = json.loads(process.stdout)
    assert len({text for text, _ in results}) >= 200
    wrong = [f"{text}\n=> {problem}" for text, problem in results if problem]
    with capsys.disabled():
        print(
            f" {len(results)} malformed layers, {len(results) - len(wrong)} ended in a clear line ",
            end="",
        )
    assert not wrong, "\n\n".join(wrong)


if __name__ == "__main__":
    main()
