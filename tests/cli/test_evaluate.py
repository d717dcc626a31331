"""tools/evaluate.py, end to end with real Caffe and a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "evaluate.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_report(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = run("--model", model_folder, "--photos", photo_folder, "--out", out, "--gallery", "2")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["images"] == 3 and metrics["model_name"] == "tiny"
    for name in ("model", "grey"):
        assert 0 < metrics[name]["rmse"] < 3 and 5 < metrics[name]["psnr"] < 60
        assert f"{metrics[name]['psnr']:.2f} dB" in done.stdout
    assert len((out / "metrics.csv").read_text().splitlines()) == 4
    assert (out / "metrics.md").is_file() and (out / "gallery.png").is_file()


def test_example_in_help() -> None:
    done = run("--help")
    assert done.returncode == 0 and "example:" in done.stdout


@pytest.mark.parametrize(
    ("model", "photos", "message"),
    [
        ("none", "{photos}", "none: no such model folder"),
        ("{model}", "none", "--photos none: no such folder"),
        ("{model}", "{empty}", "expected at least one colour photo"),
    ],
)
def test_wrong_arguments(
    model: str, photos: str, message: str, model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    folders = {"model": model_folder, "photos": photo_folder, "empty": tmp_path}
    out = tmp_path / "out"
    done = run(
        "--model", model.format(**folders), "--photos", photos.format(**folders), "--out", out
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("evaluate: error: ")
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not out.exists()
