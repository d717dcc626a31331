"""The card of the shipped model is written as the person who releases it does."""

import json
import re

import pytest
from PIL import Image

from helpers.programs import ROOT, run_tool

pytestmark = pytest.mark.slow


def test_model_card(photo_folder, tmp_path):
    arguments = (
        "tools/release/model_card.py",
        "--photos",
        photo_folder,
        "--out",
        tmp_path,
        "--side",
        48,
        "--work",
        tmp_path / "work",
    )
    done = run_tool(*arguments, "--validation", photo_folder)
    card = (tmp_path / "model_card.md").read_text()
    assert done.stdout.strip() in card
    rmse = re.search(r"\| αβ RMSE \| ([\d.]+) \(([\d.]+) to ([\d.]+)\) \| ([\d.]+)", card)
    grey, low, high, shipped = map(float, rmse.groups())
    assert low <= grey <= high and shipped != grey
    assert "on which no choice was made, 3 photos, smaller side reduced to 48 pixels," in card
    assert "**Validation, by which the model was chosen**: 3 photos, smaller side" in card
    assert "% of the photos' " in card
    headings = re.findall(r"^#+ (.*)", card, re.MULTILINE)
    assert headings.index("Would more photos help?") < headings.index("Not tried")
    for name in re.findall(r"!\[.*?\]\((.*?)\)", card):
        with Image.open(tmp_path / name) as image:
            assert image.width <= 1000 and image.height > 100
    # A run that leaves the validation photos out keeps their numbers.
    run_tool(*arguments, "--also", f"three={photo_folder}")
    again = (tmp_path / "model_card.md").read_text()
    assert "**Validation, by which the model was chosen**: 3 photos" in again
    assert "**three**: 3 photos, smaller side reduced to 256 pixels" in again


def test_model_card_without_photos(tmp_path):
    done = run_tool(
        "tools/release/model_card.py", "--photos", tmp_path / "none", "--out", tmp_path, status=1
    )
    assert done.stderr == f"model_card: error: {tmp_path / 'none'}: expected a folder of photos\n"
    assert not (tmp_path / "model_card.md").exists()


def test_a_missing_photo_of_the_galleries_is_said_before_the_scores(photo_folder, tmp_path):
    arguments = ("--photos", photo_folder, "--themes", tmp_path, "--work", tmp_path / "work")
    done = run_tool("tools/release/model_card.py", *arguments, "--out", tmp_path, status=1)
    assert done.stderr == (
        f"model_card: error: {tmp_path}: expected a photo called astronaut; "
        "fetch_photos.py has it\n"
    )
    assert not list(tmp_path.iterdir())


def test_looks(photo_folder, tmp_path):
    arguments = (
        "tools/release/looks.py",
        "--photos",
        photo_folder,
        "--show",
        photo_folder,
        "--out",
        tmp_path,
        "--work",
        tmp_path / "work",
        "--count",
        2,
    )
    run_tool(*arguments)
    text = (tmp_path / "looks.md").read_text()
    assert "2 of the validation photos" in text
    assert {f"| {name} |" in text for name in ("brick", "vivid, coherent", "faithful")} == {True}
    grey, faithful, vivid = (
        float(re.search(rf"^\| {name} \| ([\d.]+)", text, re.MULTILINE).group(1))
        for name in ("grey", "faithful", "vivid")
    )
    assert len({grey, faithful, vivid}) == 3
    for name in re.findall(r"!\[.*?\]\((.*?)\)", text):
        with Image.open(tmp_path / name) as image:
            assert image.width > 800 and image.height > 300
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    assert len(kept) >= 2 + 4  # and the textures
    run_tool(*arguments)  # the network does not run again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()} == kept
    assert (tmp_path / "looks.md").read_text() == text


def test_looks_without_photos(tmp_path):
    done = run_tool(
        "tools/release/looks.py",
        "--photos",
        tmp_path / "none",
        "--out",
        tmp_path,
        "--show",
        tmp_path / "none",
        status=1,
    )
    assert done.stderr == f"looks: error: --show {tmp_path / 'none'}: expected a folder of photos\n"


def test_the_card_is_of_the_shipped_model():
    card = (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8")
    folder = ROOT / "python" / "autocolor" / "runtime" / "shipped_model"
    manifest = json.loads((folder / "model.json").read_text())
    assert f"`{manifest['variant']}`;\nstrength" in card.replace("  ", "")
    assert f"strength {manifest['strength']:.2f}" in card
    assert f"{(folder / 'weights.npz').stat().st_size / 1e6:.1f} MB" in card
    for name in re.findall(r"!\[.*?\]\((.*?)\)", card):
        assert (ROOT / "docs" / name).is_file()
