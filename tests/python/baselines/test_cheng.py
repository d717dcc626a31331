"""Cheng et al.'s features against loops and scikit-image; its net, trained by real Caffe."""

from __future__ import annotations

from dataclasses import replace

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
    cluster_photos,
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


@pytest.mark.slow
def test_caffe_trains_the_net(photos, tmp_path):
    backbone = BlockBackbone()
    records = train_cheng(References(photos), backbone, tmp_path, np.random.default_rng(0), OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cheng_0.caffemodel",
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


def test_photos_that_look_alike_are_clustered():
    rng = np.random.default_rng(0)
    gists = np.repeat(np.eye(3), [5, 4, 3], axis=0) + 0.01 * rng.standard_normal((12, 3))
    centers, clusters = cluster_photos(gists, 4, np.random.default_rng(1))
    assert sorted(map(tuple, clusters)) == [(0, 1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11)]
    for center, members in zip(centers, clusters, strict=True):
        np.testing.assert_allclose(center, gists[members].mean(axis=0), atol=1e-6)
    # One that looks like no other joins a cluster; few photos are one.
    odd = np.concatenate([gists[:5], [[0, 9, 0]]])
    _, clusters = cluster_photos(odd, 3, np.random.default_rng(1))
    assert [len(members) for members in clusters] == [6]
    assert len(cluster_photos(gists, 7, rng)[1]) == 1
    assert [len(c) for c in cluster_photos(gists[:2], 1, rng)[1]] == [2]


@pytest.mark.slow
def test_each_cluster_has_its_own_net(photos, tmp_path):
    """Two looks of opposite rules: stripes get orange where light, smooth photos blue."""
    stripes, smooth = tmp_path / "a", tmp_path / "b"
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :96]
    for folder, sign in ((stripes, 1), (smooth, -1)):
        folder.mkdir()
        for number in range(3):
            phase = rng.uniform(0, 6)
            wave = np.sin(1.5 * x + phase) if sign > 0 else np.sin(0.06 * (x + y) + phase)
            light = (0.5 + 0.4 * wave).astype(np.float32)
            tint = sign * (0.3 * (light - 0.5))[..., None] * np.array([1, 0, -1], np.float32)
            write_image(
                folder / f"{number}.png", np.clip(0.2 + 0.6 * light[..., None] + tint, 0, 1)
            )
    paths = [*sorted(stripes.iterdir()), *sorted(smooth.iterdir())]
    backbone, options = BlockBackbone(), replace(OPTIONS, cluster=3, iterations=600)
    out = tmp_path / "out"
    records = train_cheng(References(paths), backbone, out, np.random.default_rng(0), options)
    assert len(list(out.glob("cheng_*.caffemodel"))) == 2
    # Both share the iterations.
    assert [r.iteration for r in records if r.phase == "test"] == 2 * [0, 100, 200, 300]
    method = Cheng(out, backbone)
    for path in (paths[0], paths[-1]):
        truth = References([]).read(path)
        error = np.square(method.predict(lightness(truth)) - chroma(truth)).mean()
        assert error < 0.2 * np.square(chroma(truth)).mean()


def test_one_photo_cannot_train_and_validate(photos, tmp_path):
    with pytest.raises(ValueError, match="at least two colour photos, got one"):
        train_cheng(References(photos[:1]), BlockBackbone(), tmp_path, np.random.default_rng(0))
