"""Lists of photos to validate and test on: chosen by a seed, or read from a published list.

The choice orders photos by a hash of the seed and their names. So it is the same on every machine and
with every version of every library, does not depend on the order or the layout of the files, and a
photo that is missing changes no more than its own place.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from autocolor.core.errors import AutocolorError
from autocolor.core.files import file_sha256, one_line, write_atomically
from autocolor.data.photo_lists import ListedPhoto, quote, read_photo_list, write_photo_list
from autocolor.imaging.images import ImageError, read_image


class SplitError(AutocolorError):
    """Photos or lists do not allow the split; one line."""


def seeded_order(photos: Iterable[Path], seed: str, name: Callable[[Path], str]) -> list[Path]:
    """Sort photos by the SHA-256 of seed and name, which identifies a photo on every machine."""

    def place(photo: Path) -> tuple[bytes, str]:
        text = f"{seed}/{name(photo)}".encode("utf-8", "surrogateescape")
        return hashlib.sha256(text).digest(), name(photo)

    return sorted(photos, key=place)


class UsablePhotos:
    """Takes photos that can be read and are not encoded as greyscale (section 4).

    A photo that is grey but stored with three channels is taken: the paper keeps those, "where an
    algorithm should know not to add color".

    Parameters
    ----------
    progress : callable
        Called with 1 for every photo that is taken.

    Attributes
    ----------
    left_out : list of (Path, str)
        Photos that were not taken when it was their turn, and why.
    """

    def __init__(self, progress: Callable[[int], object] = lambda taken: None) -> None:
        self.left_out: list[tuple[Path, str]] = []
        self._known: dict[Path, bool] = {}
        self._progress = progress

    def take(self, candidates: Iterable[Path], count: int) -> list[Path]:
        """Return the first `count` of the candidates that are usable, or fewer if there are not."""
        taken: list[Path] = []
        for photo in candidates:
            if len(taken) == count:
                break
            if self._usable(photo):
                taken.append(photo)
                self._progress(1)
        return taken

    def _usable(self, photo: Path) -> bool:
        if photo not in self._known:
            reason = None
            try:
                if read_image(photo, least_side=1).is_grey:
                    reason = "encoded as greyscale"
            except ImageError as error:
                reason = one_line(error)
            if reason is not None:
                self.left_out.append((photo, reason))
            self._known[photo] = reason is None
        return self._known[photo]


def balanced_splits(
    photos: Sequence[ListedPhoto], sizes: Mapping[str, int], seed: int, usable: UsablePhotos
) -> dict[str, list[ListedPhoto]]:
    """Choose disjoint sets that have equally many photos of every class.

    Parameters
    ----------
    photos : sequence of ListedPhoto
        Candidates, all with a class; file names are unique.
    sizes : mapping of str to int
        Name and number of photos of each set; the earlier ones take first.
    seed : int
    usable : UsablePhotos

    Returns
    -------
    dict of str to list of ListedPhoto
        Each set, by class and file name.

    Raises
    ------
    SplitError
        If a size is no multiple of the number of classes, or a class has too few usable photos.
    """
    classes: dict[int, list[Path]] = defaultdict(list)
    for path, label in photos:
        if label is None:
            raise SplitError(f"{path}: expected a class, got none")
        classes[label].append(path)
    for name, size in sizes.items():
        if not classes or size % len(classes):
            raise SplitError(
                f"{name}: expected a multiple of the {len(classes)} classes, got {size} photos"
            )
    splits: dict[str, list[ListedPhoto]] = {name: [] for name in sizes}
    for label, paths in sorted(classes.items()):
        quotas = {name: size // len(classes) for name, size in sizes.items()}
        wanted = sum(quotas.values())
        taken = usable.take(seeded_order(paths, str(seed), lambda path: path.name), wanted)
        if len(taken) < wanted:
            raise SplitError(
                f"class {label} ({paths[0].parent.name}): expected {wanted} photos that are not "
                f"greyscale, got {len(taken)} of {len(paths)}"
            )
        rest = iter(taken)
        for name, quota in quotas.items():
            chosen = sorted((next(rest) for _ in range(quota)), key=lambda path: path.name)
            splits[name] += [ListedPhoto(path, label) for path in chosen]
    return splits


def find_listed(path: Path, root: Path, photos: Sequence[Path]) -> list[ListedPhoto]:
    """Read a published list and find its photos among those of this machine.

    A photo may lie in another folder than listed, if its file name is the only one of its kind.

    Parameters
    ----------
    path : Path
        The list, relative to the root of a data set.
    root : Path
        Folder of the data set here.
    photos : sequence of Path
        What there is, below `root`.

    Raises
    ------
    SplitError
        If a photo is missing, listed twice, or could be one of several.
    """
    present = set(photos)
    by_name: dict[str, list[Path]] = defaultdict(list)
    for photo in photos:
        by_name[photo.name].append(photo)
    found: dict[Path, ListedPhoto] = {}
    missing: list[Path] = []
    for listed, label in read_photo_list(path, root):
        candidates = [listed] if listed in present else by_name[listed.name]
        if not candidates:
            missing.append(listed)
            continue
        if len(candidates) > 1:
            raise SplitError(
                f"{path}: {listed.name}: expected one such photo, there are "
                f"{len(candidates)}, such as {candidates[0]}"
            )
        if candidates[0] in found:
            raise SplitError(f"{path}: lists {candidates[0]} twice")
        found[candidates[0]] = ListedPhoto(candidates[0], label)
    if missing:
        raise SplitError(
            f"{path}: {len(missing)} of its {len(missing) + len(found)} photos are "
            f"not below {root}, the first is {missing[0].name}"
        )
    if not found:
        raise SplitError(f"{path}: expected photos, the list is empty")
    return list(found.values())


def write_splits(
    folder: Path,
    name: str,
    splits: Mapping[str, Sequence[ListedPhoto]],
    left_out: Sequence[tuple[Path, str]],
    **facts: object,
) -> dict[str, object]:
    """Write lists that the tools read, and beside them what they were made from.

    Parameters
    ----------
    folder : Path
        For ``SPLIT.txt`` of every split, with paths relative to it; ``NAME.json``; and
        ``NAME.left_out.tsv``.
    name : str
        Of the data set.
    splits : mapping of str to sequence of ListedPhoto
    left_out : sequence of (Path, str)
        Photos that were not taken, and why.
    **facts
        More for the JSON file, such as the seed.

    Returns
    -------
    dict
        What the JSON file holds. ``names_sha256`` of a split is that of its file names and classes,
        line by line: equal on machines that keep the photos in different places.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lists = {}
    for split, photos in splits.items():
        path = folder / f"{split}.txt"
        write_photo_list(path, photos, folder)
        names = "".join(f"{path.name} {'' if label is None else label}\n" for path, label in photos)
        lists[split] = {
            "photos": len(photos),
            "sha256": file_sha256(path),
            "names_sha256": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        }
    record = {**facts, "lists": lists, "left_out": len(left_out)}
    lines = (f"{quote(str(photo))}\t{reason}\n" for photo, reason in left_out)
    write_atomically(folder / f"{name}.left_out.tsv", "".join(lines))
    write_atomically(folder / f"{name}.json", json.dumps(record, indent=2) + "\n")
    return record
