"""Re-balancing: Eq. 7 literally, and on graphs of every kind the same output by real Caffe."""

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from autocolor.nets.rebalance import balanced_layers, cross_validate, measure, rebalance
from autocolor.nets.surgery import net_shapes
from autocolor.nets.weights_io import WeightsError, write_weights

DATA = """
name: "net"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 1 dim: 16 dim: 12 } } }
"""


def layer(name, kind, *bottoms, top=None, **parameters):
    """One layer of a prototxt; in place if its top is its bottom."""
    text = " ".join(f"{key} {{ {value} }}" for key, value in parameters.items())
    inputs = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}" {inputs} top: "{top or name}" {text} }}\n'


def convolution(name, bottom, outputs, kernel=3, pad=1, extra=""):
    text = f"num_output: {outputs} kernel_size: {kernel} pad: {pad} {extra}"
    return layer(name, "Convolution", bottom, convolution_param=text)


def relu(name):
    return layer(f"relu_{name}", "ReLU", name, top=name)


def parse(text):
    return text_format.Parse(text, caffe_pb2.NetParameter())


def random_weights(net, seed=0):
    """Weights whose activations grow from layer to layer, as VGG-16's do."""
    rng = np.random.default_rng(seed)
    return {
        name: tuple(3 * rng.normal(size=shape).astype(np.float32) for shape in shapes)
        for name, shapes in net_shapes(net).items()
    }


def images():
    rng = np.random.default_rng(1)
    return [rng.random((16, 12), np.float32) for _ in range(3)]


def second_moments(*arguments, **options):
    return measure(*arguments, **options).second_moments()


def forward(folder, net, weights, image):
    """All blobs of the net in Caffe."""
    (folder / "net.prototxt").write_text(text_format.MessageToString(net))
    write_weights(folder / "net.caffemodel", weights, "net")
    runner = caffe.Net(str(folder / "net.prototxt"), str(folder / "net.caffemodel"), caffe.TEST)
    runner.blobs["data"].data[...] = image
    if "locations" in runner.blobs:
        runner.blobs["locations"].data[...] = np.random.default_rng(2).random((7, 2)) * (15, 11)
    runner.forward()
    return {name: blob.data.copy() for name, blob in runner.blobs.items()}


