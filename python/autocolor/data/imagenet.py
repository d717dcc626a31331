"""The validation photos of ImageNet (ILSVRC 2012) in the layouts people have on disk.

Classes are counted from 0, in the order of the synsets' names, as the folders sort: n01440764 is 0.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from autocolor.core.files import read_lines
from autocolor.data.photo_lists import (
    ListedPhoto,
    ListError,
    class_folders,
    label_by_folder,
    read_photo_list,
)
from autocolor.imaging.images import find_photos

PUBLISHED_SHA256 = {
    "cval1k": "c4e55de7ef9e1767daef98f3b3e13ed9812cd92b54f32720c367b8e4f3097fe0",
    "ctest10k": "7574f5423a9a870d7a29af0b250de199d42c24c48673439a7a6e19ce32fd7011",
}
"""Of the lists that the authors published."""


def validation_photos(
    root: Path, labels: Path | None = None, synsets: Path | None = None
) -> list[ListedPhoto]:
    """Return the photos below `root`, sorted by file name, with their classes.

    Parameters
    ----------
    root : Path
        Folder with a folder a synset or, with `labels`, with the photos at any depth.
    labels : Path, optional
        One of: ``name class`` a line (Caffe's ``val.txt``, classes from 0); the development kit's
        ``ILSVRC2012_validation_ground_truth.txt`` (a number a line, from 1, in the order of the
        photos' numbers); Kaggle's ``LOC_val_solution.csv``.
    synsets : Path, optional
        The development kit's ``meta.mat``, or a text file with a synset a line: the synsets of the
        ground truth's numbers, which are in an order of their own. Without it the classes are
        these numbers less 1.

    Returns
    -------
    list of ListedPhoto
        The class is None if there are neither `labels` nor folders of classes.

    Raises
    ------
    ListError
        If there are no photos, two of one name, or one without a class; or a file is malformed.
    OSError
        If a file cannot be read.
    """
    photos = sorted(find_photos(root, recursive=True), key=lambda path: path.name)
    if not photos:
        raise ListError(f"{root}: expected photos, got none")
    for first, second in itertools.pairwise(photos):
        if first.stem == second.stem:
            raise ListError(f"{root}: two photos have one name, {first} and {second}")
    if labels is None:
        return (
            label_by_folder(photos, root) if class_folders(root) else list(map(ListedPhoto, photos))
        )
    classes = _read_labels(labels, synsets)
    labelled = [ListedPhoto(photo, classes.get(photo.stem)) for photo in photos]
    missing = [photo.path.name for photo in labelled if photo.label is None]
    if missing:
        raise ListError(
            f"{labels}: no class for {len(missing)} of {len(photos)} photos, the first "
            f"is {missing[0]}"
        )
    return labelled


def _read_labels(path: Path, synsets: Path | None) -> dict[str, int]:
    """Class of each photo, by its file name without suffix."""
    lines = read_lines(path)
    if lines and lines[0].startswith("ImageId,"):
        names = {
            row["ImageId"]: (row["PredictionString"] or "").split(" ")[0]
            for row in csv.DictReader(lines)
        }
        order = _positions(names.values())
        return {name: order[synset] for name, synset in names.items()}
    if all(re.fullmatch(r"\s*[0-9]+\s*", line) for line in lines):
        numbers = [int(line) for line in lines]
        if synsets is None:
            classes = {number: number - 1 for number in numbers}
        else:
            listed = _read_synsets(synsets)
            order = _positions(listed)
            classes = {number: order[synset] for number, synset in enumerate(listed, start=1)}
        try:
            return {
                f"ILSVRC2012_val_{place:08d}": classes[number]
                for place, number in enumerate(numbers, start=1)
            }
        except KeyError as error:
            raise ListError(f"{path}: number {error} is not among those of {synsets}") from None
    return {
        photo.path.stem: photo.label for photo in read_photo_list(path) if photo.label is not None
    }


def _positions(synsets: Iterable[str]) -> dict[str, int]:
    return {synset: position for position, synset in enumerate(sorted(set(synsets)))}


def _read_synsets(path: Path) -> list[str]:
    """Synsets in the order of the ground truth's numbers."""
    if path.suffix != ".mat":
        return [line.split()[0] for line in read_lines(path) if line.strip()]
    from scipy.io import loadmat

    try:
        table = loadmat(path, squeeze_me=True)["synsets"]
        # Inner nodes of WordNet follow the classes, with numbers above theirs.
        leaves = [row for row in table if int(row["num_children"]) == 0]
        return [
            str(row["WNID"]) for row in sorted(leaves, key=lambda row: int(row["ILSVRC2012_ID"]))
        ]
    except (KeyError, ValueError, IndexError) as error:
        raise ListError(f"{path}: expected the development kit's meta.mat: {error}") from None
