"""The sets of the SUN database that the paper tests on: SUN-A and SUN-6 (section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autocolor.data.photo_lists import ListedPhoto
from autocolor.data.splits import SplitError, UsablePhotos, balanced_splits, seeded_order
from autocolor.imaging.images import find_photos


def random_subsets(
    photos: Sequence[Path],
    root: Path,
    subsets: int,
    test: int,
    train: int,
    seed: int,
    usable: UsablePhotos,
) -> dict[str, list[ListedPhoto]]:
    """Choose random test sets of SUN-A, and for each a training set of other photos.

    Parameters
    ----------
    photos : sequence of Path
    root : Path
        Photos are known by their paths relative to it.
    test, train : int
        Photos of each set; the training set has fewer where no more are left.
    seed : int
        Of all subsets; each is drawn from all photos anew.

    Returns
    -------
    dict of str to list of ListedPhoto
        ``sun_a_test_1``, ``sun_a_train_1``, ``sun_a_test_2``, …, each sorted by path.

    Raises
    ------
    SplitError
        If there are fewer than `test` usable photos.
    """
    splits = {}
    for number in range(1, subsets + 1):
        order = seeded_order(photos, f"{seed}/{number}", lambda path: _name(path, root))
        taken = usable.take(order, test + train)
        if len(taken) < test:
            raise SplitError(
                f"{root}: expected {test} photos that are not greyscale, got {len(taken)} of "
                f"{len(photos)}"
            )
        for kind, part in (("test", taken[:test]), ("train", taken[test:])):
            splits[f"sun_a_{kind}_{number}"] = [ListedPhoto(path) for path in sorted(part)]
    return splits


def find_categories(root: Path, names: Sequence[str], given: Mapping[str, Path]) -> dict[str, Path]:
    """Find the folder of each scene category below `root`.

    Parameters
    ----------
    root : Path
    names : sequence of str
        Folders have these names, in any case, with or without spaces, ``_`` or ``-`` between words.
    given : mapping of str to Path
        Folders that are known, relative to `root`.

    Raises
    ------
    SplitError
        If there is no folder for a category, or several.
    """
    folders: dict[str, list[Path]] = {name: [] for name in names}
    plain = {_plain(name): name for name in names if name not in given}
    for folder in sorted(path for path in root.rglob("*") if path.is_dir()):
        if _plain(folder.name) in plain:
            folders[plain[_plain(folder.name)]].append(folder)
    for name, folder in given.items():
        if (root / folder).is_dir():
            folders[name].append(root / folder)
    for name, found in folders.items():
        if len(found) != 1:
            where = f": {', '.join(map(str, found))}" if found else ""
            raise SplitError(
                f"category {name!r}: expected one folder below {root}, got {len(found)}{where}"
            )
    return {name: found[0] for name, found in folders.items()}


def category_photos(
    folders: Mapping[str, Path], count: int, seed: int, usable: UsablePhotos
) -> list[ListedPhoto]:
    """Choose equally many photos of each category; the class is its place in `folders`.

    Raises
    ------
    SplitError
        As :func:`autocolor.data.splits.balanced_splits`.
    """
    photos = []
    for label, folder in enumerate(folders.values()):
        paths = find_photos(folder, recursive=True)
        if not paths:
            raise SplitError(f"{folder}: expected photos, got none")
        photos += [ListedPhoto(path, label) for path in paths]
    return balanced_splits(photos, {"sun_6_test": count}, seed, usable)["sun_6_test"]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
