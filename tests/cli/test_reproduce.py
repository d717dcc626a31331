"""tools/paper/reproduce.py --model, end to end with real Caffe and a tiny model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from autocolor.imaging.images import write_image
from helpers.programs import run_main

pytestmark = pytest.mark.slow

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


def test_scenes_and_a_list_in_part(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    """Scenes alone have a page of their own; of a list, what is there is scored."""
    scenes = tmp_path / "scenes"
    for name, rgb in (("face", skimage.data.astronaut()), ("café", skimage.data.coffee())):
        (scenes / name).mkdir(parents=True)
        for number in range(4):  # parts that do not overlap: no photo may be on both sides
            part = rgb[100 * number :, 120 * number :][:40, :60]
            write_image(scenes / name / f"{number}.png", part.astype(np.float32) / 255)
    listed = tmp_path / "list.txt"
    listed.write_text("/coffee.png 3\n/none.png 4\n/chelsea.jpg 5\n")
    out = tmp_path / "out"
    common = ("--model", model_folder, "--out", out)
    part = ("--list", listed, "--root", photo_folder)
    done = run("table5", *common, *part, "--rows", "model@1")
    assert done.returncode == 0, done.stderr
    found = f"2 of 3 photos of {listed} are there."
    assert found in done.stderr
    content = json.loads((out / "results.json").read_text())
    assert content["images"] == 2 and content["stages"]["scoring"]["peak_mb"] > 50
    assert re.search(r"^scoring: \d+\.\d minutes, \d+ MB at most$", done.stderr, re.MULTILINE)
    page = (out / "results.md").read_text()
    assert found in page
    assert "| stage | minutes | peak of memory, MB |" in page
    rows = ("--rows", "mean", "deshpande+scene", "deshpande (C)", "deshpande (Q)", "model@chosen")
    both = run("table3", "table5", *common, *part, "--scenes", scenes, *rows)
    assert both.returncode == 2
    assert "--rows: make those of --scenes and the others in two commands" in both.stderr
    done = run("table3", "table4", *common, "--scenes", scenes, *rows)
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "scenes.json").read_text())
    assert content["images"] == 2  # a quarter of each class
    assert {"mean", "deshpande+scene", "deshpande (C)", "deshpande (Q)"} <= set(content["methods"])
    text = (out / "scenes.md").read_text()
    assert "| Deshpande et al. + GT Scene | " in text and "| 0.254 |" in text
    assert "| Deshpande et al. (Q) | " in text and "learn from 6 photos of scenes" in text
    assert "Table 5" in (out / "results.md").read_text() and "Table 5" not in text
    page = tmp_path / "page.md"
    options = ("--scenes", scenes, "--page", page, "--score", "1")
    done = run("table4", "table5", *common, *part, *options)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    one = "1 of 2 photos are scored, drawn by seed 0."
    for name, which in (("Table 5", f"{found} {one}"), ("Table 4", one)):
        scored = "1 photos are scored at full resolution, in floating point."
        assert f"**{name}.** {scored} {which}" in text
    assert "| ours (E) | " in text
    for name in ("table4.png", "table5.png"):
        assert f"(page/{name})" in text and (tmp_path / "page" / name).is_file()


def test_some_photos_of_a_collection(
    model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    """Of a collection the validation photos are scored; with --list, the list's."""
    folder = tmp_path / "collection"
    shutil.copytree(photo_folder, folder)
    table = "path\tsplit\nastronaut.png\ttrain\nchelsea.jpg\tvalidation\ncoffee.png\tvalidation\n"
    (folder / "photos.tsv").write_text(table)
    common = ("table5", "--model", model_folder, "--out", tmp_path / "out", "--photos", folder)
    for options, text in (
        ((), ""),
        (("--score", "1", "--seed", "5"), "1 of 2 photos are scored, drawn by seed 5."),
        (("--list", tmp_path / "list.txt", "--root", folder), "1 of 2 photos of "),
    ):
        (tmp_path / "list.txt").write_text("astronaut.png\nnone.png\n")
        done = run(*common, "--rows", "model@1", *options)
        assert done.returncode == 0, done.stderr
        assert text in done.stderr and text in done.stdout
        content = json.loads((tmp_path / "out" / "results.json").read_text())
        assert content["images"] == (1 if options else 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("table5", "--model", "{model}", "--scenes", "{photos}"),
            "--scenes: expected one of table3",
        ),
        (
            ("table3", "--model", "{model}", "--scenes", "{photos}"),
            "a folder of photos for each class",
        ),
    ],
)
def test_wrong_arguments(
    arguments: tuple[str, ...],
    message: str,
    model_folder: Path,
    photo_folder: Path,
    tmp_path: Path,
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    folders = {"model": model_folder, "photos": photo_folder, "empty": empty}
    given = [text.format(**folders) for text in arguments]
    status = 2 if message.startswith("--") else 1
    done = run_main("tools/paper/reproduce.py", *given, "--out", tmp_path / "out", status=status)
    assert done.stderr.splitlines()[-1].startswith("reproduce: error: ")
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "results.md").exists()