POOL = "pool: MAX kernel_size: 2 stride: 2"
CHAIN = (
    DATA
    + convolution("a", "data", 4)
    + relu("a")
    + layer("pool", "Pooling", "a", pooling_param=POOL)
    + convolution("b", "pool", 3)
    + relu("b")
)
# a is read by three layers, c's ReLU is not in place, d reads two branches of different scale.
GRAPH = (
    DATA
    + convolution("a", "data", 4)
    + relu("a")
    + layer("pool", "Pooling", "a", pooling_param=POOL)
    + layer("drop", "Dropout", "pool", top="pool")
    + convolution("b", "pool", 3)
    + relu("b")
    + convolution("c", "a", 2, kernel=2, pad=0, extra="stride: 2 bias_term: false")
    + layer("rectified", "ReLU", "c")
    + layer("both", "Concat", "b", "rectified")
    + convolution("d", "both", 6)
    + relu("d")
    + layer("split", "Split", "d")
    + convolution("fc6", "split", 5, kernel=7, pad=3)
    + relu("fc6")
    + convolution("fc7", "fc6", 4, kernel=1, pad=0)
    + relu("fc7")
)
LEVELS = ("data", "a", "b", "split", "fc6", "fc7")
SCALES = "scale: 1 " * 2 + "scale: 2 " * 4
DENSE = GRAPH + (
    layer(
        "h_fc1",
        "HypercolumnInnerProduct",
        *LEVELS,
        hypercolumn_inner_product_param="num_output: 9 stride: 2 " + SCALES,
    )
    + relu("h_fc1")
    + layer(
        "prediction",
        "HypercolumnInnerProduct",
        "h_fc1",
        hypercolumn_inner_product_param="num_output: 3",
    )
    + layer("hue", "Softmax", "prediction")
)
SPARSE = GRAPH + (
    'layer { name: "locations" type: "Input" top: "locations" '
    "input_param { shape { dim: 1 dim: 7 dim: 2 } } }\n"
    + layer(
        "hypercolumn",
        "SparseHypercolumn",
        "locations",
        *LEVELS,
        sparse_hypercolumn_param=SCALES + "activation_mult: 2",
    )
    + layer("dropped", "Dropout", "hypercolumn", top="hypercolumn")
    + layer("h_fc1", "InnerProduct", "hypercolumn", inner_product_param="num_output: 9")
    + relu("h_fc1")
    + layer("prediction", "InnerProduct", "h_fc1", inner_product_param="num_output: 3")
    + layer("hue", "Sigmoid", "prediction")
)
# A classifier, whose inner products read flattened maps: one of them of two branches.
CLASSIFIER = GRAPH + (
    convolution("e", "fc6", 2)
    + layer("mixed", "Concat", "fc7", "e")
    + layer("flat", "Flatten", "mixed")
    + layer("fc", "InnerProduct", "flat", inner_product_param="num_output: 5")
    + relu("fc")
    + layer("fc8", "InnerProduct", "fc", inner_product_param="num_output: 3")
    + layer("probability", "Softmax", "fc8")
)
# Two poolings of one blob have the same scale: their sum is homogeneous.
SUM = DATA + (
    convolution("a", "data", 4)
    + layer("max", "Pooling", "a", pooling_param=POOL)
    + layer("mean", "Pooling", "a", pooling_param=POOL.replace("MAX", "AVE"))
    + layer("sum", "Eltwise", "max", "mean")
    + convolution("b", "sum", 3)
)
TRUNK = ["a", "b", "c", "d", "fc6", "fc7"]


def test_rebalancing_gives_unit_moments_and_scales_by_equation_7():
    net = parse(CHAIN)
    weights = random_weights(net)
    before = second_moments(net, weights, images())
    moments = {name: moment.value for name, moment in before.items()}
    balanced = rebalance(net, weights, moments)
    for name, moment in second_moments(net, balanced, images()).items():
        assert moment.value == pytest.approx(1, rel=1e-5), name
        relative = before[name].standard_error / before[name].value
        assert moment.standard_error == pytest.approx(relative, rel=1e-3)
    # Eq. 7 literally: a is scaled by m_a, b by m_b / m_a, biases by their own m.
    m_a, m_b = moments["a"] ** -0.5, moments["b"] ** -0.5
    np.testing.assert_allclose(balanced["b"][0], weights["b"][0] * m_b / m_a, rtol=1e-6)
    np.testing.assert_allclose(balanced["b"][1], weights["b"][1] * m_b, rtol=1e-6)


def test_second_moments_are_those_of_the_blobs(tmp_path):
    """Means and the standard error, by hand; image sizes differ."""
    net = parse(CHAIN)
    weights = random_weights(net)
    sizes = [image[:height] for image, height in zip(images(), (16, 8, 12), strict=True)]
    found = second_moments(net, weights, sizes)["b"]
    squares = []
    for image in sizes:
        sized = parse(CHAIN)
        sized.layer[0].input_param.shape[0].dim[2] = len(image)
        squares.append(forward(tmp_path, sized, weights, image)["b"].astype(float).ravel() ** 2)
    mean = np.concatenate(squares).mean()
    assert found.value == pytest.approx(mean, rel=1e-5)
    residuals = [(square - mean).sum() for square in squares]
    error = np.sqrt(3 / 2 * np.square(residuals).sum()) / sum(map(len, squares))
    assert found.standard_error == pytest.approx(error, rel=1e-3)
    assert np.isnan(second_moments(net, weights, sizes[:1])["b"].standard_error)


