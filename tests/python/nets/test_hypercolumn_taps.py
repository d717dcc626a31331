"""Training nets with taps against the same nets with one SparseHypercolumn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe import NetSpec
from caffe import layers as L
from caffe.proto import caffe_pb2

from autocolor.nets.hypercolumn_taps import use_taps
from autocolor.nets.vgg16 import add_vgg16, geometry, vgg16_levels
from autocolor.runtime.caffe_runtime import import_caffe

WIDTH, IMAGES, LOCATIONS = 1 / 16, 2, 24


def _net(levels: str, side: int = 32) -> caffe_pb2.NetParameter:
    net = NetSpec()
    net.data = L.Input(shape=dict(dim=[IMAGES, 1, side, side]))
    net.locations = L.Input(shape=dict(dim=[IMAGES, LOCATIONS, 2]))
    chosen = vgg16_levels(levels, WIDTH)
    add_vgg16(net, net.data, chosen[-1].name, width=WIDTH, dropout=0.5)
    net.hypercolumn = L.SparseHypercolumn(
        net.locations,
        *(net[level.name] for level in chosen),
        sparse_hypercolumn_param=geometry(chosen),
    )
    net.output = L.InnerProduct(
        net.hypercolumn, num_output=3, weight_filler=dict(type="gaussian", std=0.1)
    )
    net.loss = L.Reduction(net.output, operation=3, loss_weight=1)  # sum of squares
    result: caffe_pb2.NetParameter = net.to_proto()
    return result


def _with_taps(levels: str) -> caffe_pb2.NetParameter:
    channels = [level.channels for level in vgg16_levels(levels, WIDTH)]
    return use_taps(_net(levels), "hypercolumn", IMAGES * LOCATIONS, channels)


def _load(folder: Path, net: Any) -> Any:
    caffe = import_caffe()
    path = folder / "net.prototxt"
    path.write_text(str(net), encoding="utf-8")
    caffe.set_random_seed(1)
    return caffe.Net(str(path), caffe.TRAIN)


@pytest.mark.parametrize("levels", ["data..fc7", "conv2_2..conv3_1", "fc6..fc7", "conv1_1"])
def test_same_outputs_and_gradients(levels: str, tmp_path: Path) -> None:
    whole, taps = _load(tmp_path, _net(levels)), _load(tmp_path, _with_taps(levels))
    rng = np.random.default_rng(0)
    for name, blobs in whole.params.items():
        for blob, other in zip(blobs, taps.params[name], strict=True):
            blob.data[...] = other.data[...] = rng.normal(0, 0.15, blob.data.shape)
    image = rng.random((IMAGES, 1, 32, 32), dtype=np.float32)
    locations = rng.uniform(-1, 33, (IMAGES, LOCATIONS, 2))
    read = {}
    for step in range(2):  # the second time over the gradients of the first
        for net in (whole, taps):
            net.blobs["data"].data[...] = image + step
            net.blobs["locations"].data[...] = locations
            import_caffe().set_random_seed(7)  # of the dropout
            net.clear_param_diffs()
            net.forward()
            read[net] = net.blobs["hypercolumn"].data.copy()  # its gradient takes its place
            net.backward()
        np.testing.assert_array_equal(read[taps], read[whole])
        for name, blobs in whole.params.items():
            for blob, other in zip(blobs, taps.params[name], strict=True):
                # The sums have another order.
                scale = np.abs(blob.diff).max()
                assert scale > 0
                np.testing.assert_allclose(other.diff, blob.diff, atol=1e-4 * scale)


def test_the_gradient_of_the_hypercolumns_takes_their_memory(tmp_path: Path) -> None:
    taps = _load(tmp_path, _with_taps("data..conv1_2"))
    blob = taps.blobs["hypercolumn"]
    assert blob.data.ctypes.data == blob.diff.ctypes.data
    net = _net("data..conv1_2")
    net.layer.add(name="other", type="Sigmoid", bottom=["hypercolumn"], top=["other"])
    channels = [level.channels for level in vgg16_levels("data..conv1_2", WIDTH)]
    whole = use_taps(net, "hypercolumn", IMAGES * LOCATIONS, channels)
    assert not any(layer.sparse_hypercolumn_param.share_gradient for layer in whole.layer)


def test_no_level_is_split() -> None:
    net = _with_taps("data..fc7")
    readers = {
        level.name: [layer for layer in net.layer if level.name in layer.bottom]
        for level in vgg16_levels("data..fc7", WIDTH)
    }
    for name, layers in readers.items():
        changing = [layer for layer in layers if name in layer.top]
        assert len(layers) - len(changing) == 1, name  # besides those in place
    # fc7 has no reader but its tap, which then does not add to anything.
    assert list(net.layer[-3].top) == ["hypercolumn"]
    assert net.layer[-3].name == "hypercolumn_fc7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda net: net.layer.remove(net.layer[-3]),
            "expected a SparseHypercolumn layer hypercolumn, got none",
        ),
        (lambda net: net.layer[-3].bottom.append("x"), "channels: expected 4 numbers, got 3"),
        (lambda net: net.layer[-3].bottom.__setitem__(1, "x"), "no layer makes x"),
    ],
)
def test_nets_that_have_no_place_for_taps(change: Any, message: str) -> None:
    net = _net("data..conv1_2")
    assert net.layer[-3].type == "SparseHypercolumn"
    change(net)
    with pytest.raises(ValueError, match=message):
        use_taps(net, "hypercolumn", IMAGES * LOCATIONS, [1, 4, 4])
