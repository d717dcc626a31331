"""Convolutions in whole nets: each engine, the fused ReLU, weights that change."""

from __future__ import annotations

from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from autocolor.imaging.color import lightness
from autocolor.imaging.images import resize
from autocolor.nets.colorization import ColorizationNet
from autocolor.nets.vgg16 import vgg16_gray_features
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.fusion import fuse_relus
from autocolor.runtime.model_folder import Manifest

Convolution = caffe_pb2.ConvolutionParameter

pytestmark = pytest.mark.skipif(
    "ONEDNN" not in list(Convolution.Engine.keys()), reason="this Caffe is built without oneDNN"
)


def _features(engine: int, side: int = 48, width: float = 0.25) -> caffe_pb2.NetParameter:
    net = vgg16_gray_features("fc7", width=width)
    net.layer[0].input_param.shape[0].dim[2:] = [side, side]
    for layer in net.layer:
        if layer.type == "Convolution":
            layer.convolution_param.engine = engine
    net.force_backward = True
    return net


def _load(folder: Path, parameter: caffe_pb2.NetParameter, phase: int = 1) -> caffe.Net:
    import_caffe()
    path = folder / "net.prototxt"
    path.write_text(text_format.MessageToString(parameter), encoding="utf-8")
    return caffe.Net(str(path), phase)


def _fill(*nets: caffe.Net) -> None:
    rng = np.random.default_rng(0)
    for name, blobs in nets[0].params.items():
        for index, blob in enumerate(blobs):
            fan_in = np.prod(blob.shape[1:]) if len(blob.shape) > 1 else 100
            values = rng.normal(size=blob.data.shape) * np.sqrt(2 / fan_in)
            for net in nets:
                net.params[name][index].data[...] = values
    image = rng.random(nets[0].blobs["data"].data.shape)
    for net in nets:
        net.blobs["data"].data[...] = image


