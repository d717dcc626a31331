"""Text files that list photos: a path a line, and behind it the number of its class if it has one.

This is the form of the published lists of cval1k and ctest10k, and of Caffe's own ``val.txt``::

    n01440764/ILSVRC2012_val_00000293.JPEG 0
    n01443537/ILSVRC2012_val_00000236.JPEG 1

Paths are relative to the folder of the list. Bytes that are no UTF-8 are kept as they are. A path that
one plain line cannot hold (it contains a line break, begins or ends with white space, begins with a
double quote, or ends like a class) is written as a JSON string. A byte order mark in front of the first
line counts for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from autocolor.core.errors import AutocolorError
from autocolor.core.files import check_is_file, write_atomically
from autocolor.imaging.images import find_photos

_ENTRY = re.compile(r"(?P<path>.*?\S)(?:[ \t]+(?P<label>[0-9]+))?[ \t]*")
_UNUSUAL = re.compile(r'\A[\s"]|\s\Z|[\x00-\x1f\x7f\x85\u2028\u2029]|[ \t][0-9]+\Z')


class ListError(AutocolorError):
    """A list that is not as it should be; one line that names the file and the place."""


class ListedPhoto(NamedTuple):
    """A line of a list: where the photo is, and its class or None."""

    path: Path
    label: int | None = None


def read_photo_list(path: Path, root: Path | None = None) -> list[ListedPhoto]:
    """Read a list; empty lines count for nothing.

    Parameters
    ----------
    path : Path
    root : Path, optional
        What the paths are relative to. A leading ``/``, as the published lists have it, is then
        ignored. Without it they are relative to the folder of the list, or absolute.

    Raises
    ------
    ListError
        If a line is malformed or the file is no text.
    OSError
        If the file cannot be read.
    """
    check_is_file(path)
    content = path.read_bytes()
    if b"\0" in content:
        raise ListError(f"{path}: expected a text file with a path a line")
    text = content.decode("utf-8-sig", "surrogateescape")
    photos = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if line:
            name, label = _parse(line, f"{path}:{number}")
            folder = path.parent if root is None else root
            photos.append(ListedPhoto(folder / (name.lstrip("/") if root else name), label))
    return photos


def add_photo_options(
    parser: argparse.ArgumentParser, what_for: str, *, required: bool = False
) -> None:
    """Add ``--photos`` and ``--root``, the arguments of :func:`list_photos`, to a parser."""
    parser.add_argument(
        "--photos",
        type=Path,
        required=required,
        help=f"photos {what_for}: a folder, searched with its subfolders, or a text file with a path "
        "a line, which a class index may follow",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="folder that the lines of the text file are relative to, with or without a slash in "
        "front (default: the text file's own)",
    )


def list_photos(source: Path, root: Path | None = None) -> list[Path]:
    """Return the photos below a folder, or those of a list, in a fixed order.

    Arguments and errors are those of :func:`list_photos_and_classes`.
    """
    return [photo.path for photo in list_photos_and_classes(source, root)]


def list_photos_and_classes(source: Path, root: Path | None = None) -> list[ListedPhoto]:
    """Return the photos below a folder, or those of a list, in a fixed order.

    Parameters
    ----------
    source : Path
        A folder, searched with its subfolders, or a list.
    root : Path, optional
        As of :func:`read_photo_list`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ListError
        If a line of the list is malformed.
    """
    if source.is_dir():
        return [ListedPhoto(path) for path in find_photos(source, recursive=True)]
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such folder or file")
    return read_photo_list(source, root)


def write_photo_list(path: Path, photos: Iterable[ListedPhoto], root: Path | None = None) -> None:
    """Write a list, atomically.

    Parameters
    ----------
    path : Path
    photos : iterable of ListedPhoto
    root : Path, optional
        What the paths are written relative to; without it they are written absolute.
    """
    lines = []
    for photo, label in photos:
        name = os.path.abspath(photo) if root is None else os.path.relpath(photo, root)
        lines.append(quote(name) + ("" if label is None else f" {label}") + "\n")
    write_atomically(path, "".join(lines))


def class_folders(root: Path) -> list[str]:
    """Return the names of the folders in `root`, sorted: the position is the class.

    Raises
    ------
    OSError
        If `root` cannot be read.
    """
    return sorted(
        path.name for path in root.iterdir() if not path.name.startswith(".") and path.is_dir()
    )


def label_by_folder(photos: Sequence[Path], root: Path) -> list[ListedPhoto]:
    """Give each photo the class of the folder in `root` that it is in, at any depth.

    Raises
    ------
    ListError
        If a photo is in none.
    """
    classes = {name: label for label, name in enumerate(class_folders(root))}
    depth = len(root.parts)
    labelled = []
    for photo in photos:
        label = classes.get(photo.parts[depth])
        if label is None:
            raise ListError(f"{photo}: expected it in the folder of a class, in {root}")
        labelled.append(ListedPhoto(photo, label))
    return labelled


def quote(name: str) -> str:
    """Write a path so that a line can hold it: as it is, or as a JSON string."""
    return json.dumps(name) if _UNUSUAL.search(name) else name


def _parse(line: str, place: str) -> tuple[str, int | None]:
    if not line.startswith('"'):
        match = _ENTRY.fullmatch(line)
        if match is None:  # of blank lines alone, which are left out before
            raise ListError(f"{place}: expected a path, got {line!r}")
        return match["path"], None if match["label"] is None else int(match["label"])
    try:
        name, end = json.JSONDecoder().raw_decode(line)
        rest = line[end:].strip()
        return str(name), int(rest) if rest else None
    except ValueError:
        raise ListError(
            f"{place}: expected a path as a JSON string and a class or nothing, got {line!r}"
        ) from None
