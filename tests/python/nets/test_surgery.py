"""Conversions of weights, each shown to be the same function by real Caffe."""

from pathlib import Path

import caffe
import numpy as np
import pytest
import skimage.data
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from autocolor.nets.surgery import (
    HEADS,
    convert_names,
    fully_connected_as,
    net_shapes,
    read_net,
    transplant,
)
from autocolor.nets.vgg16 import vgg16_gray_features
from autocolor.nets.weights_io import WeightsError, write_weights
from autocolor.runtime.vgg16_gray import VGG16_MEAN_BGR, to_grey_input

INPUT = """layer {{ name: "data" type: "Input" top: "data"
    input_param {{ shape {{ dim: 1 dim: {} dim: {} dim: {} }} }} }}
"""
CONVOLUTION = """layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
    convolution_param {{ num_output: {outputs} kernel_h: {height} kernel_w: {width} pad: {pad} }} }}
"""
RELU = 'layer {{ name: "relu_{0}" type: "ReLU" bottom: "{0}" top: "{0}" }}\n'
INNER_PRODUCT = """layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
    inner_product_param {{ num_output: {outputs} }} }}
"""


def random_blobs(rng, *shape):
    return (
        rng.normal(size=shape).astype(np.float32),
        rng.normal(size=shape[0]).astype(np.float32),
    )


def run(folder, text, weights, image):
    """Output of the net's last layer in Caffe."""
    (folder / "net.prototxt").write_text(text)
    write_weights(folder / "net.caffemodel", weights, "net")
    net = caffe.Net(str(folder / "net.prototxt"), str(folder / "net.caffemodel"), caffe.TEST)
    net.blobs["data"].data[...] = image
    return next(reversed(net.forward().values())).copy()


def test_grey_input_equals_the_rgb_net_on_a_grey_photo(tmp_path):
    rng = np.random.default_rng(0)
    grey = (skimage.data.camera()[100:140, 200:250] / 255).astype(np.float32)
    bgr = 255 * grey - np.asarray(VGG16_MEAN_BGR, np.float32)[:, None, None]
    weights = {"conv1_1": random_blobs(rng, 8, 3, 3, 3), "conv1_2": random_blobs(rng, 4, 8, 3, 3)}
    kernel = dict(height=3, width=3, pad=1)
    layers = (
        CONVOLUTION.format(name="conv1_1", bottom="data", outputs=8, **kernel)
        + RELU.format("conv1_1")
        + CONVOLUTION.format(name="conv1_2", bottom="conv1_1", outputs=4, **kernel)
    )
    expected = run(tmp_path, INPUT.format(3, 40, 50) + layers, weights, bgr)
    weights["conv1_1"] = to_grey_input(*weights["conv1_1"])
    assert weights["conv1_1"][0].shape == (8, 1, 3, 3)
    found = run(tmp_path, INPUT.format(1, 40, 50) + layers, weights, grey)
    # The paddings differ: two convolutions away from the border the nets are the same. Sums of
    # 27 and 72 products in float32 round to about 1e-6 of the largest term.
    inside = np.s_[:, :, 2:-2, 2:-2]
    np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=1e-5 * expected.max())
    assert expected[inside].std() > 100
    with pytest.raises(WeightsError, match="expected a weight"):
        to_grey_input(*weights["conv1_1"])


@pytest.mark.parametrize(("name", "channels", "side"), [("fc6", 6, 7), ("fc7", 9, 1)])
def test_inner_products_and_convolutions_are_the_same_in_caffe(name, channels, side, tmp_path):
    rng = np.random.default_rng(1)
    image = rng.normal(size=(channels, side, side))
    flat = {name: random_blobs(rng, 10, channels * side**2)}
    text = INPUT.format(channels, side, side)
    inner_product = INNER_PRODUCT.format(name=name, bottom="data", outputs=10)
    expected = run(tmp_path, text + inner_product, flat, image)
    convolved = fully_connected_as(flat, "conv")
    assert convolved[name][0].shape == (10, channels, side, side)
    convolution = CONVOLUTION.format(
        name=name, bottom="data", outputs=10, height=side, width=side, pad=0
    )
    found = run(tmp_path, text + convolution, convolved, image)
    # The same products; BLAS may add them in another order.
    np.testing.assert_allclose(found.ravel(), expected.ravel(), rtol=0, atol=1e-4)


def test_fully_connected_layers_of_vgg16_change_layout_exactly():
    rng = np.random.default_rng(2)
    flat = {
        "conv5_3": random_blobs(rng, 4, 4, 3, 3),
        "fc6": random_blobs(rng, 8, 4 * 49),
        "fc7": random_blobs(rng, 8, 8),
        "fc8": random_blobs(rng, 10, 8),
    }
    convolutions = fully_connected_as(flat, "conv")
    shapes = [blobs[0].shape for blobs in convolutions.values()]
    assert shapes == [(4, 4, 3, 3), (8, 4, 7, 7), (8, 8, 1, 1), (10, 8, 1, 1)]
    assert fully_connected_as(convolutions, "conv").keys() == flat.keys()
    back = fully_connected_as(convolutions, "inner-product")
    for name, blobs in flat.items():
        for array, blob in zip(back[name], blobs, strict=True):
            np.testing.assert_array_equal(array, blob, strict=True)
    with pytest.raises(WeightsError, match="fc6: expected inputs a multiple of 7x7"):
        fully_connected_as({"fc6": random_blobs(rng, 8, 50)}, "conv")
    with pytest.raises(WeightsError, match="fc7: expected a weight of 2 or 4 axes"):
        fully_connected_as({"fc7": random_blobs(rng, 8)}, "conv")


