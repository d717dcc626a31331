"""Classes of photos, as ImageNet numbers them: folders of one class each, sorted by name, from 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autocolor.data.photo_lists import ListedPhoto, ListError


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
