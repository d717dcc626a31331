"""The networks, the checked-in prototxt files, and dense against sparse inference."""

from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from autocolor.networks import (
    EdgeTrainingOptions,
    TrainingOptions,
    deploy_net,
    edge_training_net,
    hypercolumn_levels,
    training_net,
)
from autocolor.prototxt import MODEL_NAMES, default_options, model_files
from autocolor.surgery import read_caffemodel, write_caffemodel

ROOT = Path(__file__).resolve().parents[2]


def test_levels_are_those_of_the_paper():
    levels = hypercolumn_levels()
    assert [level.name for level in levels][:3] == ["data", "conv1_1", "conv1_2"]
    assert [level.scale for level in levels] == [1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 16, 16, 16]
    assert all(level.offset == (level.scale - 1) / 2 for level in levels)
    assert sum(level.channels for level in levels) == 4225


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_checked_in_prototxt_is_what_the_code_describes(model):
    for name, text in model_files(*default_options(model)).items():
        assert (ROOT / "prototxt" / model / name).read_text() == text


def test_checked_in_models_are_the_known_ones():
    assert sorted(path.name for path in (ROOT / "prototxt").iterdir()) == sorted(MODEL_NAMES)
    with pytest.raises(ValueError, match="name: expected one of .* got 'nonsense'"):
        default_options("nonsense")


@pytest.mark.parametrize(
    "net",
    [
        training_net(TrainingOptions("x", frozen=True, hypercolumn_dropout=0.5), "train"),
        edge_training_net(EdgeTrainingOptions("x"), "train"),
    ],
)
def test_names_are_unique_and_frozen_layers_do_not_learn(net):
    names = [layer.name for layer in net.layer]
    assert len(set(names)) == len(names)
    for layer in net.layer:
        if layer.type == "Convolution":
            assert [param.lr_mult for param in layer.param] == [0, 0]


def make_net(path, net, weights=None):
    path.write_text(text_format.MessageToString(net))
    caffe.set_mode_cpu()
    return caffe.Net(str(path), caffe.TEST, **({"weights": str(weights)} if weights else {}))


def test_sparse_training_weights_serve_dense_inference(tmp_path):
    """One caffemodel, the same logits at the same pixels, at the image's border too."""
    side, stride = 64, 4
    train = training_net(TrainingOptions("x", batch=1, crop=side), "test")
    keep = {"SparseHypercolumn", "InnerProduct", "Convolution", "ReLU", "Pooling"}
    sparse = caffe_pb2.NetParameter(name="sparse")
    for name, shape in (("data", (1, 1, side, side)), ("locations", (1, 256, 2))):
        layer = sparse.layer.add(name=name, type="Input")
        layer.top.append(name)
        layer.input_param.shape.add().dim.extend(shape)
    sparse.layer.extend(
        layer for layer in train.layer if layer.type in keep and layer.name != "chroma_weight"
    )
    caffe.set_random_seed(1)
    net = make_net(tmp_path / "sparse.prototxt", sparse)
    weights = tmp_path / "weights.caffemodel"
    net.save(str(weights))

    rng = np.random.default_rng(0)
    image = rng.random((1, 1, side, side), dtype=np.float32)
    grid = np.arange(side // stride) * stride + (stride - 1) / 2
    net.blobs["data"].data[...] = image
    net.blobs["locations"].data[0] = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(
        -1, 2
    )
    net.forward()
    dense = make_net(tmp_path / "dense.prototxt", deploy_net(stride), weights)
    dense.blobs["data"].reshape(1, 1, side, side)
    dense.blobs["data"].data[...] = image
    dense.forward()
    for head in ("prediction_h", "prediction_c"):
        expected = net.blobs[head].data.T.reshape(1, 32, side // stride, side // stride)
        # 4,225 products in another order, in float.
        np.testing.assert_allclose(
            dense.blobs[head].data, expected, atol=1e-4 * np.abs(expected).max()
        )
    assert np.allclose(dense.blobs["hue"].data.sum(axis=1), 1, atol=1e-5)


def test_hdf5_weights_really_load(tmp_path):
    text = """layer { name: "data" type: "Input" top: "data"
                      input_param { shape { dim: 1 dim: 3 } } }
              layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
                      inner_product_param { num_output: 2 } }"""
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    net = caffe.Net(str(path), caffe.TEST)
    net.params["fc"][0].data[...] = [[1, 2, 3], [4, 5, 6]]
    net.save_hdf5(str(tmp_path / "weights.caffemodel.h5"))
    loaded = caffe.Net(str(path), str(tmp_path / "weights.caffemodel.h5"), caffe.TEST)
    assert loaded.params["fc"][0].data.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_caffemodel_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    weights = {
        "conv": (rng.random((2, 1, 3, 3), np.float32), rng.random(2, np.float32)),
        "fc": (rng.random((4, 5), np.float32),),
    }
    write_caffemodel(tmp_path / "w.caffemodel", weights, "net")
    read = read_caffemodel(tmp_path / "w.caffemodel")
    assert read.keys() == weights.keys()
    for name, blobs in weights.items():
        for expected, blob in zip(blobs, read[name], strict=True):
            np.testing.assert_array_equal(blob, expected)
