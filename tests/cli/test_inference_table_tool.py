"""tools/paper/inference_table.py, end to end with real Caffe and a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "paper" / "inference_table.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_report(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = run(
        "--model", model_folder, "--photos", photo_folder, "--out", out,
        "--strength", "0.5", "--seed", "3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "inference.json").read_text())
    assert content["images"] == 3 and len(content["rows"]) == 6
    assert (content["strength"], content["seed"]) == (0.5, 3)
    assert (out / "inference.md").read_text() in done.stdout
    assert (out / "inference.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "none", "--photos", "{photos}"), "none: no such model folder"),
        (("--model", "{model}", "--photos", "none"), "--photos none: no such folder"),
        (("--model", "{model}", "--photos", "{empty}"), "expected at least one colour photo"),
        (("--model", "{model}", "--photos", "{photos}", "--seed", "-1"), "--seed: expected at"),
        (("--model", "{model}", "--photos", "{photos}", "--strength", "-1"), "strength: expected"),
    ],
)
def test_wrong_arguments(
    arguments: tuple[str, ...],
    message: str,
    model_folder: Path,
    photo_folder: Path,
    tmp_path: Path,
) -> None:
    folders = {"model": model_folder, "photos": photo_folder, "empty": tmp_path}
    done = run(*(text.format(**folders) for text in arguments), "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("inference_table: error: ")
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
