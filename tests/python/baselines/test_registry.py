"""The registry of baselines: every method runs, repeats, keeps the lightness, and says what is wrong."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from autocolor.baselines.cheng import ChengOptions
from autocolor.baselines.cluster_correspondence import transfer_clusters
from autocolor.baselines.deshpande.colorizer import DeshpandeOptions
from autocolor.baselines.deshpande.forest import ForestOptions
from autocolor.baselines.references import References
from autocolor.baselines.registry import (
    BASELINES,
    HISTOGRAM_TRANSFERS,
    NEED_BACKBONE,
    SCENE_BASELINES,
    load_baseline,
    load_scene_method,
)
from autocolor.control.quantile import transfer_quantiles
from autocolor.evaluation.evaluate import Scene
from autocolor.imaging.color import compose_lab, lightness, rgb_to_lab
from autocolor.imaging.images import write_image
from helpers.block_backbone import BlockBackbone

QUICK = ChengOptions(pixels=64, iterations=20, batch=32, tests=2)
QUICK_FOREST = DeshpandeOptions(2, 2, 300, ForestOptions(4, 1, 300, 2, 40, 20, 5))


@pytest.fixture(scope="module")
def photos(photo_folder):
    return sorted(photo_folder.iterdir())


def load(name, photos, **options):
    backbone = BlockBackbone() if name in NEED_BACKBONE else None
    return load_baseline(
        name,
        photos,
        backbone=backbone,
        progress=False,
        cheng_options=QUICK,
        deshpande_options=QUICK_FOREST,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline(name, photos):
    method = load(name, photos, seed=1)
    rng = np.random.default_rng(0)
    for size in ((50, 70), (1, 1), (3, 200)):
        light = rng.random(size).astype(np.float32)
        result = method(light)
        assert result.shape == (*size, 3) and result.dtype == np.float32
        assert result.min() >= 0 and result.max() <= 1
        np.testing.assert_allclose(lightness(result), light, atol=2e-6)
    again = load(name, photos, seed=1)
    np.testing.assert_array_equal(again(light), result)
    assert (method(np.zeros((4, 5))) == 0).all() and np.allclose(method(np.ones((4, 5))), 1)


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A reference that is no photo, and one without colour."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "broken.jpg").write_bytes(b"no photo")
    write_image(folder / "grey.png", np.full((40, 50, 3), 0.4, np.float32))
    return sorted(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES[1:])
def test_bad_references_are_skipped_and_listed(name, photos, bad):
    method = load(name, [bad[0], *photos, bad[1]])
    assert [path for path, _ in method.skipped] == bad
    assert "has no colour" in method.skipped[1][1]
    light = np.random.default_rng(0).random((40, 40))
    # They say nothing: what is learnt is that of the others, but where their number counts.
    same = np.array_equal(method(light), load(name, photos)(light))
    assert same or name in ("charpiat", "cheng", "nearest_neighbour", "deshpande")
    for wrong in (bad, []):
        with pytest.raises(ValueError, match="at least one colour photo, got none"):
            load(name, wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENE_BASELINES)
def test_bad_references_of_methods_that_know_the_scene(name, photos, bad, tmp_path):
    for path in (*photos, *bad):
        (tmp_path / "place").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "place")
    references = sorted((tmp_path / "place").iterdir())
    options = {"progress": False, "deshpande_options": QUICK_FOREST}
    method = load_scene_method(name, references, **options)
    scene = Scene(tmp_path / "place" / photos[0].name)
    rgb = method(scene)
    assert rgb.shape == scene.truth.shape
    np.testing.assert_allclose(lightness(rgb), scene.lightness, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NEED_BACKBONE, "deshpande"])
def test_the_cache_is_used(name, photos, tmp_path):
    cache = tmp_path / "new" / "cache"
    light = np.random.default_rng(0).random((40, 40))
    first = load(name, photos, cache=cache)(light)
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    np.testing.assert_array_equal(load(name, photos, cache=cache)(light), first)
    assert files == {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()}
    load(name, photos, cache=cache, seed=5)
    assert len(list(cache.iterdir())) == 2


def test_mean_colour(photos, tmp_path):
    # Two flat photos, of other sizes, and their mean: a (20 - 10) / 2, b (0 + 30) / 2.
    for name, color, size in (("a.png", (20.0, 0.0), (32, 32)), ("b.png", (-10.0, 30.0), (64, 96))):
        light = np.full(size, 0.5)
        write_image(tmp_path / name, compose_lab(np.broadcast_to(color, (*size, 2)), light))
    method = load("mean", sorted(tmp_path.iterdir()))
    found = rgb_to_lab(method(np.full((3, 4), 0.5)))[..., 1:]
    # 8-bit files: half a level is up to 0.3 in a or b.
    np.testing.assert_allclose(found, np.broadcast_to([5, 15], found.shape), atol=0.4)


def test_histogram_transfers(photos):
    truth = References([]).read(photos[0])
    automatic = load("mean", photos)
    light = lightness(truth)
    expected = {"quantiles": transfer_quantiles, "clusters": transfer_clusters}
    assert set(expected) == set(HISTOGRAM_TRANSFERS)
    for name, transfer in expected.items():
        found = HISTOGRAM_TRANSFERS[name](automatic(light), truth)
        np.testing.assert_array_equal(found, transfer(automatic(light), truth))
        np.testing.assert_allclose(lightness(found), light, atol=2e-6)


def test_wrong_arguments(photos):
    with pytest.raises(ValueError, match="name: expected one of none, mean.*got 'magic'"):
        load_baseline("magic", photos)
    for name in NEED_BACKBONE:
        with pytest.raises(ValueError, match=f"backbone: expected one for '{name}'"):
            load_baseline(name, photos)
    for wrong in (np.zeros((2, 2, 3)), np.zeros((0, 3))):
        with pytest.raises(ValueError, match="lightness: expected shape"):
            load("none", [])(wrong)
    with pytest.raises(ValueError, match="lightness: expected finite values"):
        load("none", [])(np.full((2, 2), np.nan))
