"""Conversion of VGG-16 and re-balancing, on real Caffe and small nets."""

import caffe
import numpy as np
import onnx
import pytest
import skimage.data
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from onnx import helper, numpy_helper

from autocolor.rebalance import chain_of_convolutions, rebalance, second_moments
from autocolor.surgery import (
    VGG16_MEAN_BGR,
    WeightsError,
    check_shapes,
    read_caffemodel,
    read_vgg16_onnx,
    to_grey_input,
    write_caffemodel,
)
from autocolor.vgg16 import vgg16_gray_features

CHAIN = """
name: "chain"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 8 dim: 8 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "pool" type: "Pooling" bottom: "a" top: "pool"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "b" type: "Convolution" bottom: "pool" top: "b"
        convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
layer { name: "relu_b" type: "ReLU" bottom: "b" top: "b" }
"""


def chain():
    return text_format.Parse(CHAIN, caffe_pb2.NetParameter())


def chain_weights():
    rng = np.random.default_rng(0)
    shapes = {"a": (4, 1, 3, 3), "b": (3, 4, 3, 3)}
    return {
        name: (100 * rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[0]).astype(np.float32))
        for name, shape in shapes.items()
    }


def test_grey_input_equals_the_rgb_net_inside_a_real_photo():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 3, 3, 3)).astype(np.float32)
    bias = rng.normal(size=6).astype(np.float32)
    grey = (skimage.data.camera()[:40, :50] / 255).astype(np.float64)
    # The original net on the grey image in three channels, by shifted sums.
    bgr = 255 * grey[None] - np.asarray(VGG16_MEAN_BGR)[:, None, None]

    def convolve(image, kernel):  # valid positions only
        return sum(
            np.einsum("oi,ihw->ohw", kernel[:, :, y, x], image[:, y : y + 38, x : x + 48])
            for y in range(3)
            for x in range(3)
        )

    expected = convolve(bgr, weight.astype(float)) + bias[:, None, None]
    new_weight, new_bias = to_grey_input(weight, bias)
    assert new_weight.shape == (6, 1, 3, 3)
    found = convolve(grey[None], new_weight.astype(float)) + new_bias[:, None, None].astype(float)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(bgr).max() * 27)
    with pytest.raises(WeightsError, match="expected a weight"):
        to_grey_input(new_weight, bias)


def test_onnx_reader_finds_the_layers_and_names_what_is_missing():
    def model(names):
        tensors = [
            numpy_helper.from_array(np.full(3, i, np.float32), name) for i, name in enumerate(names)
        ]
        graph = helper.make_graph([], "g", [], [], initializer=tensors)
        return helper.make_model(graph).SerializeToString()

    prefix = "functional_1/block1_conv1_1/"
    read = read_vgg16_onnx(model([prefix + "convolution/ReadVariableOp:0", prefix + "Squeeze:0"]))
    assert [blob.tolist() for blob in read["conv1_1"]] == [[0, 0, 0], [1, 1, 1]]
    with pytest.raises(WeightsError, match="conv1_1"):
        read_vgg16_onnx(model([prefix + "Squeeze:0"]))
    with pytest.raises(WeightsError, match="ONNX"):
        read_vgg16_onnx(b"\xff\xff not a model")
    assert onnx.__version__


def test_every_missing_or_misshapen_layer_is_listed():
    with pytest.raises(WeightsError) as error:
        check_shapes({"conv1_1": (np.zeros((64, 3, 3, 3), np.float32),)}, vgg16_gray_features())
    assert "conv1_1: expected (64, 1, 3, 3), got (64, 3, 3, 3)" in str(error.value)
    assert "conv5_3 is missing" in str(error.value)


def test_rebalancing_gives_unit_moments_and_scales_the_output():
    rng = np.random.default_rng(1)
    images = [rng.random((16, 12), np.float32) for _ in range(3)]
    weights = chain_weights()
    before = second_moments(chain(), weights, images)
    balanced = rebalance(chain(), weights, before)
    after = second_moments(chain(), balanced, images)
    for name, moment in after.items():
        assert moment == pytest.approx(1, rel=1e-4), name
    # Eq. 7 literally: a is scaled by m_a, b by m_b / m_a, biases by their own m.
    m_a, m_b = before["a"] ** -0.5, before["b"] ** -0.5
    np.testing.assert_allclose(balanced["b"][0], weights["b"][0] * m_b / m_a, rtol=1e-6)
    np.testing.assert_allclose(balanced["b"][1], weights["b"][1] * m_b, rtol=1e-6)


def test_layers_that_are_not_homogeneous_are_refused_by_name():
    net = chain()
    net.layer.add(name="squash", type="Sigmoid", bottom=["b"], top=["squash"])
    with pytest.raises(WeightsError, match="squash.*Sigmoid"):
        chain_of_convolutions(net)
    with pytest.raises(WeightsError, match="layer a"):
        rebalance(chain(), {}, {"a": 1.0, "b": 1.0})
    with pytest.raises(WeightsError, match="at least one image"):
        second_moments(chain(), chain_weights(), [])


def test_bad_caffemodels_are_refused(tmp_path):
    path = tmp_path / "w.caffemodel"
    for content in (b"", b"\xff" * 50):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="w.caffemodel"):
            read_caffemodel(path)


def test_a_caffemodel_of_ours_loads_into_caffe(tmp_path):
    (tmp_path / "chain.prototxt").write_text(CHAIN)
    weights = chain_weights()
    write_caffemodel(tmp_path / "chain.caffemodel", weights, "chain")
    net = caffe.Net(str(tmp_path / "chain.prototxt"), str(tmp_path / "chain.caffemodel"), caffe.TEST)
    np.testing.assert_array_equal(net.params["b"][0].data, weights["b"][0])


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