def test_cross_validation_measures_every_image_in_a_net_that_did_not_use_it():
    """By Eq. 7 a layer's X^2 is then its original one over the mean of the other folds."""
    net = parse(CHAIN)
    weights = random_weights(net)
    rng = np.random.default_rng(2)
    # Photos of different contrast, so that using an image or not makes a difference.
    photos = [scale * rng.random((16, 12), np.float32) for scale in (0.2, 0.5, 1, 2, 4)]
    estimated = measure(net, weights, photos)
    found = cross_validate(
        net,
        weights,
        lambda indices: (photos[index] for index in indices),
        estimated,
        5,
        np.random.default_rng(0),
    )
    assert found.layers == estimated.layers == ("a", "b")
    for image in range(5):
        others = np.delete(np.arange(5), image)
        means = estimated.sums[others].sum(axis=0) / estimated.counts[others].sum(axis=0)
        np.testing.assert_allclose(found.sums[image], estimated.sums[image] / means, rtol=1e-4)
    np.testing.assert_array_equal(found.counts, estimated.counts)
    # The largest image was not used: in the nets balanced without it it is far above 1.
    assert found.second_moments()["b"].value > 2
    for folds in (1, 6):
        with pytest.raises(ValueError, match=f"folds: expected 2 to 5, .*got {folds}"):
            cross_validate(net, weights, lambda i: [], estimated, folds, rng)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (CHAIN, ["a"]),
        (GRAPH, TRUNK[:-1]),
        (DENSE, TRUNK),
        (SPARSE, TRUNK),
        (CLASSIFIER, [*TRUNK, "e", "fc"]),
        (SUM, ["a"]),
    ],
    ids=["chain", "graph", "dense", "sparse", "classifier", "sum"],
)
def test_the_output_is_kept_on_every_kind_of_graph(text, levels, tmp_path):
    net = parse(text)
    weights = random_weights(net)
    moments = second_moments(net, weights, images(), keep_output=True)
    assert list(moments) == levels
    values = {name: moment.value for name, moment in moments.items()}
    assert max(values.values()) > 20 * min(values.values()) or len(levels) == 1
    balanced = rebalance(net, weights, values, keep_output=True)
    after = second_moments(net, balanced, images(), keep_output=True)
    for name, moment in after.items():
        assert moment.value == pytest.approx(1, rel=1e-5), name
    assert balanced.keys() == weights.keys()
    image = np.random.default_rng(3).random((16, 12), np.float32)
    old, new = (forward(tmp_path, net, w, image) for w in (weights, balanced))
    for name, blob in balanced_layers(net, keep_output=True).items():
        np.testing.assert_allclose(
            new[blob], old[blob] * values[name] ** -0.5, rtol=1e-4, atol=1e-5, err_msg=name
        )
    changed = {blob for blob in old if not np.allclose(old[blob], new[blob], rtol=0.01)}
    outputs = {top for each in net.layer for top in each.top} - {
        bottom for each in net.layer for bottom in each.bottom if bottom not in each.top
    }
    for blob in outputs | {"h_fc1", "prediction", "fc8"} & old.keys():
        # The largest value counts: what is near 0 is a difference of large terms.
        scale = np.abs(old[blob]).max()
        np.testing.assert_allclose(new[blob], old[blob], rtol=0, atol=1e-4 * scale, err_msg=blob)
    assert "a" in changed


