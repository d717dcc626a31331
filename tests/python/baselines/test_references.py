"""Working sizes, references that cannot be read, fingerprints."""

from __future__ import annotations

import numpy as np
import pytest

from autocolor.baselines.references import References, enlarge, working_image, working_size
from autocolor.imaging.images import write_image


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((256, 384), (256, 384)),
        ((1024, 1536), (256, 384)),
        ((500, 333), (384, 256)),
        ((100, 120), (96, 128)),  # never enlarged but to the nearest 32
        ((1, 9), (32, 32)),
        ((100, 10_000), (32, 1024)),  # the larger side is limited
    ],
)
def test_working_size(size, expected):
    assert working_size(*size) == expected


def test_working_image_refuses():
    with pytest.raises(ValueError, match="image: expected shape"):
        working_image(np.zeros((0, 4)))
    with pytest.raises(ValueError, match="image: expected finite values"):
        working_image(np.full((4, 4), 2.0))


def test_enlarge_is_bilinear_and_keeps_its_borders():
    grid = np.array([[[0.0], [1.0]]])
    np.testing.assert_allclose(enlarge(grid, (1, 4))[0, :, 0], [0, 0.25, 0.75, 1])
    np.testing.assert_array_equal(enlarge(grid, (1, 2)), grid)


def test_unreadable_references_are_skipped_and_listed(photo_folder, tmp_path):
    grey, broken = tmp_path / "grey.png", tmp_path / "broken.jpg"
    write_image(grey, np.full((20, 20, 3), 0.5))
    broken.write_bytes(b"no photo")
    good = sorted(photo_folder.iterdir())
    references = References([good[0], grey, broken, tmp_path / "none.png", *good[1:]])
    assert [path for path, _ in references.images()] == good
    assert [path for path, _ in references.skipped] == [grey, broken, tmp_path / "none.png"]
    assert "no colour" in references.skipped[0][1]
    list(references.images())
    assert len(references.skipped) == 3  # of the last pass, not added up
    with pytest.raises(ValueError, match="got none; the first was skipped: .*broken.jpg"):
        list(References([broken]).images())
    with pytest.raises(ValueError, match="at least one colour photo, got none$"):
        list(References([]).images())


def test_fingerprint(photo_folder, tmp_path):
    good = sorted(photo_folder.iterdir())
    first = References(good).fingerprint("a", 1)
    assert References(good).fingerprint("a", 1) == first
    others = [
        References(good).fingerprint("a", 2),
        References(good[::-1]).fingerprint("a", 1),
        References([*good, tmp_path / "none.png"]).fingerprint("a", 1),
    ]
    assert len({first, *others}) == 4
