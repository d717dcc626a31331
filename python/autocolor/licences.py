"""Licences of what this project uses, as the packages themselves declare them."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path, PurePosixPath

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_DECLARED = re.compile(r"^License: *(\S.*)$", re.MULTILINE)
_UNKNOWN = "not declared"


class LicenceError(RuntimeError):
    """A package whose licence cannot be read; one line."""


def locked_packages(requirements: Path) -> list[tuple[str, str]]:
    """Return name and version of every package of a lock of pip's."""
    return _LOCKED.findall(requirements.read_text(encoding="utf-8"))


def photo_packages(photos: Path) -> list[tuple[str, str, int]]:
    """Return source ("apt" or "pypi"), name and number of photos of the packages of a photo list."""
    counts: dict[tuple[str, str], int] = {}
    with photos.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            key = (row["source"], row["package"])
            counts[key] = counts.get(key, 0) + 1
    return [(source, package, count) for (source, package), count in sorted(counts.items())]


def of_distribution(name: str) -> str:
    """Return the licence of an installed Python package, or "not installed here"."""
    try:
        return _of_metadata(str(metadata.metadata(name)))
    except metadata.PackageNotFoundError:
        return "not installed here"


def of_wheel(path: Path) -> str:
    """Return the licence of a wheel.

    Raises
    ------
    LicenceError
        If it has no metadata.
    """
    with zipfile.ZipFile(path) as wheel:
        for name in wheel.namelist():
            if PurePosixPath(name).match("*.dist-info/METADATA"):
                return _of_metadata(wheel.read(name).decode("utf-8", "replace"))
    raise LicenceError(f"{path}: expected METADATA in this wheel")


def _of_metadata(text: str) -> str:
    fields = HeaderParser().parsestr(text)
    if expression := fields["License-Expression"]:
        return str(expression)
    classes = [
        line.rpartition(" :: ")[2]
        for line in fields.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    # Some put the whole text here.
    lines = (fields["License"] or "").strip().splitlines()
    return ", ".join(classes) or (lines[0].strip() if lines else _UNKNOWN)


def of_debian_package(path: Path) -> str:
    """Return the licences that the copyright file of a .deb names, the most frequent first.

    Raises
    ------
    LicenceError
        If it has no such file.
    """
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=False)
    if unpacked.returncode:
        raise LicenceError(f"{path}: {unpacked.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(unpacked.stdout)) as archive:
        for member in archive:
            if re.fullmatch(r"\./usr/share/doc/[^/]+/copyright", member.name) and member.isfile():
                file = archive.extractfile(member)
                if file is not None:
                    return _of_copyright(file.read().decode("utf-8", "replace"))
    raise LicenceError(f"{path}: expected a copyright file in this package")


def of_installed_debian_package(name: str) -> str:
    """Return the licences of a Debian package of this machine, or "not installed here"."""
    path = Path("/usr/share/doc") / name / "copyright"
    if not path.is_file():
        return "not installed here"
    return _of_copyright(path.read_text(encoding="utf-8", errors="replace"))


def _of_copyright(text: str) -> str:
    names: dict[str, tuple[str, int]] = {}
    for name in _DECLARED.findall(text):
        known, count = names.get(name.lower(), (name.strip(), 0))
        names[name.lower()] = known, count + 1
    if not names:
        return "text in its copyright file"
    ordered = sorted(names.values(), key=lambda item: (-item[1], item[0]))
    return ", ".join(name for name, _ in ordered)


def table(heading: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"

    heading = list(heading)
    return "\n".join([line(heading), "|" + "---|" * len(heading), *map(line, rows)])
