"""Deshpande et al.'s colorizer: filters, gradients, soft trees, the linear system, classes of scenes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate, gaussian_filter
from scipy.optimize import approx_fprime

from autocolor.baselines.cluster_correspondence import (
    Correspondence,
    alpha_beta_histogram,
    correspond,
)
from autocolor.baselines.deshpande.colorizer import Deshpande, DeshpandeOptions, SceneClasses
from autocolor.baselines.deshpande.features import (
    FilterPlane,
    color_filters,
    leung_malik,
    regression_features,
    split_features,
)
from autocolor.baselines.deshpande.field import RIDGE, ColorField, bhattacharyya
from autocolor.baselines.deshpande.forest import (
    FIXED_ROWS,
    Forest,
    ForestOptions,
    Samples,
    gradient_of_a,
    orthonormalize,
    train_forest,
    with_constant,
)
from autocolor.baselines.references import References
from autocolor.baselines.registry import SCENE_BASELINES, load_scene_method
from autocolor.control.quantile import transfer_quantiles
from autocolor.evaluation.evaluate import Scene
from autocolor.imaging.color import compose_alpha_beta, lightness, rgb_to_alpha_beta
from autocolor.imaging.images import write_image

SMALL = ForestOptions(rows=4, stumps=2, pixels=600, steps=3, least_leaf=40, directions=40, tried=15)
QUICK = DeshpandeOptions(matches=2, photos=4, pixels=300, forest=SMALL)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def rows(rng, *shape):
    return orthonormalize(rng.normal(size=shape))


def test_bank_of_textures():
    bank = leung_malik()
    assert bank.shape == (48, 49, 49)
    np.testing.assert_allclose(bank.sum(axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(np.abs(bank).sum(axis=(1, 2)), 1)
    for edge, bar in zip(bank[:18], bank[18:36], strict=True):
        np.testing.assert_allclose(edge, -edge[::-1, ::-1], atol=1e-12)
        np.testing.assert_allclose(bar, bar[::-1, ::-1], atol=1e-12)
    # At angle 0 edges change along y, at the fourth of six along x.
    np.testing.assert_allclose(
        bank[0], bank[3].T * np.sign(bank[0, 22, 24] * bank[3, 24, 22]), atol=1e-9
    )
    point = np.zeros((49, 49))
    point[24, 24] = 1
    blurred = gaussian_filter(point, np.sqrt(2), truncate=17)
    blurred -= blurred.mean()
    np.testing.assert_allclose(bank[36], blurred / np.abs(blurred).sum(), atol=1e-7)


@pytest.mark.parametrize("size", [(9, 14), (3, 1)])
def test_filters_of_a_plane_and_their_adjoint(rng, size):
    kernels, image = rng.normal(size=(2, 3, 5, 5)), rng.normal(size=(*size, 2))
    plane = FilterPlane(kernels, size)
    found = plane.apply(image)
    for channel in range(2):
        for index in range(3):
            expected = correlate(image[..., channel], kernels[channel, index], mode="constant")
            # Float32 transforms of values of the order 1.
            np.testing.assert_allclose(found[..., channel, index], expected, atol=1e-5)
    other = rng.normal(size=(*size, 2, 3))
    assert np.vdot(found, other) == pytest.approx(np.vdot(image, plane.adjoint(other)), rel=1e-4)


def test_filters_of_colour(rng):
    fields = [gaussian_filter(rng.normal(size=(60, 70, 2)), (1, 1, 0)) for _ in range(3)]
    kernels = color_filters(fields, np.random.default_rng(1))
    assert kernels.shape == (2, 28, 11, 11)
    unit = np.zeros((11, 11))
    unit[5, 5] = 1
    np.testing.assert_array_equal(kernels[:, 0], [unit, unit])
    np.testing.assert_allclose(kernels[0, 1:16].sum(axis=(1, 2)), [0, 0, 0, 0, 1] * 3, atol=1e-6)
    np.testing.assert_array_equal(color_filters(fields, np.random.default_rng(1)), kernels)
    # A component of patches that is divided by its deviation has deviation 1 on other patches.
    y, x = np.mgrid[-1:2, -1:2]
    fade = np.exp(-0.5 * (x**2 + y**2))
    first = kernels[1, 16, 4:7, 4:7] / (fade / fade.sum())
    responses = correlate(fields[0][..., 1], first)[2:-2, 2:-2]
    assert responses.std() == pytest.approx(1, rel=0.1)


def test_features_of_a_pixel(rng):
    light = rng.random((12, 16)).astype(np.float32)
    mean, deviation = rng.random((2, 12, 16, 2))
    features = regression_features(light, mean)
    assert features.shape == (12, 16, 219) and np.isfinite(features).all()
    np.testing.assert_allclose(features[..., :2], mean, rtol=1e-6)
    assert (features[..., 2:27] == features[0, 0, 2:27]).all()
    response = features[..., 27:75]
    np.testing.assert_allclose(response.min(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(response.max(axis=(0, 1)), 1, atol=1e-6)
    np.testing.assert_allclose(features[3, 4, 75:123], response[4, 4] - response[3, 4], atol=1e-6)
    flat = regression_features(np.full((12, 16), 0.3, np.float32), mean)
    assert np.isfinite(flat).all()
    split = split_features(light, mean, deviation)
    assert split.shape == (12, 16, 15)
    np.testing.assert_allclose(
        split[11, 3, :3],
        [light[11, 3], light[11, 3] - light[10, 3], light[11, 4] - light[11, 3]],
        atol=1e-6,
    )
    np.testing.assert_allclose(
        split[11, 3, 9:], [4 / 16, 1, *mean[11, 3], *deviation[11, 3]], rtol=1e-6
    )


def test_rows_made_orthonormal(rng):
    a = rng.normal(size=(5, 4, 9))
    q, r = np.linalg.qr(np.swapaxes(a, 1, 2))
    signs = np.sign(np.diagonal(r, axis1=1, axis2=2))
    np.testing.assert_allclose(orthonormalize(a), np.swapaxes(q * signs[:, None], 1, 2), atol=1e-10)


def test_the_margin_of_the_release_does_not_matter(rng):
    g, b = rng.normal(size=(2, 7))
    for w in (0.0, 0.25, 0.9):
        cost = (1 + w) / 2 * g @ g - g @ b + np.square(b - w * g).sum() / (2 * (1 - w))
        assert cost == pytest.approx(np.square(b - g).sum() / (2 * (1 - w)))


@pytest.mark.parametrize("own", [1, 6])
def test_gradient_of_the_matrix_numerically(rng, own):
    a = rows(rng, own, 4, 7)
    b, responses, weights = rng.normal(size=(6, 4)), rng.normal(size=(6, 7)), rng.random(6)
    weights = np.ones(6) if own == 1 else weights

    def cost(change):
        moved = orthonormalize(a + weights[:own, None, None] * change.reshape(4, 7))
        found = (np.broadcast_to(moved, (6, 4, 7)) @ responses[..., None])[..., 0]
        return np.square(b - found).sum() / 2

    expected = approx_fprime(np.zeros(28), cost, 1e-7).reshape(4, 7)
    residual = b - (np.broadcast_to(a, (6, 4, 7)) @ responses[..., None])[..., 0]
    found = gradient_of_a(a, residual, responses, weights)
    assert (found[:FIXED_ROWS] == 0).all()
    np.testing.assert_allclose(found[FIXED_ROWS:], expected[FIXED_ROWS:], atol=1e-5)


def two_splits(rng):
    """A tree on one feature: below 0; above it, below and above 3."""
    return Forest(
        rows(rng, 2, 4).astype(np.float32),
        np.zeros((2, 3), np.float32),
        np.ones((5, 1), np.float32),
        np.array([0, 0, 3, 0, 0], np.float32),
        np.array([[1, 2], [-1, -1], [3, 4], [-1, -1], [-1, -1]]),
        rng.normal(size=(5, 2, 4)).astype(np.float32),
        rng.normal(size=(5, 2, 3)).astype(np.float32),
    )


def test_weights_of_leaves_by_hand(rng):
    forest = two_splits(rng)
    split = np.array([[-2], [0], [0.5], [2], [3.5]], np.float32)
    found = np.zeros((5, 5))
    for leaf, pixels, weights in forest.leaves(split):
        found[pixels, leaf] = weights
    # (2 + 3 / 2 - 1 / 8) / 4 = 0.84375 half way to the end of the soft part.
    expected = [[1, 0, 0], [0.5, 0.5, 0], [0.15625, 0.84375, 0], [0, 1, 0], [0, 0.15625, 0.84375]]
    np.testing.assert_allclose(found[:, [1, 3, 4]], expected, atol=1e-6)
    assert (found[:, [0, 2]] == 0).all()


def test_a_forest_naively(rng):
    forest = two_splits(rng)
    split, features = np.array([[0.5], [3.5]], np.float32), rng.normal(size=(2, 2))
    a, b = forest.evaluate(split, features.astype(np.float32))
    shares = ({1: 0.15625, 3: 0.84375}, {3: 0.15625, 4: 0.84375})
    for pixel, parts in enumerate(shares):
        whole_a, whole_b = forest.a.copy(), forest.b.copy()
        for leaf, share in parts.items():
            whole_a += share * forest.leaf_a[leaf]
            whole_b += share * forest.leaf_b[leaf]
        np.testing.assert_allclose(a[pixel], orthonormalize(whole_a), atol=1e-5)
        np.testing.assert_allclose(b[pixel], whole_b @ [*features[pixel], 1], atol=1e-5)


def test_a_forest_learns_what_differs_between_places(rng):
    """Alpha is the feature where the split feature is high, and its opposite where it is low."""
    split = rng.uniform(-1, 1, size=(3000, 2)).astype(np.float32)
    features = rng.normal(size=(3000, 1)).astype(np.float32)
    colors = np.where(split[:, :1] > 0, features, -features)
    responses = np.concatenate([colors, rng.normal(size=(3000, 5))], axis=1).astype(np.float32)
    samples = Samples(split, features, responses)
    options = ForestOptions(4, 2, 2000, 5, 40, 40, 15)
    first = np.zeros((4, 2))
    forest = train_forest(samples, first, np.random.default_rng(3), options)
    a, b = forest.evaluate(split, features)
    np.testing.assert_allclose(
        a @ np.swapaxes(a, 1, 2), np.broadcast_to(np.eye(4), (3000, 4, 4)), atol=1e-4
    )
    cost = np.square(b[:, 0] - colors[:, 0]).mean()
    stumps = with_constant(features) @ forest.b[0]
    assert cost < 0.3 * np.square(stumps - colors[:, 0]).mean()
    again = train_forest(samples, first, np.random.default_rng(3), options)
    for name, values in vars(forest).items():
        np.testing.assert_array_equal(getattr(again, name), values)


def small_system(rng, size=(6, 7)):
    kernels = color_filters([rng.normal(size=(20, 20, 2))], rng)
    a = rows(rng, *size, 4, 56).astype(np.float32)
    a[..., :2, :] = 0
    a[..., 0, 0] = a[..., 1, 28] = 1  # the pixel itself
    b = rng.normal(size=(*size, 4)).astype(np.float32)
    return ColorField(FilterPlane(kernels, size), a, b), kernels, a, b


def test_the_linear_system_densely(rng):
    system, kernels, a, b = small_system(rng)
    columns = []
    for unit in np.eye(84).reshape(84, 6, 7, 2):
        responses = [
            correlate(unit[..., channel], kernel.astype(np.float64), mode="constant")
            for channel in range(2)
            for kernel in kernels[channel]
        ]
        columns.append(np.einsum("yxij,jyx->yxi", a, responses).ravel())
    matrix = np.stack(columns, axis=1)
    expected = np.linalg.solve(matrix.T @ matrix + RIDGE * np.eye(84), matrix.T @ b.ravel())
    # 30 iterations in float32.
    np.testing.assert_allclose(system.solve().ravel(), expected, atol=2e-3)
    field = rng.normal(size=(6, 7, 2))
    values = rng.normal(size=(6, 7, 4))
    np.testing.assert_allclose(system.project(field).ravel(), matrix @ field.ravel(), atol=1e-4)
    np.testing.assert_allclose(system.adjoint(values).ravel(), matrix.T @ values.ravel(), atol=1e-3)


def test_distance_of_mixtures_by_hand():
    colors = np.array([[0.1, 0.0], [0.3, 0.0]])
    one = np.array([[0.0, 0.0]])
    distance, means, weights = bhattacharyya(colors, one, np.ones(1), np.array([[0.5, 0.0]]))
    np.testing.assert_allclose(means, [[0.2, 0]])
    assert weights == [1]
    assert distance == pytest.approx(0.3**2 / (8 * 0.15**2))


def test_correction_moves_clusters_towards_the_known_ones(rng):
    system, *_ = small_system(rng, (20, 24))
    field = system.solve()
    clusters = Correspondence(np.zeros((1, 2)), np.array([[0.4, -0.2]]), np.ones(1))
    moved = system.correct(field, clusters)
    before = np.linalg.norm(field.mean(axis=(0, 1)) - clusters.target[0])
    assert np.linalg.norm(moved.mean(axis=(0, 1)) - clusters.target[0]) < before
    # Nothing to correct: the colours stay near the minimum.
    there = Correspondence(
        field.reshape(-1, 2).mean(axis=0)[None], field.reshape(-1, 2).mean(axis=0)[None], np.ones(1)
    )
    assert np.abs(system.correct(field, there) - field).max() < 0.05


def landscape(rng, sky, ground):
    """A bright flat sky over a dark rough ground, (64, 96, 3)."""
    light = np.full((64, 96), 0.7)
    light[32:] = 0.3 + 0.1 * rng.random((32, 96))
    colors = np.empty((64, 96, 2))
    colors[:32], colors[32:] = sky, ground
    return compose_alpha_beta(colors, light).astype(np.float32)


@pytest.fixture
def classes(tmp_path, rng):
    """Two classes of scenes that differ in colour alone."""
    for name, sky, ground in (("sea", (0.6, -0.2), (-0.4, 0.3)), ("mars", (-0.5, 0.4), (0.2, 0.5))):
        (tmp_path / name).mkdir()
        for number in range(5):
            shade = 1 + 0.1 * number
            image = landscape(rng, np.multiply(sky, shade), np.multiply(ground, shade))
            write_image(tmp_path / name / f"{number}.png", image)
    return tmp_path


def error(rgb, truth):
    return float(np.linalg.norm(rgb_to_alpha_beta(rgb) - rgb_to_alpha_beta(truth), axis=-1).mean())


@pytest.mark.slow
def test_photos_of_one_class(classes, rng):
    colorizer = Deshpande(References(sorted((classes / "sea").iterdir())), options=QUICK, seed=2)
    truth = landscape(rng, (0.66, -0.22), (-0.44, 0.33))
    rgb = colorizer(lightness(truth))
    np.testing.assert_allclose(lightness(rgb), lightness(truth), atol=2e-6)
    assert error(rgb, truth) < 0.3 * error(np.repeat(lightness(truth)[..., None], 3, 2), truth)
    again = Deshpande(References(sorted((classes / "sea").iterdir())), options=QUICK, seed=2)
    np.testing.assert_array_equal(again(lightness(truth)), rgb)
    other = Deshpande(References(sorted((classes / "sea").iterdir())), options=QUICK, seed=3)
    assert not np.array_equal(other(lightness(truth)), rgb)


@pytest.mark.slow
def test_the_class_of_a_scene(classes, rng):
    (classes / "sea" / "broken.png").write_bytes(b"no photo")
    paths = sorted(classes.glob("*/*.png"))
    references = References(paths)
    colorizers = SceneClasses(references, options=QUICK)
    assert [path.name for path, _ in references.skipped] == ["broken.png"]
    truth = landscape(rng, (0.6, -0.2), (-0.4, 0.3))
    sea = colorizers(classes / "other" / "sea" / "a.png")(lightness(truth))
    mars = colorizers(classes / "mars" / "a.png")(lightness(truth))
    assert error(sea, truth) < 0.5 * error(mars, truth)
    with pytest.raises(ValueError, match="called mars, sea, got 'moon'"):
        colorizers(classes / "moon" / "a.png")
    one = SceneClasses(
        References([path for path in paths if path.parent.name == "mars"]), options=QUICK
    )
    one(classes / "moon" / "a.png")
    with pytest.raises(ValueError, match="at least one colour photo, got none"):
        SceneClasses(References([]))


@pytest.mark.slow
def test_methods_that_know_the_scene(classes, rng):
    write_image(classes / "sea" / "asked.png", landscape(rng, (0.7, -0.1), (-0.5, 0.2)))
    paths = sorted(classes.glob("*/[0-9].png"))
    scene = Scene(classes / "sea" / "asked.png")
    cache = classes / "cache"
    found = {
        name: load_scene_method(name, paths, cache=cache, progress=False, deshpande_options=QUICK)(
            scene
        )
        for name in ("none", "deshpande", *SCENE_BASELINES)
    }
    assert len(list(cache.iterdir())) == 3  # of both classes, and of all photos
    for rgb in found.values():
        np.testing.assert_allclose(lightness(rgb), scene.lightness, atol=2e-6)
    automatic = found["deshpande+scene"]
    np.testing.assert_array_equal(
        found["deshpande (Q)"], transfer_quantiles(automatic, scene.truth)
    )
    clusters = correspond(alpha_beta_histogram(automatic), alpha_beta_histogram(scene.truth))
    assert len(clusters.weights) > 1
    errors = {name: error(rgb, scene.truth) for name, rgb in found.items()}
    assert (
        errors["deshpande (Q)"]
        < errors["deshpande (C)"]
        < errors["deshpande+scene"]
        < errors["none"]
    )