def release(flat=False, names="release"):
    """Names and shapes of the authors' release at full size, without memory for the values."""
    shapes = {}
    channels = 1
    for layer in vgg16_gray_features().layer:
        if layer.type == "Convolution":
            shapes[layer.name] = (layer.convolution_param.num_output, channels, 3, 3)
            channels = layer.convolution_param.num_output
    shapes["fc6"] = (4096, 25088) if flat else (4096, 512, 7, 7)
    shapes["fc7"] = (4096, 4096) if flat else (4096, 4096, 1, 1)
    ones = () if flat or names != "release" else (1, 1)
    head = ((1024, 12417), (32, 1024), (32, 1024))
    shapes |= {name: shape + ones for name, shape in zip(HEADS[names], head, strict=True)}
    value = np.float32(0.5)
    return {
        name: (np.broadcast_to(value, shape), np.broadcast_to(value, shape[:1]))
        for name, shape in shapes.items()
    }


def shapes_of(weights):
    return {name: tuple(blob.shape for blob in blobs) for name, blobs in weights.items()}


@pytest.mark.parametrize("source", [release(), release(flat=True), release(names="release-train")])
def test_the_authors_release_converts_at_full_size(source):
    assert sum(blob.size for blobs in source.values() for blob in blobs) == 147_041_024
    convolutions = fully_connected_as(source, "conv")
    ours = shapes_of(convert_names(convolutions, "ours", 2))
    assert ours["fc6"] == ((4096, 512, 7, 7), (4096,))
    assert ours["fc7"] == ((4096, 4096, 1, 1), (4096,))
    assert ours["h_fc1"] == ((1024, 12417), (1024,))
    assert ours["prediction_c"] == ((32, 1024), (32,))
    # And from ours, into each of the forms that circulate.
    assert shapes_of(convert_names(convolutions, "release", 4)) == shapes_of(release())
    flat = fully_connected_as(source, "inner-product")
    assert shapes_of(convert_names(flat, "release", 2)) == shapes_of(release(flat=True))
    training = convert_names(convolutions, "release-train", 2)
    assert shapes_of(training) == shapes_of(release(names="release-train"))


def test_names_that_do_not_fit_are_refused():
    rng = np.random.default_rng(3)
    with pytest.raises(WeightsError, match="expected a head"):
        convert_names({"conv1_1": random_blobs(rng, 2, 1, 3, 3)}, "ours", 2)
    both = {"h_fc1": random_blobs(rng, 2, 3), "colorize_fc1": random_blobs(rng, 2, 3)}
    with pytest.raises(WeightsError, match="layer colorize_fc1: there is another"):
        convert_names(both, "ours", 2)
    with pytest.raises(WeightsError, match="layer h_fc1: expected"):
        convert_names({"h_fc1": random_blobs(rng, 2, 3, 3, 3)}, "ours", 2)


def test_transplant_reshapes_renames_and_lists():
    rng = np.random.default_rng(4)
    weights = {
        "old": random_blobs(rng, 4, 1, 3, 3),
        "fc6": random_blobs(rng, 8, 4 * 49),
        "fc7": random_blobs(rng, 8, 9),
        "wide": random_blobs(rng, 4, 9, 1, 1),
        "no_bias": random_blobs(rng, 4, 4)[:1],
        "fc8": random_blobs(rng, 10, 8),
    }
    shapes = {
        "conv": ((4, 1, 3, 3), (4,)),
        "fc6": ((8, 4, 7, 7), (8,)),
        "fc7": ((8, 8, 1, 1), (8,)),
        "wide": ((4, 1, 3, 3), (4,)),
        "no_bias": ((4, 4), (4,)),
        "head": ((2, 8), (2,)),
    }
    result = transplant(weights, shapes, {"old": "conv"})
    assert list(result.weights) == ["conv", "fc6"]
    np.testing.assert_array_equal(result.weights["fc6"][0], weights["fc6"][0].reshape(8, 4, 7, 7))
    assert result.unknown == ["fc8"]
    assert result.missing == ["head"]
    assert [line.split(":")[0] for line in result.misshapen] == ["fc7", "wide", "no_bias"]
    with pytest.raises(WeightsError) as error:
        result.check(Path("w.h5"))
    assert "w.h5: head is missing" in str(error.value)
    assert "fc7: expected (8, 8, 1, 1), (8,), got (8, 9), (8,)" in str(error.value)
    with pytest.raises(WeightsError, match="to rename, but not there: none"):
        transplant(weights, shapes, {"none": "conv"})
    with pytest.raises(WeightsError, match="layer fc6: there is another that is to be fc6"):
        transplant(weights, shapes, {"old": "fc6"})


def test_shapes_are_caffes_own(tmp_path):
    shapes = net_shapes(vgg16_gray_features())
    assert list(shapes)[::12] == ["conv1_1", "conv5_3"]
    assert shapes["conv1_1"] == ((64, 1, 3, 3), (64,))
    text = INPUT.format(3, 8, 9) + INNER_PRODUCT.format(name="fc", bottom="data", outputs=5)
    assert net_shapes(text_format.Parse(text, caffe_pb2.NetParameter())) == {"fc": ((5, 216), (5,))}
    (tmp_path / "bad.prototxt").write_text("layer { name: 3")
    with pytest.raises(WeightsError, match="bad.prototxt: expected a prototxt of this Caffe"):
        read_net(tmp_path / "bad.prototxt")
    refused = caffe_pb2.NetParameter(name="bad")
    refused.layer.add(name="a", type="Nonsense", top=["a"])
    with pytest.raises(WeightsError, match="net 'bad': Caffe refuses it: .*Nonsense") as error:
        net_shapes(refused)
    assert "\n" not in str(error.value)
    refused.layer[0].type = "Data"
    with pytest.raises(WeightsError, match="layer a: type Data reads files"):
        net_shapes(refused)
