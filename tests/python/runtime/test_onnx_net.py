"""The deploy nets in ONNX: the same outputs as Caffe's, and none of Caffe needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from autocolor.nets.colorization import ColorizationNet
from autocolor.runtime import backends, caffe_runtime
from autocolor.runtime.backends import choose_backend, load_net
from autocolor.runtime.caffe_net import CaffeNet
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.caffemodel import read_caffemodel, write_caffemodel
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.deploy_nets import read_deploy
from autocolor.runtime.device import BackendError
from autocolor.runtime.model_folder import Manifest, ModelError
from autocolor.runtime.onnx_graph import load_onnx_model
from autocolor.runtime.onnx_net import OnnxNet

ROOT = Path(__file__).resolve().parents[3]
STANDARD = {"Add", "AveragePool", "Concat", "Conv", "MaxPool", "Mul", "Relu", "Resize", "Softmax"}


def save_random(folder: Path, deploy: Any, manifest: Manifest) -> Any:
    """Write a model folder with random weights; return the net in Caffe."""
    (folder / manifest.deploy).write_text(str(deploy), encoding="utf-8")
    net = import_caffe().Net(str(folder / manifest.deploy), import_caffe().TEST)
    rng = np.random.default_rng(0)
    for blobs in net.params.values():
        for blob in blobs:
            # Activations neither die nor grow from layer to layer, and histograms are not flat.
            fan_in = max(1, int(np.prod(blob.data.shape[1:])))
            blob.data[...] = rng.normal(scale=(2 / fan_in) ** 0.5, size=blob.data.shape)
    net.save(str(folder / manifest.weights))
    manifest.save(folder)
    return net


@pytest.mark.parametrize(
    ("network", "stride", "average_pooling"),
    [
        (ColorizationNet(width=1 / 8), 4, False),
        (ColorizationNet(width=1 / 8), 4, True),
        (ColorizationNet(width=1 / 8, levels="data..conv5_3"), 1, False),
        (ColorizationNet(width=1 / 8, levels="data..conv5_3"), 16, False),
        (ColorizationNet("lab_marginal", "conv4_1..fc7", 7, 1 / 16), 8, False),
        (ColorizationNet("lab_joint", "data..conv3_3", 5, 1 / 16), 2, False),
        (ColorizationNet("lab_l2", "fc7", width=1 / 16), 4, False),
        (ColorizationNet("lab_l2", "data"), 4, False),
    ],
)
def test_outputs_are_caffes(
    tmp_path: Path, network: ColorizationNet, stride: int, average_pooling: bool
) -> None:
    bins = network.heads[0].bins or 32
    manifest = Manifest("random", network.variant, network.levels, bins, stride=stride)
    caffe_net = save_random(tmp_path, network.deploy_net(stride, average_pooling), manifest)
    outputs = tuple(manifest.outputs)
    deploy, weights = tmp_path / manifest.deploy, tmp_path / manifest.weights
    model = load_onnx_model(deploy, weights, outputs)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} <= STANDARD
    assert {node.domain for node in model.graph.node} == {""}
    net = OnnxNet(model.SerializeToString())
    rng = np.random.default_rng(1)
    for height, width in ((64, 96), (32, 32), (160, 32)):
        lightness = rng.random((height, width), dtype=np.float32)
        caffe_net.blobs["data"].reshape(1, 1, height, width)
        caffe_net.blobs["data"].data[...] = lightness
        caffe_net.forward()
        for name, found in zip(outputs, net(lightness), strict=True):
            expected = caffe_net.blobs[name].data[0]
            assert (
                found.shape
                == expected.shape
                == (
                    manifest.outputs[name],
                    height // stride,
                    width // stride,
                )
            )
            # Colours of lab_l2 are of the order of 25.
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
            if (height, width) == (64, 96):  # the coarsest level has several cells
                assert np.ptp(expected, axis=(1, 2)).max() > 1e-4


@pytest.mark.parametrize("factor", [0.125, 0.25, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("size", [(8, 16), (8, 8)])
def test_resize_clamps_as_the_layer_does(factor: float, size: tuple[int, int]) -> None:
    """Against MakeBilinearTap of util/bilinear.hpp, written out."""
    maps = np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
    if factor > 1:
        maps = maps[:, :, :1]  # one row: nothing but border
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, factor, factor])
    node = helper.make_node(
        "Resize",
        ["x", "", "scales"],
        ["y"],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    graph = helper.make_graph([node], "resize", values[:1], values[1:], [scales])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": maps})
    expected = maps.astype(float)
    for axis in (2, 3):
        cells = expected.shape[axis]
        position = np.clip((np.arange(round(cells * factor)) + 0.5) / factor - 0.5, 0, cells - 1)
        low = position.astype(int)
        high = np.minimum(low + 1, cells - 1)
        fraction = (position - low).reshape([-1 if i == axis else 1 for i in range(4)])
        expected = (1 - fraction) * expected.take(low, axis) + fraction * expected.take(high, axis)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [path.name for path in (ROOT / "prototxt").iterdir() if path.name.startswith(("hue", "lab"))],
)
def test_every_colorizer_can_be_read_without_caffe(name: str) -> None:
    """With Caffe's own answer, field by field."""
    from caffe.proto import caffe_pb2
    from google.protobuf import json_format, text_format

    path = ROOT / "prototxt" / name / "deploy.prototxt"
    expected = text_format.Parse(path.read_text(), caffe_pb2.NetParameter())
    assert json_format.MessageToDict(read_deploy(path)) == json_format.MessageToDict(expected)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Return deploy prototxt and weights of a small network."""
    network = ColorizationNet(levels="data..conv1_2", width=1 / 16)
    manifest = Manifest("random", levels=network.levels)
    save_random(tmp_path, network.deploy_net(), manifest)
    return tmp_path / manifest.deploy, tmp_path / manifest.weights


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "layer {",
            "lawyer {",
            r"deploy\.prototxt: expected a prototxt that can be run without Caffe: .* named \"lawyer\"",
        ),
        (
            "stride: 4",
            "lrn_param { }",
            r"deploy\.prototxt: .*: \d+:\d+ : .*field named \"lrn_param\"",
        ),
        ("stride: 4", "stride: 4 heads: 2", "'h_fc1': no equivalent of its field 'heads'"),
        ("pad: 1", "pad: 1 group: 3", "'conv1_1': no equivalent of its field 'group'"),
        ("pad: 1", "pad: 1 dilation: 2", "'conv1_1': expected a dilation of 1"),
        ("pad: 1", "pad: 1 kernel_h: 3", "'conv1_1': no equivalent of its field 'kernel_h'"),
        (
            'type: "Softmax"',
            'type: "Softmax" include { phase: TRAIN }',
            "'hue': no equivalent of its field 'include'",
        ),
        ('type: "Softmax"', 'type: "Python"', "'hue': no equivalent of a layer of type 'Python'"),
        ('top: "chroma"', 'top: "saturation"', "expected a blob named 'chroma', got none"),
        (
            'bottom: "conv1_2"',
            'bottom: "conv9"',
            "'relu1_2': no layer before it has the top 'conv9'",
        ),
        (
            'name: "conv1_2"',
            'name: "conv1_3"',
            r"'conv1_3': expected \[\[4, 4, 3, 3\], \[4\]\], got no such layer",
        ),
        (
            "num_output: 64",
            "num_output: 65",
            r"'h_fc1': expected \[\[65, 9\], \[65\]\], got \[\[64, 9\], \[64\]\]",
        ),
        (
            "offset_height: 0",
            "offset_height: 1",
            "'h_fc1': level 'data': expected a scale .* offsets of .scale - 1./2, .* scale 1 and offsets 1, 0",
        ),
        (
            "stride: 4",
            "stride: 3",
            "'h_fc1': expected .* a stride that divides 32, got 3, 64 and 3",
        ),
        (
            "kernel_size: 3",
            "kernel_size: 0",
            "'conv1_1': expected num_output, kernel_size and stride",
        ),
        ("pad: 1", "pad: 2000", "'conv1_1': pad: expected at most 1024"),
        ("scale: 1\n", "", "'h_fc1': scale: expected 0, 1 or 3 values, got 2"),
        (
            "dim: 256",
            "",
            r"'data': expected one input 'data' of four axes, got 'data' \[\[1, 1, 256",
        ),
    ],
)
def test_nets_that_cannot_be_exported(
    files: tuple[Path, Path], old: str, new: str, message: str
) -> None:
    text = files[0].read_text()
    assert old in text
    files[0].write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError, match=message):
        OnnxNet.load(*files)


def test_fields_without_an_effect_may_be_named(files: tuple[Path, Path]) -> None:
    """As a net may for Caffe: its engines, defaults, and how a layer learns."""
    photo = np.random.default_rng(0).random((32, 32), np.float32)
    expected = OnnxNet.load(*files)(photo)
    text = files[0].read_text()
    for old, new in (
        ("pad: 1", "pad: 1 group: 1 dilation: 1 axis: 1 engine: CAFFE force_nd_im2col: false"),
        ('type: "ReLU"', 'type: "ReLU" relu_param { engine: CAFFE }'),
        ("softmax_param {", "loss_weight: 0 softmax_param { engine: CAFFE"),
        ('type: "Convolution"', 'type: "Convolution" phase: TEST propagate_down: false'),
    ):
        assert old in text
        text = text.replace(old, new)
    files[0].write_text(text)
    assert CaffeNet(*files)(photo)[0].shape == expected[0].shape  # so Caffe reads it, too
    for engine in ("CAFFE", "ONEDNN"):  # the latter is not in every Caffe
        files[0].write_text(text.replace("axis: 1 engine: CAFFE", f"axis: 1 engine: {engine}"))
        for ours, before in zip(OnnxNet.load(*files)(photo), expected, strict=True):
            np.testing.assert_array_equal(ours, before)


def test_what_onnxruntime_refuses_is_one_line(files: tuple[Path, Path]) -> None:
    # A convolution without padding: the levels no longer fit each other.
    files[0].write_text(files[0].read_text().replace("pad: 1", "pad: 0", 1))
    net = OnnxNet.load(*files)
    with pytest.raises(ModelError, match="onnxruntime cannot run the network: [^\n]+$"):
        net(np.zeros((32, 32), np.float32))
    with pytest.raises(ModelError, match="onnxruntime refuses the network: [^\n]+$"):
        OnnxNet(b"no model")


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_file(files: tuple[Path, Path], missing: int) -> None:
    files[missing].unlink()
    with pytest.raises(ModelError, match=f"{files[missing].name}: no such file"):
        OnnxNet.load(*files)


def test_cut_weights(files: tuple[Path, Path]) -> None:
    content = files[1].read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        files[1].write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"weights\.caffemodel: "):
            OnnxNet.load(*files)


def test_weights_written_without_caffe(files: tuple[Path, Path]) -> None:
    """Caffe and our own reader load them."""
    weights = read_caffemodel(files[1])
    again = files[1].with_name("again.caffemodel")
    write_caffemodel(again, weights, "again")
    for name, blobs in read_caffemodel(again).items():
        for blob, expected in zip(blobs, weights[name], strict=True):
            np.testing.assert_array_equal(blob, expected)
    caffe = import_caffe()
    net = caffe.Net(str(files[0]), str(again), caffe.TEST)
    assert set(net.params) == set(weights)
    for name, blobs in net.params.items():
        for blob, expected in zip(blobs, weights[name], strict=True):
            np.testing.assert_array_equal(blob.data, expected)


def test_threads_are_those_of_openmp(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    net = OnnxNet.load(*files)
    assert net._session.get_session_options().intra_op_num_threads == 1


def test_backend_is_caffe_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend() == "caffe"
    assert choose_backend("onnx") == "onnx"
    monkeypatch.setitem(sys.modules, "caffe", None)  # import then fails
    assert choose_backend() == "onnx"
    assert choose_backend("caffe") == "caffe"
    with pytest.raises(ValueError, match="backend: expected one of auto, caffe, onnx, got 'c'"):
        choose_backend("c")


def test_another_package_named_caffe_is_not_caffe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "caffe.py").touch()
    monkeypatch.delitem(sys.modules, "caffe")
    monkeypatch.syspath_prepend(tmp_path)
    assert not caffe_runtime.caffe_is_built()


def test_neither_backend(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("caffe", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        BackendError, match=r"neither Caffe nor onnxruntime .*pip install onnx onnxruntime"
    ):
        load_net(*files)


def test_gpu_needs_another_onnxruntime(files: tuple[Path, Path]) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is built for GPUs")
    with pytest.raises(BackendError, match="device 'gpu:1': this onnxruntime is built for the CPU"):
        load_net(*files, "gpu:1", backend="onnx")
    with pytest.raises(ValueError, match="device: expected 'cpu', 'gpu' or 'gpu:NUMBER'"):
        load_net(*files, "tpu", backend="onnx")


def test_colorizer(model_folder: Path) -> None:
    grey = np.random.default_rng(0).random((70, 101), dtype=np.float32)
    by_caffe, by_onnx = (Colorizer(model_folder, backend=name) for name in backends.BACKENDS[1:])
    np.testing.assert_allclose(by_onnx.colorize(grey), by_caffe.colorize(grey), atol=0.5 / 255)


@pytest.mark.slow
def test_command_imports_no_caffe(
    make_model: Callable[[Path], Path], photo_folder: Path, tmp_path: Path
) -> None:
    """Any import of Caffe would fail, as it does where Caffe is not built."""
    code = (
        "import sys; sys.modules['caffe'] = None\n"
        "from autocolor.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    shutil.copy(photo_folder / "coffee.png", tmp_path)
    for options in ([], ["--hint", "3,4=#b03020", "--samples", "2", "--uncertainty"]):
        command = [
            sys.executable,
            "-c",
            code,
            tmp_path / "coffee.png",
            "--model",
            make_model(tmp_path / "tiny"),
            *options,
        ]
        run = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "coffee.png",
        "coffee_color.png",
        "coffee_color_1.png",
        "coffee_color_2.png",
        "coffee_color_uncertainty.png",
    }