def _assert_close(received: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    # Both engines sum in single precision, in another order.
    assert np.abs(received - expected).max() <= tolerance * np.abs(expected).max()


def _with_average_pooling(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """A maximum may be equal to its neighbour but for rounding, and send its gradient elsewhere."""
    for layer in net.layer:
        if layer.type == "Pooling":
            layer.pooling_param.pool = caffe_pb2.PoolingParameter.AVE
    return net


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
@pytest.mark.parametrize("side", [48, 75])
@pytest.mark.parametrize("engine", [Convolution.DEFAULT, Convolution.ONEDNN])
def test_all_levels_and_gradients_are_those_of_the_stock_engine(
    tmp_path: Path, phase: int, side: int, engine: int
) -> None:
    stock, ours = (
        _load(tmp_path, _with_average_pooling(_features(each, side)), phase)
        for each in (Convolution.CAFFE, engine)
    )
    _fill(stock, ours)
    for net in (stock, ours):
        net.forward()
    for name, blob in ours.blobs.items():
        _assert_close(blob.data, stock.blobs[name].data)
        # Else a ReLU might take another side of 0.
        blob.data[...] = stock.blobs[name].data
    for net in (stock, ours):
        net.clear_param_diffs()
        net.blobs["fc7"].diff[...] = np.random.default_rng(1).normal(size=net.blobs["fc7"].shape)
        net.backward()
    for name, blob in ours.blobs.items():
        _assert_close(blob.diff, stock.blobs[name].diff)
    for name, blobs in ours.params.items():
        for blob, expected in zip(blobs, stock.params[name], strict=True):
            _assert_close(blob.diff, expected.diff)


def test_a_prototxt_that_names_no_engine_gets_a_fast_one(tmp_path: Path) -> None:
    nets = [
        _load(tmp_path, _features(engine))
        for engine in (Convolution.DEFAULT, Convolution.ONEDNN, Convolution.CAFFE)
    ]
    _fill(*nets)
    outputs = [net.forward()["fc7"].copy() for net in nets]
    assert np.any(outputs[0] != outputs[2])
    assert np.any(outputs[1] != outputs[2])
    for output in outputs[:2]:
        _assert_close(output, outputs[2])


@pytest.mark.parametrize("engine", [Convolution.DEFAULT, Convolution.ONEDNN])
def test_colours_are_those_of_the_stock_engine(tmp_path: Path, engine: int) -> None:
    """To the last step of 8 bits, on random weights whose histograms are anything but sure."""
    colours = []
    rng = np.random.default_rng(2)
    small = rng.random((9, 12, 3), dtype=np.float32)
    grey = lightness(resize(small, (90, 117)))
    for each in (Convolution.CAFFE, engine):
        net = ColorizationNet(levels="data..conv5_3", width=0.25).deploy_net()
        for layer in net.layer:
            if layer.type == "Convolution":
                layer.convolution_param.engine = each
        folder = tmp_path / str(each)
        folder.mkdir()
        manifest = Manifest("test", levels="data..conv5_3", working_side=96)
        manifest.save(folder)
        (folder / manifest.deploy).write_text(str(net))
        loaded = caffe.Net(str(folder / manifest.deploy), caffe.TEST)
        weights = np.random.default_rng(3)
        for blobs in loaded.params.values():
            fan_in = np.prod(blobs[0].shape[1:])
            blobs[0].data[...] = weights.normal(scale=(2 / fan_in) ** 0.5, size=blobs[0].shape)
        loaded.save(str(folder / manifest.weights))
        colours.append(Colorizer(folder).colorize(grey))
    steps = [np.round(255 * colour).astype(int) for colour in colours]
    assert np.ptp(steps[0] - steps[0].mean(axis=2, keepdims=True)) > 10  # there is colour
    assert np.abs(steps[0] - steps[1]).max() <= 1


def test_fused_relus_change_no_bit(tmp_path: Path) -> None:
    plain, fused = (_features(Convolution.DEFAULT) for _ in range(2))
    fuse_relus(fused)
    assert not [layer for layer in fused.layer if layer.type == "ReLU"]
    assert [layer.name for layer in fused.layer] == [
        layer.name for layer in plain.layer if layer.type != "ReLU"
    ]
    nets = _load(tmp_path, plain), _load(tmp_path, fused)
    _fill(*nets)
    for net in nets:
        net.forward()
        net.blobs["fc7"].diff[...] = 1
        net.backward()
    for name, blob in nets[1].blobs.items():
        np.testing.assert_array_equal(blob.data, nets[0].blobs[name].data)
        np.testing.assert_array_equal(blob.diff, nets[0].blobs[name].diff)


@pytest.mark.parametrize(
    "change",
    [
        lambda convolution, relu: relu.relu_param.CopyFrom(
            caffe_pb2.ReLUParameter(negative_slope=0.1)
        ),
        lambda convolution, relu: relu.top.__setitem__(0, "other"),
        lambda convolution, relu: convolution.convolution_param.CopyFrom(
            Convolution(num_output=2, engine=Convolution.CAFFE)
        ),
        lambda convolution, relu: setattr(convolution, "type", "Deconvolution"),
    ],
)
def test_other_relus_stay(change) -> None:
    net = caffe_pb2.NetParameter()
    convolution = net.layer.add(name="c", type="Convolution", bottom=["data"], top=["c"])
    relu = net.layer.add(name="r", type="ReLU", bottom=["c"], top=["c"])
    change(convolution, relu)
    before = caffe_pb2.NetParameter.FromString(net.SerializeToString())
    fuse_relus(net)
    assert net == before


def test_changed_weights_are_seen_by_a_test_net_that_shares_them(tmp_path: Path) -> None:
    train, test, stock = (
        _load(tmp_path, _features(engine), phase)
        for engine, phase in (
            (Convolution.DEFAULT, caffe.TRAIN),
            (Convolution.DEFAULT, caffe.TEST),
            (Convolution.CAFFE, caffe.TEST),
        )
    )
    _fill(train, test, stock)
    test.share_with(train)
    stock.share_with(train)
    _assert_close(test.forward()["fc7"], stock.forward()["fc7"])
    for name in ("conv1_2", "conv4_1", "fc6", "fc7"):
        before = test.blobs["fc7"].data.copy()
        train.params[name][0].data[...] *= 1.5
        _assert_close(test.forward()["fc7"], stock.forward()["fc7"])
        assert np.abs(test.blobs["fc7"].data - before).max() > 0.1 * np.abs(before).max()
