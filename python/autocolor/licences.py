"""Licences of what this project uses, as the packages themselves declare them."""

from __future__ import annotations

import csv
import re
import zipfile
from collections import Counter
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


def photo_packages(photos: Path, licences: Path) -> list[tuple[str, str, int, str]]:
    """Return source ("apt" or "pypi"), name, number of photos and licence of the photos' packages.

    Parameters
    ----------
    photos, licences : Path
        ``data_prep/photos.tsv`` and ``data_prep/licences.tsv``.

    Raises
    ------
    LicenceError
        If a package's licence is not listed.
    """
    with licences.open(encoding="utf-8", newline="") as stream:
        known = {row["package"]: row["licence"] for row in csv.DictReader(stream, delimiter="\t")}
    with photos.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        counts = Counter((row["source"], row["package"]) for row in rows)
    missing = [package for _, package in counts if package not in known]
    if missing:
        raise LicenceError(f"{licences}: expected the licence of {missing[0]}")
    return [(*key, count, known[key[1]]) for key, count in sorted(counts.items())]


def of_distribution(name: str) -> str:
    """Return the licence of an installed Python package, or "not installed here"."""
    try:
        return _of_metadata(metadata.distribution(name).read_text("METADATA") or "")
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
