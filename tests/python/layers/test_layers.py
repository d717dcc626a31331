"""The layers from pycaffe, against independent implementations."""

import colorsys
import ctypes
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.special import log_softmax, rel_entr, softmax
from skimage.color import lab2rgb, rgb2lab

from autocolor.histograms.bins import quantile_edges
from autocolor.imaging.color import hue_chroma_to_rgb

ROOT = Path(__file__).resolve().parents[3]


def run_net(tmp_path, text, inputs):
    """Forward a net made of `text` behind Input layers, one for each of `inputs`."""
    layers = [
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {length}" for length in array.shape)
        + " } } }"
        for name, array in inputs.items()
    ]
    path = tmp_path / "net.prototxt"
    path.write_text("\n".join([*layers, text]))
    caffe.set_mode_cpu()
    net = caffe.Net(str(path), caffe.TEST)
    for name, array in inputs.items():
        net.blobs[name].data[...] = array
    net.forward()
    return net


def test_our_layers_are_registered():
    assert {
        "SparseHypercolumn",
        "HypercolumnTap",
        "HypercolumnInnerProduct",
        "InnerProductWeights",
        "ColorSpace",
        "ColorHistogram",
        "SoftmaxKLDivergenceLoss",
    } <= set(caffe.layer_type_list())


def expected_columns(features, locations, scale, offset):
    """(P, C) by SciPy; features (C, H, W), locations (P, 2)."""
    coordinates = ((locations - offset) / scale).T
    return np.stack(
        [map_coordinates(f, coordinates, order=1, mode="nearest") for f in features], axis=1
    )


@pytest.mark.parametrize(
    ("height", "width", "scale"), [(13, 9, 4), (1, 1, 32), (1, 7, 8), (40, 3, 1)]
)
def test_sparse_hypercolumn_equals_scipy(tmp_path, height, width, scale):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 5, height, width)).astype(np.float32)
    # Multiples of 1/64 are exact in float, so that only the interpolation is compared.
    locations = np.round(rng.uniform(-9, 60, (2, 50, 2)) * 64) / 64
    offset = (scale - 1) / 2
    net = run_net(
        tmp_path,
        f"""layer {{ name: "columns" type: "SparseHypercolumn" bottom: "locations" bottom: "f"
            top: "columns" sparse_hypercolumn_param {{
            scale: {scale} offset_height: {offset} offset_width: {offset} }} }}""",
        {"locations": locations, "f": features},
    )
    columns = net.blobs["columns"].data.reshape(2, 50, 5)
    for n in range(2):
        expected = expected_columns(features[n].astype(float), locations[n], scale, offset)
        # Weighted means of values of order one in float.
        np.testing.assert_allclose(columns[n], expected, atol=1e-6)


def test_the_nearest_cell_is_the_pixel_of_the_histogram(tmp_path):
    rng = np.random.default_rng(7)
    # Every pixel has a value, and a bin, of its own; locations lie on edges between pixels as well.
    image = ((np.arange(2 * 9 * 13) + 0.5) / 256).reshape(2, 1, 9, 13).astype(np.float32)
    locations = rng.uniform(-3, 15, (2, 300, 2)).astype(np.float32)
    locations[0, :100] = np.round(2 * locations[0, :100]) / 2
    locations[0, 100:200] = np.nextafter(locations[0, :100], np.float32(99))
    locations[0, 200:] = np.nextafter(locations[0, :100], np.float32(-99))
    net = run_net(
        tmp_path,
        """layer { name: "nearest" type: "SparseHypercolumn" bottom: "locations" bottom: "image"
             top: "nearest" sparse_hypercolumn_param { nearest: true } }
           layer { name: "target" type: "ColorHistogram" bottom: "image" bottom: "locations"
             top: "target" color_histogram_param { bins: 256 } }""",
        {"locations": locations, "image": image},
    )
    target = net.blobs["target"].data
    assert (target.max(axis=1) == 1).all()
    np.testing.assert_array_equal(
        np.floor(256 * net.blobs["nearest"].data[:, 0]), target.argmax(axis=1)
    )


HYPERCOLUMN = """
force_backward: true
layer { name: "columns" type: "SparseHypercolumn" bottom: "locations" bottom: "fine" bottom: "coarse"
        top: "columns" sparse_hypercolumn_param { scale: 1 scale: 4 offset_height: 0 offset_height: 1.5
        offset_width: 0 offset_width: 1.5 activation_mult: 1 activation_mult: 0.5 } }"""
DENSE = """
force_backward: true
layer { name: "dense" type: "HypercolumnInnerProduct" bottom: "fine" bottom: "coarse" top: "dense"
        hypercolumn_inner_product_param { num_output: 6 stride: 2 scale: 1 scale: 4 offset_height: 0
        offset_height: 1.5 offset_width: 0 offset_width: 1.5 activation_mult: 1 activation_mult: 0.5
        weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } } }"""
