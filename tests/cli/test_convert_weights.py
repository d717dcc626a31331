"""tools/convert_weights.py as a user runs it."""

import caffe
import h5py
import numpy as np
import pytest

from autocolor.nets.colorization import ColorizationNet
from autocolor.nets.vgg16 import vgg16_gray_features
from autocolor.nets.weights_io import read_weights, write_weights
from helpers.programs import call_main

TOOL = "tools/convert_weights.py"

# Deploy names, all convolutions, as autocolorize.caffemodel.h5 has them; here with fewer channels.
RELEASE = {
    "conv1_1": (4, 1, 3, 3),
    "fc6": (16, 4, 7, 7),
    "fc7": (16, 16, 1, 1),
    "h_fc1": (8, 37, 1, 1),
    "prediction_h": (32, 8, 1, 1),
    "prediction_c": (32, 8, 1, 1),
}
FULL_SIZE = {
    "fc6": (4096, 512, 7, 7),
    "fc7": (4096, 4096, 1, 1),
    "h_fc1": (1024, 12417, 1, 1),
    "prediction_h": (32, 1024, 1, 1),
    "prediction_c": (32, 1024, 1, 1),
}


def run(*words):
    assert call_main(TOOL, *words) == 0


def error(capsys, *words):
    """The one line of an error, after exit status 1."""
    assert call_main(TOOL, *words) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("convert_weights: error: ")
    return lines[0]


@pytest.fixture
def release(tmp_path):
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.random(shape, np.float32), rng.random(shape[0], np.float32))
        for name, shape in RELEASE.items()
    }
    write_weights(tmp_path / "release.caffemodel.h5", weights, "release")
    return tmp_path / "release.caffemodel.h5"


@pytest.mark.parametrize("step", [(), ("--fc", "inner-product"), ("--names", "release-train")])
def test_the_release_converts_to_ours_and_back_from_every_form(release, step, tmp_path):
    start, ours, back = tmp_path / "start.h5", tmp_path / "ours.caffemodel", tmp_path / "back.h5"
    if step == ("--fc", "inner-product"):
        step = ("--names", "release", *step)
    run("convert", *step, "--from", release, "--out", start)
    names = list(read_weights(start))
    assert ("colorize_fc1" in names) == ("release-train" in step)
    if "inner-product" in step:
        axes = {name: blobs[0].ndim for name, blobs in read_weights(start).items()}
        assert axes == dict.fromkeys(RELEASE, 2) | {"conv1_1": 4}
    run("convert", "--names", "ours", "--from", start, "--out", ours)
    shapes = {name: blobs[0].shape for name, blobs in read_weights(ours).items()}
    flat = {"h_fc1": (8, 37), "prediction_h": (32, 8), "prediction_c": (32, 8)}
    assert shapes == RELEASE | flat
    run("convert", "--names", "release", "--from", ours, "--out", back)
    for name, blobs in read_weights(release).items():
        for array, blob in zip(read_weights(back)[name], blobs, strict=True):
            np.testing.assert_array_equal(array, blob, strict=True)


@pytest.mark.slow
def test_inspect_of_the_release_at_full_size(tmp_path, capsys):
    """Names and shapes of autocolorize.caffemodel.h5; the values are fill values, on no disk."""
    path = tmp_path / "autocolorize.caffemodel.h5"
    shapes = {}
    channels = 1
    for layer in vgg16_gray_features().layer:
        if layer.type == "Convolution":
            shapes[layer.name] = (layer.convolution_param.num_output, channels, 3, 3)
            channels = layer.convolution_param.num_output
    with h5py.File(path, "w") as file:
        for name, shape in (shapes | FULL_SIZE).items():
            file.create_dataset(f"data/{name}/0", shape, "f4", fillvalue=0.5)
            file.create_dataset(f"data/{name}/1", shape[:1], "f4")
    assert path.stat().st_size < 100_000
    run("inspect", path)
    table = capsys.readouterr().out.splitlines()
    assert "fc6            102,764,544  4096x512x7x7  4096" in table
    assert table[-1].split() == ["total", "147,041,024", "in", "18", "layers"]


