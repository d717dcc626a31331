"""tools/setup.sh, with stand-ins for the slow programs: killed at any moment, the next run heals."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.programs import wait_until

ROOT = Path(__file__).resolve().parents[2]

# What the script calls, by its name; each says to $STEPS that it begins, and one waits to be killed.
PROGRAM = """#!/bin/bash
echo "{name} $*" >>"$STEPS"
{work}
"""
VENV = """
mkdir -p "${@: -1}/bin"
ln -sf "$STANDINS/python" "${@: -1}/bin/python"
pause venv
: >"${@: -1}/pip"
"""
# pip leaves a package in pieces and then the whole; a second run over the pieces adds nothing.
PYTHON = """
site=$(dirname "$(dirname "$0")")/site
case "$*" in
  *requirements*) [ -e "$(dirname "$site")/pip" ] || exit 1
                  [ -e "$site" ] && exit 0; mkdir -p "$site"; pause pip; echo whole >"$site/package" ;;
  *purelib*) echo "$site" ;;
  *-e*) pause project; echo project >"$site/project" ;;
  *shipped*) grep -q whole "$site/package" && grep -q project "$site/project" ;;
esac
"""


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A clone whose set-up makes an environment of stand-ins and builds nothing."""
    root, programs = tmp_path / "clone", tmp_path / "programs"
    (root / "tools").mkdir(parents=True)
    programs.mkdir()
    text = (ROOT / "tools/setup.sh").read_text()
    write(root / "tools/setup.sh", text.replace("/usr/bin/python3", "python3"))
    write(root / "tools/fetch_caffe.sh", '#!/bin/bash\npause source; echo "$STANDINS"\n')
    shutil.copy(ROOT / "tools/requirements.txt", root / "tools")
    shutil.copy(ROOT / "pyproject.toml", root)
    for name, work in {
        "dpkg-query": "echo install ok installed",
        "python3": VENV,
        "python": PYTHON,
        "cmake": "pause cmake",
        "ninja": "pause ninja; echo '[1/1]'",
        "pause": '[ "$1" != "$PAUSE_AT" ] || { : >"$STEPS.paused"; sleep 60; }',
    }.items():
        write(programs / name, PROGRAM.format(name=name, work=work))
    environment = {
        **os.environ,
        "PATH": f"{programs}:/usr/bin:/bin",
        "STANDINS": str(programs),
        "STEPS": str(tmp_path / "steps"),
        "AUTOCOLOR_CACHE": str(tmp_path / "cache"),
    }
    return root, environment


def killed_at(root: Path, environment: dict[str, str], step: str) -> None:
    paused = Path(environment["STEPS"] + ".paused")
    process = subprocess.Popen(
        ["bash", "tools/setup.sh"],
        cwd=root,
        env={**environment, "PAUSE_AT": step},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(paused.exists, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    paused.unlink()


@pytest.mark.parametrize("step", ["venv", "pip", "project", "source", "cmake", "ninja"])
def test_a_killed_set_up_heals(step: str, clone: tuple[Path, dict[str, str]]) -> None:
    root, environment = clone
    killed_at(root, environment, step)
    again = subprocess.run(
        ["bash", "tools/setup.sh"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert "warning" not in again.stdout
    assert (root / "build/venv/site/package").read_text() == "whole\n"
    assert (root / "build/venv/site/project").exists()
    assert (root / "build/env.sh").exists()
    assert not re.findall("partial", " ".join(path.name for path in root.rglob("*")))