def test_without_keep_output_the_head_is_left_out_and_every_level_scaled():
    for text in (GRAPH, DENSE, SPARSE):
        net = parse(text)
        weights = random_weights(net)
        moments = {name: m.value for name, m in second_moments(net, weights, images()).items()}
        balanced = rebalance(net, weights, moments)
        assert sorted(balanced) == TRUNK
        assert "h_fc1" not in balanced
        for name, moment in second_moments(net, balanced, images()).items():
            assert moment.value == pytest.approx(1, rel=1e-5), name


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("Sigmoid", {}),
        ("TanH", {}),
        ("ELU", {}),
        ("BNLL", {}),
        ("LRN", {}),
        ("BatchNorm", {}),
        ("Scale", {}),
        ("PReLU", {}),
        ("Power", {"power_param": "shift: 1"}),
        ("Softmax", {}),
        ("Eltwise", {"eltwise_param": "operation: PROD"}),
    ],
)
def test_layers_that_are_not_homogeneous_are_refused_by_name(kind, parameters):
    net = parse(CHAIN + layer("squash", kind, "b", **parameters) + convolution("c", "squash", 2))
    weights = {name: (np.ones((3, 3, 3, 3)), np.ones(3)) for name in "abc"}
    for keep_output in (False, True):
        with pytest.raises(WeightsError, match=f"layer squash: .*type {kind}"):
            rebalance(net, weights, {"a": 2.0, "b": 3.0, "c": 5.0}, keep_output)


def test_a_sum_of_unequally_scaled_branches_is_refused():
    net = parse(
        DATA
        + convolution("a", "data", 4)
        + convolution("b", "a", 4)
        + layer("sum", "Eltwise", "a", "b")
        + convolution("c", "sum", 2)
    )
    weights = random_weights(net)
    with pytest.raises(WeightsError, match="layer sum: .*type Eltwise"):
        rebalance(net, weights, {"a": 2.0, "b": 3.0, "c": 5.0})


def test_what_cannot_be_rebalanced_is_named(tmp_path):
    net = parse(CHAIN)
    weights = random_weights(net)
    moments = {"a": 4.0, "b": 4.0}
    with pytest.raises(WeightsError, match="layer b: has no weights"):
        rebalance(net, {"a": weights["a"]}, moments)
    with pytest.raises(WeightsError, match="layer b: has no weights"):
        second_moments(net, {"a": weights["a"]}, images())
    for bad in ({"a": 1.0}, {"a": 1.0, "b": 0.0}, {"a": 1.0, "b": float("inf")}):
        with pytest.raises(WeightsError, match="layer b: second moment"):
            rebalance(net, weights, bad)
    with pytest.raises(WeightsError, match="at least one image"):
        second_moments(net, weights, [])
    with pytest.raises(WeightsError, match="layers to balance"):
        second_moments(parse(DATA), {}, images())
    other = CHAIN.replace('"data"', '"picture"')
    with pytest.raises(WeightsError, match="expected a net with the Input data"):
        second_moments(parse(other), weights, images())
    with pytest.raises(WeightsError, match="layer a: no layer makes its bottom data"):
        rebalance(parse(CHAIN.replace(DATA, "")), weights, moments)
    shared = parse(CHAIN)
    for each in (shared.layer[1], shared.layer[4]):
        each.param.add(name="w")
    with pytest.raises(WeightsError, match="layer b: shares w with a"):
        rebalance(shared, weights, moments)
    # An output that reads a scaled layer directly cannot be kept.
    leak = parse(CHAIN + layer("seen", "Pooling", "a", pooling_param=POOL))
    with pytest.raises(WeightsError, match="output seen"):
        rebalance(leak, weights, moments, keep_output=True)
    grouped = parse(GRAPH.replace("num_output: 6", "num_output: 5 group: 5"))
    with pytest.raises(WeightsError, match="layer d: expected 5 input channels"):
        rebalance(grouped, random_weights(grouped), dict.fromkeys(TRUNK, 2.0) | {"c": 3.0})
    turned = parse(CLASSIFIER)
    next(each for each in turned.layer if each.name == "fc8").inner_product_param.transpose = True
    with pytest.raises(WeightsError, match="layer fc8: .*transposed"):
        rebalance(turned, random_weights(turned), dict.fromkeys([*TRUNK, "e", "fc"], 2.0), True)
