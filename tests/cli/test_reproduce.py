"""tools/paper/reproduce.py --model, end to end with real Caffe and a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "paper" / "reproduce.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tables_of_a_model(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "new" / "out", tmp_path / "page.md"
    options = ("--out", out, "--page", page, "--strength", "0.5", "--seed", "3")
    done = run("all", "--model", model_folder, "--photos", photo_folder, *options)
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "results.json").read_text())
    assert content["images"] == 3 and content["skipped"] == []
    last = content["methods"]["model@0.5"]["scores"]
    text = page.read_text()
    assert f"| median + CF | {last['rmse']:.3f} [" in text and "| 0.299 | 24.45 |" in text
    assert "| ours (E) | " in text and "## Figure 10" in text
    assert "pairs of rows come in the paper's order" in text
    assert (out / "results.md").read_text() in done.stdout
    for name in ("table4.png", "table5.png", "fig10.jpg"):
        assert (out / "plots" / name).stat().st_size and (tmp_path / "page" / name).is_file()
