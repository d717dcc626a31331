"""tools/paper/deshpande_split.py on photos laid out as those of the authors' release."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from autocolor.imaging.images import read_image, write_image
from helpers.programs import run_tool

pytestmark = pytest.mark.slow

run = partial(run_tool, "tools/paper/deshpande_split.py", status=None)


def test_their_experiment(photo_folder: Path, tmp_path: Path) -> None:
    # Grass-green photos have matches like them; small ones, as the tool makes them 256 high.
    rgb = read_image(photo_folder / "coffee.png").rgb[:32, :32]
    for place in ("Train/a", "Train/b", "Test/c"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        write_image(folder / "color.png", rgb)
        for number in range(1, 10):
            shutil.copy(photo_folder / "coffee.png", folder / f"match{number}.jpg")
    theirs = tmp_path / "out"
    theirs.mkdir()
    for suffix in ("", "-gt_hist_2"):
        write_image(theirs / f"test_1_recon_color{suffix}-1.tif", rgb)
    done = run(tmp_path, "--theirs", theirs)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" | ") for line in done.stdout.splitlines()[2:]]
    errors = {line[0].removeprefix("| "): float(line[1]) for line in lines}
    assert errors["deshpande"] < errors["no colorization"]
    assert errors["theirs"] < 0.01  # the truth itself, in 8 bit


def test_wrong_folders(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert "Train" in done.stderr.splitlines()[-1]
    (tmp_path / "Train").mkdir()
    done = run(tmp_path)
    assert done.returncode == 1
    assert "Train: expected folders with color.png, got none" in done.stderr.splitlines()[-1]
