"""The joint bilateral filter against a naive loop, SciPy, and cases known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from autocolor.imaging.joint_bilateral import joint_bilateral_upsample


def naive(values, grid_guide, guide, sigma_space, sigma_range, radius):
    height, width = guide.shape
    h, w, channels = values.shape
    result = np.zeros((height, width, channels))
    for y in range(height):
        for x in range(width):
            py = min(max((y + 0.5) * h / height - 0.5, 0), h - 1)
            px = min(max((x + 0.5) * w / width - 0.5, 0), w - 1)
            total = 0.0
            for qy in range(round(py) - radius, round(py) + radius + 1):
                for qx in range(round(px) - radius, round(px) + radius + 1):
                    if not (0 <= qy < h and 0 <= qx < w):
                        continue
                    space = np.exp(-0.5 * ((py - qy) ** 2 + (px - qx) ** 2) / sigma_space**2)
                    difference = guide[y, x] - grid_guide[qy, qx]
                    weight = space * (np.exp(-0.5 * difference**2 / sigma_range**2) + 1e-6)
                    total += weight
                    result[y, x] += weight * values[qy, qx]
            result[y, x] /= total
    return result


@pytest.mark.parametrize("size", [(6, 5), (15, 11), (3, 4)])
def test_against_a_naive_loop(size):
    rng = np.random.default_rng(0)
    values, grid_guide, guide = rng.normal(size=(6, 5, 2)), rng.random((6, 5)), rng.random(size)
    options = {"sigma_space": 1.3, "sigma_range": 0.2, "radius": 2}
    found = joint_bilateral_upsample(values, grid_guide, guide, **options)
    assert found.dtype == np.float32
    # float32 sums of 25 terms of order 1
    np.testing.assert_allclose(found, naive(values, grid_guide, guide, **options), atol=2e-6)


def test_a_flat_guide_leaves_a_gaussian_filter():
    values = np.random.default_rng(1).normal(size=(20, 30, 1))
    flat = np.full((20, 30), 0.5)
    found = joint_bilateral_upsample(values, flat, flat, sigma_space=1.5, radius=6)
    expected = gaussian_filter(values[..., 0], 1.5, radius=6)
    np.testing.assert_allclose(found[6:-6, 6:-6, 0], expected[6:-6, 6:-6], atol=2e-6)


def test_colours_stop_at_an_edge_of_the_guide():
    # Two cells, two colours, and a guide that is dark for three of four pixels.
    values = np.array([[[1.0], [5.0]]])
    found = joint_bilateral_upsample(
        values, np.array([[0.0, 1.0]]), np.array([[0.0, 0.0, 0.0, 1.0]]), sigma_range=0.05
    )
    np.testing.assert_allclose(found[0, :, 0], [1, 1, 1, 5], atol=1e-4)


def test_a_lightness_that_no_cell_has_gets_the_mean_by_space():
    values = np.array([[[1.0], [5.0]]])
    found = joint_bilateral_upsample(
        values, np.array([[1.0, 1.0]]), np.array([[0.0, 0.0]]), sigma_space=1e3, sigma_range=0.01
    )
    np.testing.assert_allclose(found[0, :, 0], 3, atol=1e-4)


def test_many_strips_are_as_one(monkeypatch):
    rng = np.random.default_rng(2)
    arguments = rng.random((4, 5, 3)), rng.random((4, 5)), rng.random((33, 21))
    whole = joint_bilateral_upsample(*arguments)
    monkeypatch.setattr("autocolor.imaging.joint_bilateral._STRIP_PIXELS", 50)
    np.testing.assert_array_equal(joint_bilateral_upsample(*arguments), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros((2, 2))}, "values, guide: expected"),
        ({"grid_guide": np.zeros((2, 3))}, "grid_guide: expected shape"),
        ({"guide": np.full((4, 4), 2.0)}, "guide: expected finite values"),
        ({"sigma_space": 0}, "sigma_space, sigma_range, radius"),
        ({"radius": -1}, "sigma_space, sigma_range, radius"),
    ],
)
def test_wrong_arguments(change, message):
    arguments = {
        "values": np.zeros((2, 2, 1)),
        "grid_guide": np.zeros((2, 2)),
        "guide": np.zeros((4, 4)),
    }
    with pytest.raises(ValueError, match=message):
        joint_bilateral_upsample(**arguments | change)
