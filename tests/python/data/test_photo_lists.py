"""Lists of photos: folders, the published form, and names that a plain line cannot hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autocolor.data.photo_lists import (
    ListedPhoto,
    ListError,
    list_photos,
    list_photos_and_classes,
    read_photo_list,
    write_photo_list,
)
from autocolor.imaging.images import find_photos


def test_a_list_as_published(tmp_path):
    (tmp_path / "list.txt").write_bytes(
        b"/n04286575/ILSVRC2012_val_00042961.JPEG 818\n\r\nn1/a b.JPEG\t7 \r\nplain.jpg"
    )
    assert read_photo_list(tmp_path / "list.txt", Path("/val")) == [
        (Path("/val/n04286575/ILSVRC2012_val_00042961.JPEG"), 818),
        (Path("/val/n1/a b.JPEG"), 7),
        (Path("/val/plain.jpg"), None),
    ]
    beside = read_photo_list(tmp_path / "list.txt")
    assert beside[1].path == tmp_path / "n1/a b.JPEG"
    assert beside[0].path == Path("/n04286575/ILSVRC2012_val_00042961.JPEG")


def test_every_name_returns(tmp_path):
    names = [
        "a.jpg",
        "a b.jpg",
        "line\nbreak.jpg",
        "carriage\rreturn",
        "tab\t3",
        "photo 12",
        "12",
        " begins",
        "ends ",
        '"quoted"',
        '"',
        "\u2028",
        "é",
        os.fsdecode(b"caf\xe9.jpg"),
        os.fsdecode(b"\xff\n"),
    ]
    for label in (None, 3):
        photos = [ListedPhoto(tmp_path / "photos" / name, label) for name in names]
        for root in (None, tmp_path / "lists", tmp_path):
            path = (root or tmp_path) / "list.txt"
            path.parent.mkdir(exist_ok=True)
            write_photo_list(path, photos, root)
            read = read_photo_list(path)
            assert [(os.path.normpath(p), n) for p, n in read] == [(str(p), n) for p, n in photos]
            assert len(path.read_bytes().split(b"\n")) == len(names) + 1


def test_the_file_has_the_published_form(tmp_path):
    photos = [ListedPhoto(tmp_path / "n1" / "a b.JPEG", 0), ListedPhoto(tmp_path / "n2" / "c", 12)]
    write_photo_list(tmp_path / "list.txt", photos, tmp_path)
    assert (tmp_path / "list.txt").read_text() == "n1/a b.JPEG 0\nn2/c 12\n"


@pytest.mark.parametrize("line", ['"open', '"a.jpg" b', '"a.jpg" 1 2'])
def test_malformed_lines_are_named(line, tmp_path):
    (tmp_path / "list.txt").write_text(f"a.jpg\n{line}\n")
    with pytest.raises(ListError, match=r"list\.txt:2: expected a path as a JSON string"):
        read_photo_list(tmp_path / "list.txt")


def test_folder(photo_folder: Path) -> None:
    assert list_photos(photo_folder) == find_photos(photo_folder)
    assert {photo.label for photo in list_photos_and_classes(photo_folder)} == {None}


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
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    with pytest.raises(ListError, match=r"photo\.jpg: expected a text file with a path a line"):
        list_photos(tmp_path / "photo.jpg")
