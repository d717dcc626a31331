"""The table of a collection, what is drawn of it, and its LMDBs."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocolor.data.lmdb_writer import LmdbWriteError
from autocolor.data.photo_lists import ListError, list_photos
from autocolor.imaging.images import find_photos
from autocolor.paper.collection import TABLE, draw, prepare_lmdbs, read_collection
from autocolor.training.feature_cache import _keys


def write_table(folder: Path, *lines: str) -> Path:
    (folder / TABLE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def test_the_split_is_that_of_the_table(tmp_path: Path) -> None:
    folder = write_table(
        tmp_path,
        "source\tpath\tsplit",
        "a\tb/2.webp\ttrain",
        "a\té 1.jpg\tvalidation",
        "c\tb/1.webp\ttrain",
    )
    found = read_collection(folder)
    assert found.train == [folder / "b/2.webp", folder / "b/1.webp"]
    assert found.validation == [folder / "é 1.jpg"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ("path\tsplit", "a\ttrain", "b\ttest"),
            r"photos\.tsv:3: expected a path .* 'b' and 'test'",
        ),
        (("path\tsplit", "a\ttrain", "b"), r"photos\.tsv:3: .* got 'b' and None"),
        (("photo\tsplit", "a\ttrain"), r"photos\.tsv:2: .* got None and 'train'"),
        (("path\tsplit", "a\ttrain"), r"photos\.tsv: expected photos of the split validation"),
        ((), "expected photos of the split train, got none"),
    ],
)
def test_wrong_tables(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(ListError, match=message):
        read_collection(write_table(tmp_path, *lines))


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_bytes(b"path\tsplit\n\xff\ttrain\n")
    with pytest.raises(ListError, match="expected a table with tabs"):
        read_collection(tmp_path)


def test_more_photos_are_those_of_fewer_and_others() -> None:
    photos = [Path(str(number)) for number in range(50)]
    few, more = draw(photos, 5, 0), draw(photos, 9, 0)
    assert len(few) == 5 and len(more) == 9 and set(few) < set(more)
    assert more == sorted(more, key=photos.index)
    assert draw(photos, 5, 1) != few
    assert draw(photos, 99, 0) == photos
    with pytest.raises(ValueError, match="count: expected at least 1, got 0"):
        draw(photos, 0, 0)


def test_lmdbs_of_all_photos_a_tenth_to_choose_by(photo_folder: Path, tmp_path: Path) -> None:
    photos = find_photos(photo_folder)
    prepare_lmdbs(photos, tmp_path, seed=0)
    training, validation = (
        list_photos(tmp_path / f"{name}_lmdb.txt") for name in ("train", "validation")
    )
    assert len(validation) == 1 and sorted(training + validation) == photos
    assert [len(_keys(tmp_path / f"{name}_lmdb")) for name in ("train", "validation")] == [2, 1]
    # Again: what is complete is left alone.
    before = (tmp_path / "train_lmdb" / "data.mdb").stat().st_mtime_ns
    prepare_lmdbs(photos, tmp_path, seed=0)
    assert (tmp_path / "train_lmdb" / "data.mdb").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="photos: expected at least 2 to train on, got 1"):
        prepare_lmdbs(photos[:1], tmp_path, seed=0)


def test_an_lmdb_of_no_photo_that_can_be_read_is_refused(tmp_path: Path) -> None:
    photos = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in photos:
        path.write_bytes(b"no photo")
    with pytest.raises(LmdbWriteError, match="none of its 1 photos could be used"):
        prepare_lmdbs(photos, tmp_path / "out", seed=0)