@pytest.mark.slow
def test_transplant_from_vgg_into_the_deploy_net(tmp_path, capsys):
    rng = np.random.default_rng(1)
    vgg = {
        layer.name: [layer.convolution_param.num_output]
        for layer in vgg16_gray_features().layer
        if layer.type == "Convolution"
    }
    channels = 3
    for shape in vgg.values():
        shape += [channels, 3, 3]
        channels = shape[0]
    weights = {
        name: (rng.random(shape, np.float32) * 0.1, rng.random(shape[0], np.float32))
        for name, shape in (vgg | {"fc8": [10, 16]}).items()
    }
    weights["first"] = weights.pop("conv1_1")
    arrays = {}
    for name, (weight, bias) in weights.items():
        arrays |= {f"{name}/weight": weight, f"{name}/bias": bias}
    np.savez(tmp_path / "vgg.npz", **arrays)
    (tmp_path / "deploy.prototxt").write_text(
        str(ColorizationNet(levels="data..conv5_3").deploy_net())
    )
    assert "conv1_1: expected a weight" in error(
        capsys, "grey", "--from", tmp_path / "vgg.npz", "--out", tmp_path / "grey.h5"
    )
    weights["conv1_1"] = weights.pop("first")
    write_weights(tmp_path / "vgg.caffemodel", weights, "vgg")
    start = tmp_path / "start.h5"
    transplant = ("transplant", "--net", tmp_path / "deploy.prototxt", "--out", start)
    line = error(capsys, *transplant, "--from", tmp_path / "vgg.caffemodel")
    assert "h_fc1 is missing" in line
    assert "conv1_1: expected (64, 1, 3, 3), (64,), got (64, 3, 3, 3), (64,)" in line
    assert not start.exists()

    run("grey", "--from", tmp_path / "vgg.caffemodel", "--out", tmp_path / "grey.h5")
    transplant += ("--from", tmp_path / "grey.h5", "--partial")
    run(*transplant)
    listed = capsys.readouterr().out
    assert "left out: fc8" in listed
    assert "missing, not written: h_fc1; prediction_h; prediction_c" in listed
    net = caffe.Net(str(tmp_path / "deploy.prototxt"), caffe.TEST)
    net.copy_from(str(start))
    for name in ("conv1_2", "conv5_3"):
        np.testing.assert_array_equal(net.params[name][0].data, weights[name][0])
    assert "not there: fc9" in error(capsys, *transplant, "--rename", "fc9=h_fc1")


def test_errors_are_one_line_and_leave_no_file(release, tmp_path, capsys):
    out = tmp_path / "out.h5"
    assert "nowhere" in error(capsys, "inspect", tmp_path / "nowhere")
    (tmp_path / "cut.h5").write_bytes(release.read_bytes()[:1000])
    assert "cut.h5" in error(capsys, "inspect", tmp_path / "cut.h5")
    assert "conv1_1" in error(capsys, "grey", "--from", release, "--out", out)
    assert "out.txt" in error(capsys, "convert", "--from", release, "--out", tmp_path / "out.txt")
    (tmp_path / "net.prototxt").write_text("not a net")
    transplant = ("transplant", "--from", release, "--out", out, "--net", tmp_path / "net.prototxt")
    assert "net.prototxt" in error(capsys, *transplant)
    (tmp_path / "net.prototxt").write_text('layer { name: "x" type: "Nonsense" top: "x" }')
    assert "Nonsense" in error(capsys, *transplant)
    (tmp_path / "net.prototxt").write_text("")
    assert "no layer fits" in error(capsys, *transplant)
    for words in (("convert",), ("--rename", "a", *transplant), (*transplant, "--rename", "a=")):
        assert call_main(TOOL, *words) == 2
        capsys.readouterr()
    assert not out.exists()
