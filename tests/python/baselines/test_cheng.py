"""Cheng et al.'s features against loops and scikit-image; its net, trained by real Caffe."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from skimage.color import rgb2yuv
from skimage.feature import daisy

from autocolor.baselines.cheng import (
    FEATURES,
    HIDDEN_UNITS,
    Cheng,
    ChengOptions,
    chroma,
    compose_chroma,
    daisy_descriptors,
    patches,
    pixel_features,
    train_cheng,
)
from autocolor.baselines.references import References
from autocolor.imaging.color import lightness
from autocolor.imaging.images import resize, write_image
from helpers.block_backbone import BlockBackbone


def test_patches_naively():
    light = np.random.default_rng(0).random((6, 9))
    found = patches(light)
    padded = np.pad(light, 3, mode="symmetric")
    for y, x in [(0, 0), (5, 8), (2, 4)]:
        np.testing.assert_allclose(found[y, x], padded[y : y + 7, x : x + 7].ravel(), rtol=1e-6)
    # The pixel itself is in the middle.
    np.testing.assert_allclose(found[..., 24], light, rtol=1e-6)


def test_daisy_is_that_of_the_pixel():
    light = np.random.default_rng(1).random((128, 144))
    found = daisy_descriptors(light)
    assert found.shape == (128, 144, 32)
    # Inside, the same as scikit-image on the photo without margins, whose result begins at the
    # radius, 15. Its smoothing reaches 4 * 7.5 pixels farther.
    inner = daisy(light, step=1, radius=15, rings=1, histograms=3, orientations=8)
    np.testing.assert_allclose(found[50:-50, 50:-50], inner[35:-35, 35:-35], atol=1e-6)


def test_features_are_those_of_the_paper():
    assert (FEATURES, HIDDEN_UNITS) == (128, 64)
    light = np.random.default_rng(2).random((32, 64))
    semantic = np.random.default_rng(3).random((2, 4, 47))
    features = pixel_features(light, semantic)
    assert features.shape == (32, 64, 128)
    np.testing.assert_array_equal(features[..., :49], patches(light))
    # Semantic features are means of the cells around.
    assert features[..., 81:].min() >= semantic.min() and features[..., 81:].max() <= semantic.max()


def test_chroma_and_lightness_make_the_colour():
    rgb = np.random.default_rng(4).random((5, 6, 3))
    np.testing.assert_allclose(chroma(rgb), rgb2yuv(rgb)[..., 1:], atol=1e-6)
    found = compose_chroma(chroma(rgb), lightness(rgb).astype(np.float32))
    np.testing.assert_allclose(found, rgb, atol=1e-5)
    # Out of the gamut: white stays white.
    white = compose_chroma(np.full((1, 1, 2), 0.3, np.float32), np.ones((1, 1), np.float32))
    np.testing.assert_allclose(white, 1, atol=1e-6)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos whose colour follows from their lightness: orange where light, blue where dark."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("camera", "moon", "brick", "coins"):
        light = resize(getattr(skimage.data, name)().astype(np.float32) / 255, (64, 96))
        tint = (0.3 * (light - 0.5))[..., None] * np.array([1, 0, -1], np.float32)
        write_image(folder / f"{name}.png", np.clip(0.2 + 0.6 * light[..., None] + tint, 0, 1))
    return sorted(folder.iterdir())


OPTIONS = ChengOptions(pixels=256, iterations=300, batch=64, learning_rate=0.02, tests=3)


def test_caffe_trains_the_net(photos, tmp_path):
    backbone = BlockBackbone()
    records = train_cheng(References(photos), backbone, tmp_path, np.random.default_rng(0), OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cheng.caffemodel",
        "deploy.prototxt",
        "scaling.npz",
    ]
    training = [record.loss for record in records if record.phase == "train"]
    # Before training the loss of a scaled target of two values is about 1; the rule is learnt.
    assert training[0] > 0.5 and training[-1] < 0.2 * training[0]
    assert [r.iteration for r in records if r.phase == "test"] == [0, 100, 200, 300]

    method = Cheng(tmp_path, backbone)
    truth = References([]).read(photos[0])
    light = lightness(truth)
    found = method(light)
    np.testing.assert_allclose(lightness(found), light, atol=2e-6)
    # Before the filter, which smooths the texture of this photo away, the rule is met closely.
    error = np.square(method.predict(light) - chroma(truth)).mean()
    assert error < 0.1 * np.square(chroma(truth)).mean()
    grey = np.repeat(light[..., None], 3, axis=-1)
    assert np.square(found - truth).mean() < 0.6 * np.square(grey - truth).mean()
    assert method(light[:45, :71]).shape == (45, 71, 3)

    again = tmp_path / "again"
    train_cheng(References(photos), backbone, again, np.random.default_rng(0), OPTIONS)
    np.testing.assert_array_equal(Cheng(again, backbone)(light), found)


def test_one_photo_cannot_train_and_validate(photos, tmp_path):
    with pytest.raises(ValueError, match="at least two colour photos, got one"):
        train_cheng(References(photos[:1]), BlockBackbone(), tmp_path, np.random.default_rng(0))
