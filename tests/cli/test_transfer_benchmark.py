"""tools/paper/transfer_benchmark.py, end to end with real Caffe and a tiny model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from helpers.programs import run_tool

pytestmark = pytest.mark.slow

run = partial(run_tool, "tools/paper/transfer_benchmark.py", status=None)


def test_scores(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "scores.json"
    options = ("--out", out, "--weights", "0", "10")
    done = run("--model", model_folder, "--photos", photo_folder, *options)
    assert done.returncode == 0, done.stderr
    content = json.loads(out.read_text())
    assert content["images"] == 3 and content["unfinished"] == 0
    scores = content["scores"]
    assert list(scores) == ["no colorization", "automatic", "Q", "E, weight 0", "E, weight 10"]
    # The tiny model knows nothing, the true histogram much.
    for name in ("Q", "E, weight 10"):
        assert scores[name]["rmse"] < scores["automatic"]["rmse"]
    # Without weight on the target, E is the prediction; the tiny model's strength is 1.
    # The automatic result comes from the grid, whose sums have another order.
    assert scores["E, weight 0"] == pytest.approx(scores["automatic"], rel=1e-6)
    assert f"| Q | {scores['Q']['rmse']:.4f} | {scores['Q']['psnr']:.2f} dB |" in done.stdout
    assert "3 photos, 0 skipped" in done.stdout


def test_a_list_of_reduced_photos(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos.txt"
    photos.write_text("/coffee.png 3\nnone.png\n")
    options = ("--root", photo_folder, "--side", "40")
    done = run("--model", model_folder, "--photos", photos, *options)
    assert done.returncode == 0, done.stderr
    assert "1 photos, 1 skipped" in done.stdout and "E, weight 10" in done.stdout
