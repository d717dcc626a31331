"""Weights read where they lie in a caffemodel."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from autocolor.runtime.caffemodel import WeightsError, read_caffemodel


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
    found = read_caffemodel(_write(tmp_path, net))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        (values,) = found[name]
        assert not values.flags.owndata
        np.testing.assert_array_equal(values, array, strict=True)


def test_old_shapes(tmp_path: Path) -> None:
    for kind, expected in (("InnerProduct", (2, 3)), ("Convolution", (1, 1, 2, 3))):
        net = _net(layer=np.ones((1, 1, 2, 3), np.float32))
        net.layer[0].type = kind
        blob = net.layer[0].blobs[0]
        blob.ClearField("shape")
        blob.num, blob.channels, blob.height, blob.width = 1, 1, 2, 3
        assert read_caffemodel(_write(tmp_path, net))["layer"][0].shape == expected


def test_values_that_are_not_packed_floats(tmp_path: Path) -> None:
    """Doubles, and a tag before every float, as a program without Caffe's schema may write."""
    expected = np.array([1, 2, 1 / 3], np.float32)
    double = _net(layer=np.ones(3, np.float32))
    double.layer[0].blobs[0].ClearField("data")
    double.layer[0].blobs[0].double_data.extend([1, 2, 1 / 3])
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.append(3)
    content = blob.SerializeToString() + b"".join(b"\x2d" + v.tobytes() for v in expected)
    layer = b"\x0a\x05layer" + b"\x3a" + bytes([len(content)]) + content
    net = b"\xa2\x06" + bytes([len(layer)]) + layer
    assert list(caffe_pb2.NetParameter.FromString(net).layer[0].blobs[0].data) == expected.tolist()
    for whole in (double.SerializeToString(), net):
        (tmp_path / "w.caffemodel").write_bytes(whole)
        (found,) = read_caffemodel(tmp_path / "w.caffemodel")["layer"]
        np.testing.assert_array_equal(found, expected, strict=True)


def test_wrong_number_of_values(tmp_path: Path) -> None:
    short = _net(layer=np.ones(3, np.float32))
    for size in (4, 2**40):
        short.layer[0].blobs[0].shape.dim[0] = size
        with pytest.raises(WeightsError, match="layer layer: 3 values for the shape"):
            read_caffemodel(_write(tmp_path, short))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    net = _net(first=np.ones(3, np.float32), second=np.ones((2, 2), np.float32))
    whole = net.SerializeToString()
    between = len(_net(first=np.ones(3, np.float32)).SerializeToString())
    for length in range(len(whole)):
        path = tmp_path / "cut.caffemodel"
        path.write_bytes(whole[:length])
        if length == between:  # a whole message with fewer layers
            assert list(read_caffemodel(path)) == ["first"]
            continue
        with pytest.raises(WeightsError):
            read_caffemodel(path)


def test_random_bytes_raise_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = bytearray(_net(first=np.ones(30, np.float32)).SerializeToString())
    path = tmp_path / "damaged.caffemodel"
    for _ in range(500):
        damaged = bytearray(whole)
        for position in rng.integers(0, 40, size=3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(WeightsError):
            read_caffemodel(path)
