"""Target histograms: literal images, naive counts, and the file format with its errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.color import lab2rgb

from autocolor.control.targets import (
    TargetError,
    image_targets,
    load_targets,
)
from autocolor.core.variants import VARIANTS
from autocolor.histograms.bins import quantile_edges
from autocolor.imaging.color import hue_chroma_to_rgb, rgb_to_hue_chroma, rgb_to_lab


def test_hue_counts_by_chroma_literal() -> None:
    # Red of chroma 0.6 and cyan of chroma 0.2, three greys.
    rgb = np.array([[0.8, 0.2, 0.2], [0.4, 0.6, 0.6], [0.5] * 3, [0.0] * 3, [1.0] * 3])
    targets = image_targets(rgb, "hue_chroma", 4)
    assert list(targets) == ["hue", "chroma"]
    np.testing.assert_allclose(targets["hue"], [0.75, 0, 0.25, 0], atol=1e-12)
    np.testing.assert_allclose(targets["chroma"], [0.8, 0, 0.2, 0])


def test_hue_wraps_around() -> None:
    hue = np.array([0.999, 0.001])
    rgb = hue_chroma_to_rgb(hue, np.full(2, 0.5), np.full(2, 0.5))
    target = image_targets(rgb, "hue_chroma", 32)["hue"]
    np.testing.assert_allclose(target[[0, 31]], 0.5)


def test_a_grey_image_has_every_hue() -> None:
    targets = image_targets(np.full((3, 3, 3), 0.5), "hue_chroma", 32)
    np.testing.assert_allclose(targets["hue"], 1 / 32)
    np.testing.assert_array_equal(targets["chroma"], np.eye(32)[0])


def test_lab_against_naive_counts() -> None:
    rgb = np.random.default_rng(0).random((20, 30, 3))
    joint = np.zeros((8, 8))
    edges = quantile_edges(8)
    for _, a, b in rgb_to_lab(rgb).reshape(-1, 3):
        joint[np.sum(edges[1:-1] <= a), np.sum(edges[1:-1] <= b)] += 1 / 600
    np.testing.assert_allclose(image_targets(rgb, "lab_joint", 8)["ab"], joint.ravel())
    marginal = image_targets(rgb, "lab_marginal", 8)
    np.testing.assert_allclose(marginal["a"], joint.sum(axis=1))
    np.testing.assert_allclose(marginal["b"], joint.sum(axis=0))


def test_joint_index_is_a_first() -> None:
    # a = 40 and b = -40, a violet: of 2 bins, a in the upper and b in the lower.
    violet = lab2rgb(np.array([[50.0, 40, -40]]))
    np.testing.assert_array_equal(image_targets(violet, "lab_joint", 2)["ab"], [0, 0, 1, 0])


@pytest.mark.parametrize(
    "variant", [name for name, variant in VARIANTS.items() if variant.is_histogram]
)
def test_files(variant: str, tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).random((20, 30, 3)).astype(np.float32)
    targets = image_targets(rgb, variant, 16)
    path = tmp_path / "targets.npz"
    np.savez(path, **{name: 7 * target for name, target in targets.items()})
    loaded = load_targets(path, variant, 16)
    assert list(loaded) == list(VARIANTS[variant].outputs)
    for name, target in targets.items():
        np.testing.assert_allclose(loaded[name], target, rtol=1e-14)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": np.ones(32), "b": np.ones(32)}, "expected the histograms hue, chroma of hue_chroma"),
        ({}, "got none"),
        ({"hue": np.ones(32), "chroma": np.ones(16)}, "chroma: expected shape (32,)"),
        ({"hue": np.ones(32), "chroma": np.zeros(32)}, "chroma: expected shape (K,) with some"),
        ({"hue": np.ones(32), "chroma": -np.ones(32)}, "chroma: expected finite values in [0"),
        ({"hue": np.ones(32), "chroma": np.ones(32, int)}, "chroma: expected a float32 or float64"),
        ({"hue": np.array([{}] * 32), "chroma": np.ones(32)}, "cannot be read"),
    ],
)
def test_wrong_archives(content: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "targets.npz"
    np.savez(path, allow_pickle=True, **content)
    with pytest.raises(TargetError) as caught:
        load_targets(path, "hue_chroma", 32)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no such file"):
        load_targets(tmp_path / "none.npz", "hue_chroma", 32)
    np.save(tmp_path / "array.npy", np.ones(32))
    with pytest.raises(TargetError, match="expected a .npz file of histograms"):
        load_targets(tmp_path / "array.npy", "hue_chroma", 32)
    np.savez(tmp_path / "cut.npz", hue=np.ones(32), chroma=np.ones(32))
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:100] + b"\0" * 60 + whole[160:])
    with pytest.raises(TargetError, match="cut.npz: "):
        load_targets(tmp_path / "cut.npz", "hue_chroma", 32)
    with pytest.raises(TargetError, match="expected a file, got a folder"):
        load_targets(tmp_path, "hue_chroma", 32)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="expected one of hue_chroma, .*, got 'lab_l2'"):
        image_targets(np.ones((2, 2, 3)), "lab_l2", 32)
    with pytest.raises(ValueError, match="rgb: expected at least one pixel"):
        image_targets(np.ones((0, 3)), "lab_joint", 32)


def test_weights_are_the_chroma() -> None:
    rgb = np.random.default_rng(1).random((200, 3))
    hue, chroma = rgb_to_hue_chroma(rgb)
    expected = np.histogram(hue, bins=32, range=(0, 1), weights=chroma)[0]
    np.testing.assert_allclose(
        image_targets(rgb, "hue_chroma", 32)["hue"], expected / expected.sum()
    )