# Images, height and width: a batch of many and of one, and a map of one pixel.
SIZES = [(3, 12, 20), (1, 7, 5), (1, 1, 1)]


def two_levels(rng, images, height, width):
    coarse = (images, 5, -(-height // 4), -(-width // 4))
    return {
        "fine": rng.standard_normal((images, 3, height, width)).astype(np.float32),
        "coarse": rng.standard_normal(coarse).astype(np.float32),
    }


def assign(net, inputs):
    for name, array in inputs.items():
        net.blobs[name].reshape(*array.shape)
        net.blobs[name].data[...] = array


def expected_two_levels(inputs, locations):
    """(N P, 8) by SciPy; locations (N, P, 2)."""
    return np.concatenate(
        [
            np.concatenate(
                [
                    expected_columns(inputs["fine"][n].astype(float), at, 1, 0),
                    0.5 * expected_columns(inputs["coarse"][n].astype(float), at, 4, 1.5),
                ],
                1,
            )
            for n, at in enumerate(locations)
        ]
    )


def test_sparse_hypercolumn_reshapes_and_is_its_gradients_adjoint(tmp_path):
    rng = np.random.default_rng(4)
    net = None
    for size in SIZES:
        inputs = two_levels(rng, *size)
        locations = np.round(rng.uniform(-3, 15, (size[0], 9, 2)) * 64) / 64
        if net is None:
            net = run_net(tmp_path, HYPERCOLUMN, {"locations": locations, **inputs})
        assign(net, {"locations": locations, **inputs})  # the same net, of another size
        net.forward()
        columns = net.blobs["columns"].data.astype(float)
        np.testing.assert_allclose(columns, expected_two_levels(inputs, locations), atol=1e-6)
        probe = rng.standard_normal(columns.shape).astype(np.float32)
        net.blobs["columns"].diff[...] = probe
        net.backward(start="columns")
        inner = sum((inputs[name] * net.blobs[name].diff.astype(float)).sum() for name in inputs)
        assert inner == pytest.approx((columns * probe).sum(), rel=1e-5, abs=1e-5)
        assert not net.blobs["locations"].diff.any()


def test_dense_product_equals_scipy_and_is_its_gradients_adjoint(tmp_path):
    rng = np.random.default_rng(5)
    net = None
    for size in SIZES:
        images, height, width = size
        inputs = two_levels(rng, *size)
        if net is None:
            net = run_net(tmp_path, DENSE, inputs)
        assign(net, inputs)
        net.forward()
        output = net.blobs["dense"].data.astype(float)
        rows, columns = -(-height // 2), -(-width // 2)
        assert output.shape == (images, 6, rows, columns)
        grid = np.stack(np.mgrid[:rows, :columns], axis=-1).reshape(1, -1, 2) * 2 + 0.5
        hypercolumns = expected_two_levels(inputs, np.repeat(grid, images, axis=0))
        weight, bias = (blob.data.astype(float) for blob in net.params["dense"])
        expected = (hypercolumns @ weight.T + bias).reshape(images, rows, columns, 6)
        # Eight products of order one in float.
        np.testing.assert_allclose(output.transpose(0, 2, 3, 1), expected, atol=1e-5)

        probe = rng.standard_normal(output.shape).astype(np.float32)
        for blob in net.params["dense"]:
            blob.diff[...] = 0
        net.blobs["dense"].diff[...] = probe
        net.backward(start="dense")
        total = (output * probe).sum()
        constant = (bias * probe.sum(axis=(0, 2, 3))).sum()
        # Linear in the features, and linear in weight and bias together.
        inner = sum((inputs[name] * net.blobs[name].diff.astype(float)).sum() for name in inputs)
        assert inner == pytest.approx(total - constant, rel=1e-4, abs=1e-4)
        to_parameters = sum(
            (blob.data * blob.diff.astype(float)).sum() for blob in net.params["dense"]
        )
        assert to_parameters == pytest.approx(total, rel=1e-4, abs=1e-4)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The kernels in double, which pycaffe does not reach."""
    path = tmp_path_factory.mktemp("kernels") / "kernels.so"
    subprocess.run(
        [
            "g++",
            "-std=c++17",
            "-O2",
            "-shared",
            "-fPIC",
            f"-I{ROOT / 'caffe_layers/include'}",
            ROOT / "tests/cpp/kernels_double.cpp",
            "-o",
            path,
        ],
        check=True,
    )
    return ctypes.CDLL(str(path))


def pointers(*arrays):
    return (a.ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for a in arrays)


def test_gather_equals_scipy_in_double(kernels):
    rng = np.random.default_rng(1)
    features = rng.standard_normal((4, 11, 17))
    locations = rng.uniform(-20, 90, (300, 2))
    out = np.empty((300, 4))
    kernels.gather_double(
        4,
        11,
        17,
        ctypes.c_double(4),
        ctypes.c_double(1.5),
        300,
        *pointers(locations, features, out),
    )
    np.testing.assert_allclose(out, expected_columns(features, locations, 4, 1.5), atol=1e-12)


def expected_color(space, rgb):
    """Two colour channels (M, 2) of rgb (M, 3) by colorsys, scikit-image and Eq. 9."""
    if space == "HUE_CHROMA":
        hue = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in rgb]
        return np.stack([hue, np.ptp(rgb, axis=-1)], axis=-1)
    if space == "LAB":
        return rgb2lab(rgb)[..., 1:]
    red, green, blue = rgb.T
    lightness = rgb.mean(axis=-1) + 0.0001
    return np.stack([(blue - (red + green) / 2) / lightness, (red - green) / lightness], axis=-1)


def unwrapped(space, color, expected):
    """`color` with hue, of which 0 and 1 are the same, moved by a turn to be next to `expected`."""
    if space == "HUE_CHROMA":
        color = color.copy()
        color[:, 0] -= np.round(color[:, 0] - expected[:, 0])
    return color


SPACES = ["HUE_CHROMA", "LAB", "ALPHA_BETA"]


def dense_grid(steps):
    """All colours (steps^3, 3) whose channels are multiples of 1 / (steps - 1)."""
    levels = np.linspace(0, 1, steps)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("space", SPACES)
def test_colors_of_a_dense_grid_in_double(kernels, space):
    rgb = dense_grid(52)  # 140,608 colours, every fifth value of 8 bits
    bgr = np.ascontiguousarray(rgb.T[::-1])
    lightness, color = np.empty(len(rgb)), np.empty((2, len(rgb)))
    kernels.split_color_double(SPACES.index(space), len(rgb), *pointers(bgr, lightness, color))
    expected = expected_color(space, rgb)
    np.testing.assert_allclose(lightness, rgb.mean(axis=-1), atol=1e-15)
    np.testing.assert_allclose(unwrapped(space, color.T, expected), expected, atol=1e-11)


@pytest.mark.parametrize("space", SPACES)
def test_colors_of_a_dense_grid_in_caffe(tmp_path, space):
    rgb = dense_grid(52).astype(np.float32)
    net = run_net(
        tmp_path,
        f"""layer {{ name: "split" type: "ColorSpace" bottom: "image" top: "lightness" top: "color"
            color_space_param {{ color_space: {space} }} }}""",
        {"image": rgb.T[::-1].reshape(1, 3, 52, -1)},
    )
    color = net.blobs["color"].data[0].reshape(2, -1).T.astype(float)
    expected = expected_color(space, rgb.astype(float))
    np.testing.assert_allclose(net.blobs["lightness"].data.ravel(), rgb.mean(axis=-1), atol=1e-6)
    if space == "ALPHA_BETA":
        # Near black alpha and beta are quotients of two small numbers: relative to their size.
        np.testing.assert_allclose(color, expected, atol=1e-5, rtol=1e-5)
    else:
        np.testing.assert_allclose(unwrapped(space, color, expected), expected, atol=1e-5)
    grey = np.ptp(rgb, axis=-1) == 0
    if space == "LAB":  # as in scikit-image: the rounded D65 white leaves up to 0.005
        np.testing.assert_allclose(color[grey], 0, atol=0.005)
        np.testing.assert_array_equal(color[rgb.sum(axis=-1) == 0], 0)
    else:  # black, white and grey are exact
        np.testing.assert_array_equal(color[grey], 0)


@pytest.mark.parametrize("space", SPACES)
def test_colors_turn_back_into_rgb(kernels, space):
    rgb = dense_grid(18)
    bgr = np.ascontiguousarray(rgb.T[::-1])
    lightness, color = np.empty(len(rgb)), np.empty((2, len(rgb)))
    kernels.split_color_double(SPACES.index(space), len(rgb), *pointers(bgr, lightness, color))
    first, second = color
    if space == "HUE_CHROMA":
        # Of the bicone, section 3.1: the colour is that of the middle between its extremes.
        back = hue_chroma_to_rgb(first, second, (rgb.max(axis=-1) + rgb.min(axis=-1)) / 2)
    elif space == "LAB":
        back = lab2rgb(np.stack([rgb2lab(rgb)[:, 0], first, second], axis=-1))
    else:  # three linear equations: the sum, alpha and beta
        blue = lightness + 2 / 3 * first * (lightness + 0.0001)
        red = (3 * lightness - blue + second * (lightness + 0.0001)) / 2
        back = np.stack([red, 3 * lightness - blue - red, blue], axis=-1)
    # scikit-image's matrix from XYZ is the inverse of the other to some digits only.
    np.testing.assert_allclose(back, rgb, atol=1e-5 if space == "LAB" else 1e-12)


@pytest.mark.parametrize("region", [1, 2, 5])
def test_quantile_histograms_equal_numpy(tmp_path, region):
    rng = np.random.default_rng(2)
    colour = rng.normal(0, 30, (2, 1, 12, 10)).astype(np.float32)
    locations = rng.integers(0, 10, (2, 20, 2)).astype(np.float32)
    net = run_net(
        tmp_path,
        f"""layer {{ name: "t" type: "ColorHistogram" bottom: "colour" bottom: "locations" top: "t"
            color_histogram_param {{ bins: 8 binning: GAUSSIAN_QUANTILE region: {region} }} }}""",
        {"colour": colour, "locations": locations},
    )
    edges = quantile_edges(8)
    before = (region - 1) // 2
    for row, (y, x) in enumerate(locations.reshape(-1, 2).astype(int)):
        window = colour[
            row // 20,
            0,
            max(0, y - before) : y - before + region,
            max(0, x - before) : x - before + region,
        ]
        expected = np.histogram(window, edges)[0] / window.size
        np.testing.assert_allclose(net.blobs["t"].data[row], expected, atol=1e-6)


@pytest.mark.parametrize(("images", "height", "width"), [(3, 9, 14), (1, 1, 1)])
@pytest.mark.parametrize("region", [1, 4, 50])
def test_joint_histograms_equal_numpy(tmp_path, images, height, width, region):
    rng = np.random.default_rng(6)
    colour = rng.uniform(-0.1, 1.1, (images, 2, height, width)).astype(np.float32)
    locations = rng.uniform(-2, 15, (images, 8, 2)).astype(np.float32)
    net = run_net(
        tmp_path,
        f"""layer {{ name: "t" type: "ColorHistogram" bottom: "colour" bottom: "locations" top: "t"
            color_histogram_param {{ bins: 5 joint: true region: {region} }} }}""",
        {"colour": colour, "locations": locations},
    )
    edges = np.linspace(0, 1, 6)
    for row, location in enumerate(locations.reshape(-1, 2)):
        y, x = np.clip(np.floor(location + 0.5).astype(int), 0, (height - 1, width - 1))
        before = (region - 1) // 2
        window = colour[
            row // 8,
            :,
            max(0, y - before) : y - before + region,
            max(0, x - before) : x - before + region,
        ].reshape(2, -1)
        expected = np.histogram2d(*np.clip(window, 0, 1), bins=(edges, edges))[0] / window.shape[1]
        np.testing.assert_allclose(net.blobs["t"].data[row], expected.ravel(), atol=1e-6)


@pytest.mark.parametrize("rows", [1, 30])
def test_loss_and_its_gradient_equal_scipy(tmp_path, rows):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (rows, 7)).astype(np.float32)
    target = softmax(rng.normal(0, 3, (rows, 7)), axis=1)
    weight = rng.uniform(0, 1, rows).astype(np.float32)
    net = run_net(
        tmp_path,
        """force_backward: true
           layer { name: "kl" type: "SoftmaxKLDivergenceLoss" bottom: "s" bottom: "t" bottom: "w"
           top: "kl" loss_weight: 5 }
           layer { name: "ce" type: "SoftmaxKLDivergenceLoss" bottom: "other" bottom: "t" top: "ce"
           softmax_kl_divergence_loss_param { divergence: CROSS_ENTROPY } }""",
        {"s": logits, "t": target, "w": weight, "other": logits},
    )
    divergence = rel_entr(target, softmax(logits.astype(float), axis=1)).sum(axis=1)
    cross_entropy = -(target * log_softmax(logits.astype(float), axis=1)).sum(axis=1)
    assert net.blobs["kl"].data == pytest.approx((weight * divergence).mean(), rel=1e-5)
    assert net.blobs["ce"].data == pytest.approx(cross_entropy.mean(), rel=1e-5)
    net.backward()
    gradient = (softmax(logits.astype(float), axis=1) - target) / rows
    np.testing.assert_allclose(net.blobs["other"].diff, gradient, atol=1e-7)
    np.testing.assert_allclose(net.blobs["s"].diff, 5 * weight[:, None] * gradient, atol=1e-6)


def test_wrong_prototxt_dies_with_a_clear_message(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        """layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 1 dim: 5 dim: 3 } } }
           layer { name: "f" type: "Input" top: "f"
                   input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
           layer { name: "columns" type: "SparseHypercolumn" bottom: "l" bottom: "f" top: "c" }"""
    )
    run = subprocess.run(
        [sys.executable, "-c", "import caffe; caffe.Net('net.prototxt', caffe.TEST)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "layer columns: locations expected shape (N, P, 2), got 1 5 3" in run.stderr
