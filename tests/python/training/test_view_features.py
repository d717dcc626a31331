"""Hypercolumns of augmented views: what is in the files, and what a changed list computes anew."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from autocolor.core.downloads import default_cache
from autocolor.imaging.images import find_photos
from autocolor.nets.vgg16 import vgg16_levels
from autocolor.nets.weights_io import write_weights
from autocolor.runtime.vgg16_gray import vgg16_gray_weights
from autocolor.training.augmentation import ViewOptions
from autocolor.training.feature_cache import FeatureNet, FeatureOptions
from autocolor.training.view_features import ViewSet, cache_views, mix_rows, scale_of

LEVELS = "data..conv2_2"
OPTIONS = ViewOptions(crop=32, locations=5, largest_side=64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg16_gray.caffemodel"
    write_weights(path, vgg16_gray_weights(default_cache()), "VGG16-gray")
    return path


@pytest.fixture(scope="module")
def views(photo_folder):
    return ViewSet(tuple(find_photos(photo_folder)), 2, OPTIONS, views_per_file=2)


def rows(path):
    with h5py.File(path) as file:
        return file["cached_hypercolumn"][...], file["image"][...]


def test_rows_are_hypercolumns_and_colours_of_the_views(views, weights, tmp_path):
    scale = scale_of(views, weights, tmp_path / "scale.npy", LEVELS)
    files = cache_views(views, weights, tmp_path, scale, levels=LEVELS)
    paths = [tmp_path / line for line in files.read_text().splitlines()]
    assert [len(rows(path)[0]) for path in paths] == [10, 5, 10, 5]  # three photos, two views
    net = FeatureNet(weights, FeatureOptions(LEVELS, 32, 5))
    for path, pairs in zip(paths, views.deal().values(), strict=True):
        hypercolumns, colours = rows(path)
        for index, pair in enumerate(pairs):
            view = views.view(*pair)
            part = slice(5 * index, 5 * index + 5)
            expected = net(view.grey, view.locations) * scale
            np.testing.assert_allclose(hypercolumns[part], expected, rtol=2e-3, atol=1e-3)
            y, x = view.locations.T
            np.testing.assert_array_equal(colours[part, ::-1, 0, 0], view.rgb[y, x])


def test_levels_have_unit_second_moment_but_the_input(views, weights, tmp_path):
    scale = scale_of(views, weights, tmp_path / "scale.npy", LEVELS)
    files = cache_views(views, weights, tmp_path, scale, levels=LEVELS)
    found = np.concatenate([rows(line)[0] for line in files.read_text().splitlines()])
    first = 0
    for level in vgg16_levels(LEVELS):
        part = found[:, first : first + level.channels].astype(np.float64)
        if level.name == "data":
            assert scale[0] == 1
        else:
            assert (part**2).mean() == pytest.approx(1, rel=0.02)
        first += level.channels
    np.testing.assert_array_equal(scale_of(views, weights, tmp_path / "scale.npy", LEVELS), scale)


def test_more_views_keep_those_that_are_there_and_an_interrupted_run_goes_on(
    views, weights, tmp_path
):
    scale = np.ones(sum(level.channels for level in vgg16_levels(LEVELS)), np.float32)
    few = cache_views(replace(views, views=1), weights, tmp_path, scale, levels=LEVELS)
    kept, lost = few.read_text().splitlines()
    content = rows(lost)
    with h5py.File(kept, "a") as file:
        file.attrs["kept"] = True
    (tmp_path / lost).unlink()
    more = cache_views(views, weights, tmp_path, scale, levels=LEVELS, processes=2)
    assert more.read_text().startswith(few.read_text()) and more != few
    with h5py.File(kept) as file:
        assert file.attrs["kept"]
    for found, expected in zip(rows(lost), content, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_changed_option_is_another_folder(views, weights, tmp_path):
    scale = np.ones(sum(level.channels for level in vgg16_levels(LEVELS)), np.float32)
    one = replace(views, views=1)
    first = cache_views(one, weights, tmp_path, scale, levels=LEVELS)
    for changed in (replace(one, seed=1), replace(one, options=replace(OPTIONS, grain=0.0))):
        assert cache_views(changed, weights, tmp_path, scale, levels=LEVELS).parent != first.parent


def test_mixed_files_have_the_same_rows_in_another_order(tmp_path):
    lines = []
    for index in range(3):
        path = tmp_path / f"part{index}.h5"
        with h5py.File(path, "w") as file:
            numbers = np.arange(20 * index, 20 * index + 20)
            file["cached_hypercolumn"] = np.repeat(numbers[:, None], 4, 1).astype(np.float16)
            file["image"] = np.tile(numbers[:, None, None, None], (1, 3, 1, 1)).astype(np.float32)
        lines.append(str(path))
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    mixed = mix_rows(tmp_path / "list.txt", tmp_path / "mixed", rows_per_file=16)
    assert mix_rows(tmp_path / "list.txt", tmp_path / "mixed", rows_per_file=16) == mixed
    found = [rows(line) for line in mixed.read_text().splitlines()]
    assert [len(colours) for _, colours in found] == [16, 16, 16, 12]
    for hypercolumns, colours in found:  # each hypercolumn with its colour
        np.testing.assert_array_equal(hypercolumns[:, 0], colours[:, 0, 0, 0])
        assert len(np.unique(hypercolumns[:, 0] // 20)) == 3  # of all three files
    together = np.concatenate([colours[:, 0, 0, 0] for _, colours in found])
    np.testing.assert_array_equal(np.sort(together), np.arange(60))
    (tmp_path / "list.txt").write_text("\n".join(lines[:2]) + "\n")
    assert mix_rows(tmp_path / "list.txt", tmp_path / "mixed", rows_per_file=16) != mixed
