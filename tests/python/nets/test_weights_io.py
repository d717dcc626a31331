"""Reading and writing weights: every kind of file, real Caffe as the judge, and hostile files."""

import io
import os
import struct
import zipfile
from pathlib import Path

import caffe
import h5py
import numpy as np
import onnx
import pytest
from caffe.proto import caffe_pb2
from onnx import helper, numpy_helper

from autocolor.core.errors import AutocolorError
from autocolor.nets.surgery import read_net
from autocolor.nets.weights_io import WeightsError, read_weights, write_weights
from autocolor.runtime.caffemodel import read_caffemodel
from autocolor.runtime.vgg16_gray import read_vgg16_onnx
from autocolor.training.solver_files import read_solver

NET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "one" type: "Convolution" bottom: "conv" top: "one"
        convolution_param { num_output: 1 kernel_size: 2 bias_term: false } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param { num_output: 5 } }
"""
SHAPES = {"conv": [(2, 3, 3, 3), (2,)], "one": [(1, 2, 2, 2)], "fc": [(5, 8), (5,)]}


def example():
    rng = np.random.default_rng(0)
    return {
        name: tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)
        for name, shapes in SHAPES.items()
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, blobs in expected.items():
        assert len(found[name]) == len(blobs)
        for array, blob in zip(found[name], blobs, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, blob, strict=True, err_msg=name)


def caffe_reads(folder, path):
    (folder / "net.prototxt").write_text(NET)
    net = caffe.Net(str(folder / "net.prototxt"), caffe.TEST)
    net.copy_from(str(path))
    found = {name: tuple(blob.data.copy() for blob in blobs) for name, blobs in net.params.items()}
    return {name: blobs for name, blobs in found.items() if blobs}, net


@pytest.mark.parametrize("name", ["w.caffemodel", "w.caffemodel.h5"])
def test_caffe_reads_what_we_write_and_we_read_what_caffe_writes(name, tmp_path):
    write_weights(tmp_path / name, example(), "net")
    assert_equal(read_weights(tmp_path / name), example())
    found, net = caffe_reads(tmp_path, tmp_path / name)
    assert_equal(found, example())
    saved = tmp_path / f"saved_{name}"
    if name.endswith("h5"):
        net.save_hdf5(str(saved))
        with h5py.File(saved) as file:
            assert "relu" in file["data"]  # Caffe's empty group is no layer with weights
    else:
        net.save(str(saved))
    assert_equal(read_weights(saved), example())
    assert not list(tmp_path.glob(".*partial*"))


def legacy(blob, array):
    """Four axes, as every blob had them in 2014."""
    blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    blob.data.extend(array.ravel().tolist())


@pytest.mark.parametrize("form", ["layers", "layers.layer"])
def test_models_of_2014_are_read_as_caffe_reads_them(form, tmp_path):
    kinds = {"conv": (4, "conv"), "one": (4, "conv"), "fc": (14, "innerproduct")}
    net = caffe_pb2.NetParameter(name="old", input=["data"], input_dim=[1, 3, 4, 4])
    for name, blobs in example().items():
        if form == "layers":
            layer = net.layers.add(name=name, type=kinds[name][0], bottom=["data"], top=[name])
        else:
            layer = net.layers.add(bottom=["data"], top=[name]).layer
            layer.name, layer.type = name, kinds[name][1]
        for array in blobs:
            legacy(layer.blobs.add(), array)
    path = tmp_path / "old.caffemodel"
    path.write_bytes(net.SerializeToString())
    assert_equal(read_weights(path), example())
    assert_equal(caffe_reads(tmp_path, path)[0], example())


def test_double_blobs_and_small_maps(tmp_path):
    net = caffe_pb2.NetParameter()
    layer = net.layer.add(name="a", type="Convolution")
    layer.blobs.add(double_data=[1 / 3, 2]).shape.dim.extend((2, 1, 1, 1))
    # A 1x1 output of a 1-channel convolution has the axes of an old inner product, but is none.
    legacy(net.layers.add(name="b", type=4).blobs.add(), np.ones((1, 1, 3, 2), np.float32))
    (tmp_path / "d.caffemodel").write_bytes(net.SerializeToString())
    found = read_weights(tmp_path / "d.caffemodel")
    np.testing.assert_array_equal(found["a"][0].ravel(), np.array([1 / 3, 2], np.float32))
    assert found["b"][0].shape == (1, 1, 3, 2)


def test_numpy_archive(tmp_path):
    weights = example()
    arrays = {
        f"{layer}/{name}": array.astype(float)
        for layer, blobs in weights.items()
        for name, array in zip(("weight", "bias"), blobs, strict=False)
    }
    np.savez_compressed(tmp_path / "w.npz", **arrays)
    # The content decides, not the name.
    (tmp_path / "w.npz").rename(tmp_path / "w.caffemodel")
    assert_equal(read_weights(tmp_path / "w.caffemodel"), weights)


def vgg16_onnx(names):
    tensors = [
        numpy_helper.from_array(np.full(3, i, np.float32), name) for i, name in enumerate(names)
    ]
    graph = helper.make_graph([], "g", [], [], initializer=tensors)
    return helper.make_model(graph).SerializeToString()


def test_onnx_reader_finds_the_layers_and_names_what_is_missing(tmp_path):
    prefix = "functional_1/block1_conv1_1/"
    content = vgg16_onnx([prefix + "convolution/ReadVariableOp:0", prefix + "Squeeze:0"])
    (tmp_path / "model").write_bytes(content)
    for read in (read_vgg16_onnx(content), read_weights(tmp_path / "model")):
        assert [blob.tolist() for blob in read["conv1_1"]] == [[0, 0, 0], [1, 1, 1]]
    (tmp_path / "model").write_bytes(vgg16_onnx([prefix + "Squeeze:0"]))
    with pytest.raises(WeightsError, match="model: .*conv1_1"):
        read_weights(tmp_path / "model")
    with pytest.raises(WeightsError, match="ONNX"):
        read_vgg16_onnx(b"\xff\xff not a model")
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), prefix + "Squeeze:0")
    tensor.dims[0] = 2**40
    model = onnx.load_model_from_string(content)
    model.graph.initializer[1].CopyFrom(tensor)
    with pytest.raises(WeightsError, match="layer conv1_1"):
        read_vgg16_onnx(model.SerializeToString())


def hdf5(build):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        build(file)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def caffemodel(shape, values, count=1):
    net = caffe_pb2.NetParameter()
    for _ in range(count):
        net.layer.add(name="fc6").blobs.add(data=values).shape.dim.extend(shape)
    return net.SerializeToString()


def huge_array():
    """Archive of an array that says it has 2^60 values."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,), }"
    header += b" " * (117 - len(header)) + b"\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("fc6/weight.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header)
    return stream.getvalue()


