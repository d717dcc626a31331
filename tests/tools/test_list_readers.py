"""A byte order mark, which Windows programs write, costs no list its first line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from licences import locked_packages, photo_packages
from PIL import Image

from autocolor.data.imagenet import validation_photos
from autocolor.data.photo_lists import list_photos
from autocolor.data.photos import PhotoEntry, read_list
from autocolor.data.splits import find_listed
from autocolor.imaging.images import find_photos
from autocolor.paper.reproduction import ReproductionConfig
from autocolor.training.feature_cache import count_rows, seconds_taken

MARK = b"\xef\xbb\xbf"
ENTRY = PhotoEntry("train", "apt", "some-photos", "/a.jpg", "", "g", "0" * 64)
NAMES = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2)]
FEATURES = [f"{{folder}}/{number}.h5" for number in (0, 1)]


def _reproduction(folder: Path, path: Path) -> Any:
    path.rename(folder / "train_lmdb.txt")
    return ReproductionConfig(folder, [], folder, folder).listed("train_lmdb")


def _licences(folder: Path, path: Path) -> Any:
    path.rename(folder / "licences.tsv")
    return photo_packages(folder / "photos.tsv", folder / "licences.tsv")


READERS: dict[str, tuple[list[str], Callable[[Path, Path], Any]]] = {
    "photos": ([*NAMES], lambda folder, path: list_photos(path)),
    "photos below a root": (
        [*NAMES],
        lambda folder, path: find_listed(path, folder, find_photos(folder)),
    ),
    "photos of an LMDB": ([f"{{folder}}/{name}" for name in NAMES], _reproduction),
    "packages of photos": (
        ["\t".join(field.name for field in fields(PhotoEntry)), "\t".join(astuple(ENTRY))],
        lambda folder, path: (read_list(path), photo_packages(path, folder / "licences.tsv")),
    ),
    "licences": (["package\tlicence", "some-photos\tMIT"], _licences),
    "requirements": (
        ["one==1 \\", "    --hash=sha256:0", "two==2 \\", "    --hash=sha256:1"],
        lambda folder, path: locked_packages(path),
    ),
    "labels by name": (
        [f"{NAMES[0]} 4", f"{NAMES[1]} 7"],
        validation_photos,
    ),
    "labels by number": (["2", "1"], validation_photos),
    "labels of Kaggle": (
        ["ImageId,PredictionString", *(f"{name[:-5]},n1 1 2 3 4" for name in NAMES)],
        validation_photos,
    ),
    "synsets": (
        ["n1 one", "n2 two"],
        lambda folder, path: validation_photos(folder, folder / "truth.txt", path),
    ),
    "rows of features": (FEATURES, lambda folder, path: count_rows(path)),
    "seconds of features": (FEATURES, lambda folder, path: seconds_taken(path)),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_byte_order_mark_costs_no_line(reader: str, tmp_path: Path) -> None:
    for name in NAMES:
        Image.new("RGB", (2, 2)).save(tmp_path / name, "JPEG")
    for number in range(2):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["cached_hypercolumn"] = np.zeros((3, 2), np.float16)
            file["image"] = np.zeros((3, 3, 1, 1), np.float32)
            file.attrs["seconds"] = number + 1.0
    (tmp_path / "truth.txt").write_text("1\n2\n")
    (tmp_path / "photos.tsv").write_text("source\tpackage\napt\tsome-photos\n")
    (tmp_path / "licences.tsv").write_text("package\tlicence\nsome-photos\tMIT\n")
    lines, read = READERS[reader]
    found = []
    for mark in (b"", MARK):
        path = tmp_path / "list.txt"
        path.write_bytes(
            mark + "".join(f"{line}\n" for line in lines).format(folder=tmp_path).encode()
        )
        found.append(read(tmp_path, path))
    assert found[0] and found[1] == found[0]
