"""Weights read where they lie in a caffemodel."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from autocolor.runtime.caffemodel import NotMappableError, map_weights


def _net(**arrays: np.ndarray) -> caffe_pb2.NetParameter:
    net = caffe_pb2.NetParameter(name="a net")
    for name, array in arrays.items():
        layer = net.layer.add(name=name, type="InnerProduct", bottom=["data"])
        blob = layer.blobs.add()
        blob.shape.dim.extend(array.shape)
        blob.data.extend(array.ravel().tolist())
    return net


def _write(folder: Path, net: caffe_pb2.NetParameter) -> Path:
    path = folder / "weights.caffemodel"
    path.write_bytes(net.SerializeToString())
    return path


def test_arrays_are_those_that_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Names of several lengths, so that the floats begin at every alignment; shapes above 127 take
    # two bytes an axis.
    arrays = {
        "a" * length: rng.normal(size=shape).astype(np.float32)
        for length, shape in enumerate([(3,), (2, 300), (1, 2, 3, 5), (1,), (130, 1)], start=1)
    }
    net = _net(**arrays)
    net.layer.add(name="relu", type="ReLU")
    mapped = map_weights(_write(tmp_path, net))
    assert list(mapped) == list(arrays)
    for name, array in arrays.items():
        ((shape, values),) = mapped[name]
        assert shape == array.shape
        np.testing.assert_array_equal(np.frombuffer(values.tobytes(), "<f4"), array.ravel())


def test_old_shapes(tmp_path: Path) -> None:
    net = _net(layer=np.ones((1, 1, 2, 3), np.float32))
    blob = net.layer[0].blobs[0]
    blob.ClearField("shape")
    blob.num, blob.channels, blob.height, blob.width = 1, 1, 2, 3
    assert map_weights(_write(tmp_path, net))["layer"][0][0] == (1, 1, 2, 3)


def test_what_has_to_be_parsed(tmp_path: Path) -> None:
    old = caffe_pb2.NetParameter()
    old.layers.add(name="conv")
    double = _net(layer=np.ones(3, np.float32))
    double.layer[0].blobs[0].ClearField("data")
    double.layer[0].blobs[0].double_data.extend([1, 2, 3])
    short = _net(layer=np.ones(3, np.float32))
    short.layer[0].blobs[0].shape.dim[0] = 4
    for net in (old, double, short):
        with pytest.raises(NotMappableError):
            map_weights(_write(tmp_path, net))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    net = _net(first=np.ones(3, np.float32), second=np.ones((2, 2), np.float32))
    whole = net.SerializeToString()
    between = len(_net(first=np.ones(3, np.float32)).SerializeToString())
    header = len(caffe_pb2.NetParameter(name="a net").SerializeToString())
    for length in range(len(whole)):
        path = tmp_path / "cut.caffemodel"
        path.write_bytes(whole[:length])
        if length in (header, between):  # a whole message with fewer layers
            assert len(map_weights(path)) == (length == between)
            continue
        with pytest.raises(NotMappableError):
            map_weights(path)


def test_random_bytes_raise_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = bytearray(_net(first=np.ones(30, np.float32)).SerializeToString())
    path = tmp_path / "damaged.caffemodel"
    for _ in range(500):
        damaged = bytearray(whole)
        for position in rng.integers(0, 40, size=3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(NotMappableError):
            map_weights(path)
