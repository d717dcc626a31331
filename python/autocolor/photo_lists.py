"""Photos of a folder, or of a text file that lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autocolor.images import find_photos


@dataclass(frozen=True)
class ListedPhoto:
    """A photo, and its class where the list says it."""

    path: Path
    category: int | None = None


def list_photos(source: Path, root: Path | None = None) -> list[Path]:
    """Return the photos below a folder, or those that a text file lists, in a fixed order.

    Arguments and errors are those of :func:`list_photos_and_classes`.
    """
    return [photo.path for photo in list_photos_and_classes(source, root)]


def list_photos_and_classes(source: Path, root: Path | None = None) -> list[ListedPhoto]:
    """Return the photos below a folder, or those that a text file lists, in a fixed order.

    A line of the file is a path, which may be followed by a class index, as in the published lists
    of ImageNet/cval1k and ctest10k: ``/n01440764/ILSVRC2012_val_00000293.JPEG 0``.

    Parameters
    ----------
    source : Path
        A folder, searched with its subfolders, or a text file.
    root : Path, optional
        Folder that the file's lines are relative to, whether or not they start with a slash. Unless
        given: the folder of the file, and lines with a slash in front are absolute.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If the file is no text.
    """
    if source.is_dir():
        return [ListedPhoto(path) for path in find_photos(source, recursive=True)]
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such folder or file")
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: expected a text file with a path a line: {error}") from error
    return [_parse(line.strip(), source.parent, root) for line in lines if line.strip()]


def _parse(line: str, folder: Path, root: Path | None) -> ListedPhoto:
    name, category = line, None
    words = line.rsplit(maxsplit=1)
    if len(words) == 2 and words[1].isdecimal():
        name, category = words[0], int(words[1])
    path = folder / name if root is None else root / name.lstrip("/")
    return ListedPhoto(path, category)
