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
from skimage.color import rgb2lab

from autocolor.color import rgb_to_alpha_beta
from autocolor.histogram import quantile_edges

ROOT = Path(__file__).resolve().parents[2]


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
        "HypercolumnInnerProduct",
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


@pytest.mark.parametrize(("height", "width", "scale"), [(13, 9, 4), (1, 1, 32), (1, 7, 8), (40, 3, 1)])
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


def test_gather_equals_scipy_in_double(tmp_path):
    library_path = tmp_path / "gather.so"
    subprocess.run(
        ["g++", "-std=c++17", "-O2", "-shared", "-fPIC", f"-I{ROOT / 'caffe_layers/include'}",
         ROOT / "tests/cpp/gather_double.cpp", "-o", library_path],
        check=True,
    )  # fmt: skip
    gather = ctypes.CDLL(str(library_path)).gather_double
    rng = np.random.default_rng(1)
    features = rng.standard_normal((4, 11, 17))
    locations = rng.uniform(-20, 90, (300, 2))
    out = np.empty((300, 4))
    pointer = ctypes.POINTER(ctypes.c_double)
    gather(4, 11, 17, ctypes.c_double(4), ctypes.c_double(1.5), 300,
           *(a.ctypes.data_as(pointer) for a in (locations, features, out)))  # fmt: skip
    np.testing.assert_allclose(out, expected_columns(features, locations, 4, 1.5), atol=1e-12)


def test_color_spaces_against_skimage_and_colorsys(tmp_path):
    levels = np.linspace(0, 1, 9)
    rgb = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    bgr = rgb[..., ::-1].transpose(2, 0, 1)[None]
    for space, expected in [
        (0, None),
        (1, rgb2lab(rgb)[..., 1:]),
        (2, rgb_to_alpha_beta(rgb)),
    ]:
        net = run_net(
            tmp_path,
            f"""layer {{ name: "split" type: "ColorSpace" bottom: "image" top: "lightness"
                top: "colour" color_space_param {{ color_space: {["HUE_CHROMA", "LAB", "ALPHA_BETA"][space]} }} }}""",
            {"image": bgr},
        )
        colour = net.blobs["colour"].data[0].transpose(1, 2, 0)
        np.testing.assert_allclose(net.blobs["lightness"].data[0, 0], rgb.mean(axis=-1), atol=1e-6)
        if expected is None:
            hue = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in rgb.reshape(-1, 3)]
            expected = np.stack([np.reshape(hue, (27, 27)), np.ptp(rgb, axis=-1)], axis=-1)
            # Hue 0 and 1 are the same.
            colour[..., 0] = expected[..., 0] + (colour[..., 0] - expected[..., 0] + 0.5) % 1 - 0.5
        # a and b reach 100, so 1e-6 of them is float's resolution times the cube roots' gain.
        np.testing.assert_allclose(colour, expected, atol=2e-4 if space == 1 else 1e-5, rtol=1e-5)


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
        window = colour[row // 20, 0, max(0, y - before) : y - before + region,
                        max(0, x - before) : x - before + region]  # fmt: skip
        expected = np.histogram(window, edges)[0] / window.size
        np.testing.assert_allclose(net.blobs["t"].data[row], expected, atol=1e-6)


def test_loss_equals_scipy(tmp_path):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (30, 7)).astype(np.float32)
    target = softmax(rng.normal(0, 3, (30, 7)), axis=1)
    weight = rng.uniform(0, 1, 30).astype(np.float32)
    net = run_net(
        tmp_path,
        """layer { name: "kl" type: "SoftmaxKLDivergenceLoss" bottom: "s" bottom: "t" bottom: "w"
           top: "kl" }
           layer { name: "ce" type: "SoftmaxKLDivergenceLoss" bottom: "s" bottom: "t" top: "ce"
           softmax_kl_divergence_loss_param { divergence: CROSS_ENTROPY } }""",
        {"s": logits, "t": target, "w": weight},
    )
    divergence = rel_entr(target, softmax(logits.astype(float), axis=1)).sum(axis=1)
    cross_entropy = -(target * log_softmax(logits.astype(float), axis=1)).sum(axis=1)
    assert net.blobs["kl"].data == pytest.approx((weight * divergence).mean(), rel=1e-5)
    assert net.blobs["ce"].data == pytest.approx(cross_entropy.mean(), rel=1e-5)


def test_wrong_prototxt_dies_with_a_clear_message(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        """layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 1 dim: 5 dim: 3 } } }
           layer { name: "f" type: "Input" top: "f"
                   input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
           layer { name: "columns" type: "SparseHypercolumn" bottom: "l" bottom: "f" top: "c" }"""
    )
    run = subprocess.run(
        [sys.executable, "-c", "import caffe; caffe.Net('net.prototxt', caffe.TEST)"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode != 0
    assert "layer columns: locations expected shape (N, P, 2), got 1 5 3" in run.stderr
