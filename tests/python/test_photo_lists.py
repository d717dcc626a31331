"""Lists of photos: folders, plain lists, and lists with classes as they are published."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocolor.images import find_photos
from autocolor.photo_lists import ListedPhoto, list_photos, list_photos_and_classes


def test_folder(photo_folder: Path) -> None:
    assert list_photos(photo_folder) == find_photos(photo_folder)
    assert {photo.category for photo in list_photos_and_classes(photo_folder)} == {None}


def test_relative_lines_are_relative_to_the_list(tmp_path: Path) -> None:
    photos = tmp_path / "lists" / "photos.txt"
    photos.parent.mkdir()
    photos.write_text("a.jpg\n\n  more/my photo 2.jpg \n/elsewhere/b.png\n")
    assert list_photos(photos) == [
        tmp_path / "lists" / "a.jpg",
        tmp_path / "lists" / "more" / "my photo 2.jpg",
        Path("/elsewhere/b.png"),
    ]


def test_published_list_with_classes(tmp_path: Path) -> None:
    photos = tmp_path / "cval1k.txt"
    photos.write_text(
        "/n01440764/ILSVRC2012_val_00000293.JPEG 0\n/n01443537/ILSVRC2012_val_00000236.JPEG\t17\n"
    )
    assert list_photos_and_classes(photos, tmp_path / "val") == [
        ListedPhoto(tmp_path / "val/n01440764/ILSVRC2012_val_00000293.JPEG", 0),
        ListedPhoto(tmp_path / "val/n01443537/ILSVRC2012_val_00000236.JPEG", 17),
    ]
    # Without a root, a slash in front makes a line absolute.
    assert list_photos(photos)[0] == Path("/n01440764/ILSVRC2012_val_00000293.JPEG")


def test_wrong_sources(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none: no such folder or file"):
        list_photos(tmp_path / "none")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match=r"photo\.jpg: expected a text file with a path a line"):
        list_photos(tmp_path / "photo.jpg")
