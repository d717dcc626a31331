"""Descriptors: principal components against NumPy's SVD, grids and lengths by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autocolor.baselines.descriptors import (
    cell_means,
    normalize,
    photo_descriptor,
    place_descriptors,
    principal_components,
)
from helpers.block_backbone import BlockBackbone


def test_principal_components_against_svd():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) + 100
    projection = principal_components(np.array_split(values, 7), 3)
    centred = values - values.mean(axis=0)
    _, _, rows = np.linalg.svd(centred, full_matrices=False)
    # Up to sign, which is fixed otherwise; float32 results of values near 100.
    expected = np.abs(centred @ rows[:3].T)
    np.testing.assert_allclose(np.abs(projection(values)), expected, atol=2e-3)
    np.testing.assert_allclose(
        projection.components.T @ projection.components, np.eye(3), atol=1e-6
    )
    largest = np.abs(projection.components).argmax(axis=0)
    assert (projection.components[largest, np.arange(3)] > 0).all()


def test_principal_components_by_hand():
    # All variance along (1, 1).
    values = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    projection = principal_components([values], 1)
    np.testing.assert_allclose(projection(values)[:, 0], [-(2**0.5), 0, 2**0.5], atol=1e-6)


def test_principal_components_refuse():
    with pytest.raises(ValueError, match="samples: expected at least one"):
        principal_components([], 1)
    with pytest.raises(ValueError, match="dimensions: expected 1 to 2, got 3"):
        principal_components([np.zeros((4, 2))], 3)


def test_cell_means_and_lengths():
    image = np.arange(16.0).reshape(4, 4, 1)
    np.testing.assert_allclose(cell_means(image, (2, 2))[..., 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_allclose(normalize(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])


def test_place_descriptors():
    features = BlockBackbone().features(np.random.default_rng(0).random((32, 64)))
    described = place_descriptors(features, ("conv3_3", "conv4_3", "conv5_3"), (4, 8))
    assert described.shape == (4, 8, 3 * 48) and described.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(described[..., :48], axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(described, axis=-1), 3**0.5, rtol=1e-5)
    fine = features["conv3_3"][:, 2:4, 6:8].mean(axis=(1, 2))
    np.testing.assert_allclose(described[1, 3, :48], fine / np.linalg.norm(fine), rtol=1e-5)
    middle = features["conv4_3"][:, 1, 3]
    np.testing.assert_allclose(described[1, 3, 48:96], middle / np.linalg.norm(middle), rtol=1e-5)
    whole = features["conv5_3"].reshape(48, -1).mean(axis=1)
    np.testing.assert_allclose(
        photo_descriptor(features, "conv5_3"), whole / np.linalg.norm(whole), rtol=1e-5
    )
