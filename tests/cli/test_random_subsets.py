"""tools/paper/random_subsets.py: its numbers against those of tools/evaluate.py, and wrong sizes."""

from __future__ import annotations

import csv
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from helpers.programs import run_main, run_tool

pytestmark = pytest.mark.slow

run = partial(run_tool, "tools/paper/random_subsets.py", status=None)


def test_subsets(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(photo_folder, photos)
    (photos / "aaa.png").write_bytes(b"no photo")
    common = ("--model", model_folder, "--photos", photos)
    done = run(*common, "--size", "3", "--subsets", "4", "--seed", "1", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "3 photos, 1 skipped" in done.stdout
    run_tool("tools/evaluate.py", *common, "--paper-only", "--out", tmp_path / "plain")
    with (tmp_path / "plain" / "metrics.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["method"] == "tiny"]
    psnr = dict(zip(range(1, 4), (float(row["psnr"]) for row in rows), strict=True))
    rng = np.random.default_rng(1)
    means = []
    for _ in range(4):
        subset = rng.choice(4, 3, replace=False)
        means.append(np.exp(np.mean([np.log(psnr[index]) for index in subset if index])))
    line = next(line for line in done.stdout.splitlines() if line.startswith("| ours"))
    assert ", ".join(f"{mean:.2f}" for mean in means) in line
    assert f"{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f} dB" in line


def test_too_few_photos(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    command = ("tools/paper/random_subsets.py", "--photos", photo_folder, "--out", tmp_path)
    done = run_main(*command, "--model", model_folder, status=2)
    assert "--size: expected fewer than the 3 photos, got 1344" in done.stderr
    run_main(*command, "--subsets", "1", status=2)
