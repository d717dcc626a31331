"""The wheel of this clone, and environments into which it is installed without a network."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from helpers.programs import ROOT, run

# What is read to build it.
_SOURCES = ("python", "docs/*.md", "pyproject.toml", "README.md", "LICENSE")


def build_wheel(folder: Path) -> Path:
    """Build as `pip install .` does, but with the setuptools that is there."""
    source = folder / "source"
    listing = ("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in run(*listing, *_SOURCES).stdout.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--quiet",
        "--wheel-dir",
        folder,
        source,
    )
    (built,) = folder.glob("*.whl")
    return built


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and this one's libraries, but neither pycaffe nor this clone."""

    programs: Path
    site: Path
    variables: dict[str, str]  #: All that the programs there need

    def cut_off(self, *, starts_programs: bool = False) -> None:
        """Refuse every connection from now on, and every start of another program unless told."""
        refused = "socket.socket.connect = refused\n"
        if not starts_programs:
            refused += "subprocess.Popen.__init__ = refused\n"
        (self.site / "sitecustomize.py").write_text(
            "import socket, subprocess\n"
            "def refused(*arguments, **options): raise AssertionError('network or program')\n"
            + refused
        )


def install_wheel(wheel: Path, folder: Path) -> Installed:
    """Make an environment below `folder` and install the wheel; its cache is empty."""
    environment = folder / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    (site,) = (environment / "lib").glob("python*/site-packages")
    libraries = folder / "libraries"
    libraries.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        # What points to this clone, and to the pycaffe in it, stays out.
        if path.suffix != ".pth" and not path.name.startswith(("autocolor", "__editable__")):
            (libraries / path.name).symlink_to(path)
    (site / "libraries.pth").write_text(f"{libraries}\n")
    programs = environment / "bin"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        programs / "python",
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        wheel,
    )
    variables = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "AUTOCOLOR_CACHE": str(folder / "cache"),
        "HOME": str(folder),
        "OMP_NUM_THREADS": "2",
    }
    return Installed(programs, site, variables)
