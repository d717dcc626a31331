"""tools/evaluate_baselines.py as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autocolor.caffe_runtime import import_caffe
from autocolor.images import write_image

TOOL = Path(__file__).parents[2] / "tools" / "evaluate_baselines.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOL, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-16-gray with random weights; Xavier's, from Caffe itself."""
    caffe = import_caffe()
    from autocolor.vgg16 import vgg16_gray_features

    folder = tmp_path_factory.mktemp("weights")
    (folder / "net.prototxt").write_text(str(vgg16_gray_features()))
    caffe.set_random_seed(0)
    caffe.Net(str(folder / "net.prototxt"), caffe.TEST).save(str(folder / "vgg.caffemodel"))
    return folder / "vgg.caffemodel"


def test_methods_without_a_network(photo_folder: Path, tmp_path: Path) -> None:
    broken, grey = tmp_path / "broken.png", tmp_path / "grey.png"
    broken.write_bytes(b"no photo")
    write_image(grey, np.full((30, 30, 3), 0.4))
    photos = tmp_path / "photos.txt"
    lines = [*sorted(photo_folder.iterdir()), broken, grey]
    photos.write_text("".join(f"{line}\n" for line in lines))
    out = tmp_path / "new" / "out"
    done = run("--references", photos, "--photos", photos, "--side", "48", "--out", out,
               "--methods", "none", "mean", "welsh")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"welsh: skipped reference {broken}" in done.stderr
    content = json.loads((out / "scores.json").read_text())
    assert (content["photos"], len(content["skipped"]), content["references"]) == (3, 2, 5)
    rows = {row["method"]: row for row in content["rows"]}
    assert list(rows) == ["none", "mean", "welsh", "welsh + quantiles", "welsh + clusters"]
    # A photo's own histogram helps a photo's own colours.
    assert rows["welsh + quantiles"]["rmse"] < rows["none"]["rmse"]
    table = (out / "scores.md").read_text()
    assert table == done.stdout and f"| mean | {rows['mean']['rmse']:.4f} |" in table
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size == (6 * 200, 20 + 3 * 150)


def test_methods_with_a_network(weights: Path, photo_folder: Path, tmp_path: Path) -> None:
    arguments = ("--references", photo_folder, "--photos", photo_folder, "--side", "32",
                 "--methods", "nearest_neighbour", "--weights", weights, "--out", tmp_path)  # fmt: skip
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "scores.json").read_text())["rows"]
    assert rows[0]["method"] == "nearest_neighbour"
    assert len(list((tmp_path / "cache").iterdir())) == 1
    again = run(*arguments)
    assert "describing references" in done.stderr and "describing references" not in again.stderr
    kept = [
        {**row, "seconds": 0} for row in json.loads((tmp_path / "scores.json").read_text())["rows"]
    ]
    assert kept == [{**row, "seconds": 0} for row in rows]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--references", "none", "--photos", "{photos}"), "none: no such folder or file"),
        (("--references", "{empty}", "--photos", "{photos}"), "references: expected at least one"),
        (("--references", "{photos}", "--photos", "{empty}"), "--photos: expected at least one"),
        (("--references", "{photos}", "--photos", "{photos}", "--methods", "cheng",
          "--weights", "none"), "none: no such file"),
    ],
)  # fmt: skip
def test_wrong_arguments(
    arguments: tuple[str, ...], message: str, photo_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    folders = {"photos": photo_folder, "empty": tmp_path / "empty"}
    filled = [argument.format(**folders) for argument in arguments]
    if "--methods" not in filled:
        filled += ["--methods", "mean"]
    done = run(*filled, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("evaluate_baselines: error: ")
    assert message in done.stderr and "Traceback" not in done.stderr
