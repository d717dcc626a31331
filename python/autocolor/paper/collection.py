"""Photos that are split into those to train on and those to score: by a table, or class by class."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autocolor.core.errors import InputError
from autocolor.core.progress import tqdm
from autocolor.data.lmdb_io import LmdbOptions
from autocolor.data.lmdb_writer import LmdbContent, LmdbWriteError, is_complete, write_lmdb
from autocolor.data.photo_lists import ListedPhoto, ListError, list_photos, write_photo_list

TABLE = "photos.tsv"
"""The table, in the collection's folder: columns ``path`` and ``split``, others are for people."""

_SPLITS = ("train", "validation")
_CHOOSING = 0.1  # of the photos to train on: models and strengths are chosen on them


@dataclass(frozen=True)
class Collection:
    """A collection's photos, in the order of its table."""

    train: Sequence[Path]
    validation: Sequence[Path]


def read_collection(folder: Path) -> Collection:
    """Read the table of a collection.

    Raises
    ------
    ListError
        If the table lacks a column, or a split is neither ``train`` nor ``validation``.
    OSError
        If it cannot be read.
    """
    table = folder / TABLE
    parts: dict[str, list[Path]] = {split: [] for split in _SPLITS}
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in enumerate(csv.DictReader(stream, delimiter="\t"), start=2):
                split, path = row.get("split"), row.get("path")
                if split not in parts or not path:
                    raise ListError(
                        f"{table}:{number}: expected a path and as its split {' or '.join(_SPLITS)}, "
                        f"got {path!r} and {split!r}"
                    )
                parts[split].append(folder / path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ListError(f"{table}: expected a table with tabs: {error}") from None
    for split, photos in parts.items():
        if not photos:
            raise ListError(f"{table}: expected photos of the split {split}, got none")
    return Collection(**parts)


def draw(photos: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Draw photos at random, in the order in which they stand; all unless there are more than `count`.

    A larger `count` adds photos to those of a smaller one.
    """
    if count < 1:
        raise InputError("count", f"expected at least 1, got {count}")
    order = np.random.default_rng(seed).permutation(len(photos))[:count]
    return [photos[index] for index in sorted(order)]


def prepare_lmdbs(photos: Sequence[Path], folder: Path, seed: int) -> None:
    """Write ``train_lmdb`` and ``validation_lmdb`` with their lists, or go on with that.

    A tenth of the photos, at least one, is for validation: models and their strengths are chosen on
    them, so that what is scored chooses nothing.

    Raises
    ------
    InputError
        If there are fewer than two photos.
    LmdbWriteError
        If an LMDB cannot be written, or none of its photos can be used.
    """
    if len(photos) < 2:
        raise InputError("photos", f"expected at least 2 to train on, got {len(photos)}")
    order = np.random.default_rng(seed).permutation(len(photos))
    count = max(1, round(_CHOOSING * len(photos)))
    for name, part in (("validation_lmdb", order[:count]), ("train_lmdb", order[count:])):
        chosen = [Path(os.path.abspath(photos[index])) for index in part]
        content = LmdbContent(chosen, LmdbOptions())
        if not is_complete(folder / name, content):
            folder.mkdir(parents=True, exist_ok=True)
            with tqdm(total=len(chosen), desc=name, unit="photo") as bar:
                skipped = write_lmdb(content, folder / name, bar.update)
            if len(skipped) == len(chosen):
                raise LmdbWriteError(
                    f"{folder / name}: none of its {len(chosen)} photos could be used: {skipped[0][1]}"
                )
        write_photo_list(folder / f"{name}.txt", [ListedPhoto(path) for path in chosen])


def split_scenes(folder: Path, seed: int) -> tuple[list[Path], list[Path]]:
    """Split the photos of each class, at random, into three quarters to learn from and those to score.

    Raises
    ------
    ListError
        If there is no folder of photos.
    OSError
        If `folder` cannot be read.
    """
    rng = np.random.default_rng(seed)
    learn: list[Path] = []
    held_out: list[Path] = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        photos = list_photos(place)
        order = rng.permutation(len(photos))
        count = round(len(photos) / 4)
        held_out += [photos[index] for index in sorted(order[:count])]
        learn += [photos[index] for index in sorted(order[count:])]
    if not held_out:
        raise ListError(f"{folder}: expected a folder of photos for each class of scenes, got none")
    return learn, held_out
