"""The shipped model is trained, and its card written, as the person who releases it does."""

import csv
import hashlib
import json
import re
from dataclasses import astuple

import pytest
import skimage.data
from PIL import Image

from autocolor.data.photos import PhotoEntry
from helpers.programs import ROOT, run_tool

pytestmark = pytest.mark.slow

COLUMNS = ("split", "source", "package", "file", "member", "group", "sha256")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eight small photos of as many packages as fetch_photos.py leaves them; one is held out."""
    folder = tmp_path_factory.mktemp("photos")
    source = Image.fromarray(skimage.data.coffee())
    rows = []
    for number in range(8):
        split = "test" if number == 7 else "extra" if number > 3 else "train"
        part = source.crop((40 * number, 20 * number, 40 * number + 160, 20 * number + 120))
        part.save(folder / "part.png")
        content = (folder / "part.png").read_bytes()
        row = (split, "apt", f"package{number}", "photo.png", "", "g")
        rows.append(PhotoEntry(*row, hashlib.sha256(content).hexdigest()))
        path = folder / rows[-1].path
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    with (folder / "photos.tsv").open("w", newline="") as stream:
        csv.writer(stream, delimiter="\t", lineterminator="\n").writerows(
            [COLUMNS, *map(astuple, rows)]
        )
    return folder


def test_train_shipped(photos, tmp_path):
    package = tmp_path / "package"
    arguments = ("--photos", photos, "--list", photos / "photos.tsv", "--out", tmp_path / "out",
                 "--package", package, "--variants", "hue_chroma", "lab_l2", "--views", 2,
                 "--crop", 32, "--iterations", 4, "--batch", 128, "--processes", 1)  # fmt: skip
    (held_out,) = photos.glob("test/package7/g/*.png")
    held_out.unlink()  # it is not asked for
    done = run_tool("tools/release/train_shipped.py", *arguments)
    assert "does best on the 1 validation photos; training on all photos" in done.stdout
    assert {path.name for path in package.iterdir()} == {
        "deploy.prototxt", "head.npz", "model.json", "training.json",
    }  # fmt: skip
    training = json.loads((package / "training.json").read_text())
    assert training["training_photos"] == 6 and training["validation_photos"] == 1
    assert set(training["validation"]) == {"hue_chroma", "lab_l2"}
    manifest = json.loads((package / "model.json").read_text())
    assert manifest["variant"] == training["variant"]
    assert manifest["strength"] == training["validation"][training["variant"]]["strength"]
    snapshots = sorted((tmp_path / "out" / "models").rglob("snapshot_iter_4.caffemodel"))
    assert len(snapshots) == 3  # both variants and the final training
    times = [path.stat().st_mtime_ns for path in snapshots]
    again = run_tool("tools/release/train_shipped.py", *arguments)
    assert again.stdout == done.stdout
    assert [path.stat().st_mtime_ns for path in snapshots] == times


def test_missing_photos_are_named(photos, tmp_path):
    done = run_tool("tools/release/train_shipped.py", "--photos", tmp_path, "--list", photos / "photos.tsv",
               "--out", tmp_path / "out", status=1)  # fmt: skip
    assert "7 listed photos are missing, such as train/package0/g/photo-" in done.stderr
    assert not (tmp_path / "out").exists()


def test_model_card(photo_folder, tmp_path):
    done = run_tool(
        "tools/release/model_card.py", "--photos", photo_folder, "--out", tmp_path, "--side", 48
    )
    card = (tmp_path / "model_card.md").read_text()
    assert done.stdout.strip() in card
    rmse = re.search(r"\| αβ RMSE \| ([\d.]+) \(([\d.]+) to ([\d.]+)\) \| ([\d.]+)", card)
    grey, low, high, shipped = map(float, rmse.groups())
    assert low <= grey <= high and shipped != grey
    assert "On 3 held-out photos" in card
    for name in re.findall(r"!\[.*?\]\((.*?)\)", card):
        with Image.open(tmp_path / name) as image:
            assert image.width <= 1000 and image.height > 100


def test_model_card_without_photos(tmp_path):
    done = run_tool(
        "tools/release/model_card.py", "--photos", tmp_path / "none", "--out", tmp_path, status=1
    )
    assert done.stderr == f"model_card: error: {tmp_path / 'none'}: expected a folder of photos\n"
    assert not (tmp_path / "model_card.md").exists()


def test_the_card_is_of_the_shipped_model():
    card = (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8")
    folder = ROOT / "python" / "autocolor" / "runtime" / "shipped_model"
    manifest = json.loads((folder / "model.json").read_text())
    assert f"`{manifest['variant']}`;\nstrength" in card.replace("  ", "")
    assert f"strength {manifest['strength']:.2f}" in card
    assert f"{(folder / 'head.npz').stat().st_size / 1e6:.1f} MB" in card
    for name in re.findall(r"!\[.*?\]\((.*?)\)", card):
        assert (ROOT / "docs" / name).is_file()