def deep_zip():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("fc6/weight", "text")
    return stream.getvalue()


FULL = hdf5(lambda file: file.create_dataset("data/fc6/0", data=np.zeros((64, 64))))
HOSTILE = {
    "empty": (b"", "empty file"),
    "text": (b"<!DOCTYPE html><title>404</title>", "expected a binary Caffe model"),
    "garbage": (b"\xff" * 50, "expected a binary Caffe model"),
    "truncated_protobuf": (caffemodel((2, 2), [1, 2, 3, 4])[:-3], "expected a binary Caffe model"),
    "too_few_values": (caffemodel((2, 2), [1, 2, 3]), r"layer fc6: 3 values for .* \(2, 2\)"),
    "negative_shape": (caffemodel((-2, -2), [1, 2, 3, 4]), "layer fc6: 4 values for the shape"),
    "overflowing_shape": (caffemodel((2**62, 4), []), "layer fc6: 0 values"),
    "twice": (caffemodel((1,), [1], count=2), "layer fc6: appears twice"),
    "solverstate": (b"\x08\x03", "lacking"),
    "hdf5_truncated": (FULL[: len(FULL) // 2], "the file cannot be read"),
    "hdf5_magic_only": (b"\x89HDF\r\n\x1a\n" + b"\0" * 600, "cannot be read"),
    "hdf5_no_group": (hdf5(lambda file: file.create_group("weights")), "group /data"),
    "hdf5_array": (hdf5(lambda file: file.create_dataset("data", data=[1.0])), "group /data"),
    "hdf5_layer_is_array": (
        hdf5(lambda file: file.create_dataset("data/fc6", data=[1.0])),
        "layer fc6: expected a group",
    ),
    "hdf5_no_weight": (
        hdf5(lambda file: file.create_dataset("data/fc6/1", data=[1.0])),
        "layer fc6: expected the datasets 0, got 1",
    ),
    "hdf5_nested": (
        hdf5(lambda file: file.create_group("data/fc6/0")),
        "layer fc6: 0: expected a dataset",
    ),
    "hdf5_text": (
        hdf5(lambda file: file.create_dataset("data/fc6/0", data="text")),
        "layer fc6: expected numbers",
    ),
    "hdf5_nothing": (hdf5(lambda file: file.create_group("data/fc6")), "got none"),
    "hdf5_dangling": (
        hdf5(lambda file: file.require_group("data").__setitem__("fc6", h5py.SoftLink("/no"))),
        "layer fc6: 'fc6' is a link to another place",
    ),
    "hdf5_huge": (
        hdf5(lambda file: file.create_dataset("data/fc6/0", (2**40,), "f4", chunks=(1024,))),
        "layer fc6: shape .* larger",
    ),
    "npz_objects": (npz(**{"fc6/weight": np.array([{}])}), "fc6/weight.*Object arrays"),
    "npz_names": (npz(fc6=np.zeros(3)), "fc6: expected arrays <layer>/weight"),
    "npz_no_weight": (npz(**{"fc6/bias": np.zeros(3)}), "fc6/weight is missing"),
    "npz_text": (npz(**{"fc6/weight": np.array(["a"])}), "fc6/weight: expected numbers"),
    "npz_no_array": (deep_zip(), "fc6/weight: expected an array"),
    "npz_truncated": (npz(**{"fc6/weight": np.zeros(999)})[:500], "cannot be read"),
    "npz_huge": (huge_array(), "fc6/weight"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_get_one_line_that_names_file_and_layer(case, tmp_path):
    content, message = HOSTILE[case]
    path = tmp_path / f"{case}.bin"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as error:
        read_weights(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_every_truncation_and_flipped_byte_ends_well(tmp_path):
    """Either weights or a WeightsError, never another exception."""
    contents = []
    for name in ("w.caffemodel", "w.caffemodel.h5"):
        write_weights(tmp_path / name, example(), "net")
        contents.append((tmp_path / name).read_bytes())
    contents.append(npz(**{"fc6/weight": np.zeros((2, 3))}))
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged"
    errors = 0
    for content in contents:
        for position in rng.integers(0, min(len(content), 3000), 150):
            flipped = bytearray(content)
            flipped[position] ^= 1 << int(rng.integers(8))
            for damaged in (content[:position], bytes(flipped)):
                path.write_bytes(damaged)
                try:
                    read_weights(path)
                except WeightsError:
                    errors += 1
    assert errors > 300


def test_what_cannot_be_written_is_refused(tmp_path):
    kept = tmp_path / "w.h5"
    kept.write_bytes(b"old")
    with pytest.raises(WeightsError, match="inception/1x1"):
        write_weights(kept, {"inception/1x1": example()["conv"]}, "net")
    assert kept.read_bytes() == b"old"
    with pytest.raises(WeightsError, match="w.txt: expected a name ending"):
        write_weights(tmp_path / "w.txt", example(), "net")
    large = np.broadcast_to(np.float32(0), (2**15, 2**15))
    with pytest.raises(WeightsError, match="2 GiB"):
        write_weights(tmp_path / "w.caffemodel", {"fc": (large,)}, "net")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.h5"]


def test_arrays_that_are_not_stored_are_bounded(tmp_path):
    """A fill value stands for any number of values: a file of kilobytes may ask for any memory."""
    path = tmp_path / "hollow.h5"
    with h5py.File(path, "w") as file:
        for index in range(3):
            file.create_dataset(f"data/fc{index}/0", (11, 10**7), "f4", fillvalue=0.5)
            file.create_dataset(f"data/fc{index}/1", (11,), "f4")
    assert path.stat().st_size < 20_000
    with pytest.raises(
        WeightsError, match=r"hollow.h5: 1,320,000,0\d\d bytes of weights are stored"
    ):
        read_weights(path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """Opening one would wait for ever."""
    pipe = tmp_path / "w"
    os.mkfifo(pipe)
    for read in (
        read_weights,
        read_net,
        read_caffemodel,
        read_solver,
    ):
        with pytest.raises((AutocolorError, OSError), match="expected a file, got a named pipe"):
            read(pipe)
