"""Evaluation over photo files and its report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autocolor.color import compose_rgb, lightness, rgb_to_hue_chroma
from autocolor.evaluation import evaluate
from autocolor.images import find_photos, read_image, write_image
from autocolor.metrics import ColorMetrics
from autocolor.report import draw_gallery, metrics_table, write_report


def sepia(light: np.ndarray) -> np.ndarray:
    hue = np.full_like(light, 0.09)
    return compose_rgb(hue, np.full_like(light, 0.1), light)


def grey(light: np.ndarray) -> np.ndarray:
    return np.repeat(light[..., None], 3, axis=-1)


@pytest.fixture
def mixed_folder(photo_folder: Path, tmp_path: Path) -> Path:
    """Return a folder with the three photos and three that cannot be scored."""
    folder = tmp_path / "mixed"
    (folder / "more").mkdir(parents=True)
    for number, path in enumerate(find_photos(photo_folder)):
        (folder / ("more" if number else "") / path.name).write_bytes(path.read_bytes())
    (folder / "text.jpg").write_text("no photo")
    Image.new("L", (9, 9), 100).save(folder / "grey.png")
    Image.new("RGB", (9, 9), (100, 100, 100)).save(folder / "grey_rgb.png")
    return folder


def test_scores_are_those_of_the_metrics(photo_folder: Path) -> None:
    paths = find_photos(photo_folder)
    evaluation = evaluate(sepia, paths, progress=False)
    model, baseline = ColorMetrics(), ColorMetrics()
    for path, scores in zip(paths, evaluation.photos, strict=True):
        truth = read_image(path).rgb
        light = lightness(truth)
        assert scores.model == model.add(truth, sepia(light))
        assert scores.grey == baseline.add(truth, grey(light))
        assert (scores.height, scores.width) == light.shape
    assert evaluation.model == model.scores()
    assert evaluation.grey == baseline.scores()


def test_bad_and_colourless_photos_are_listed(mixed_folder: Path) -> None:
    evaluation = evaluate(sepia, find_photos(mixed_folder, recursive=True), progress=False)
    assert len(evaluation.photos) == 3
    reasons = {path.name: reason for path, reason in evaluation.skipped}
    assert set(reasons) == {"text.jpg", "grey.png", "grey_rgb.png"}
    assert "not an image" in reasons["text.jpg"]
    assert "no colour" in reasons["grey.png"] and "no colour" in reasons["grey_rgb.png"]


def test_no_photos(mixed_folder: Path) -> None:
    with pytest.raises(ValueError, match="received none"):
        evaluate(sepia, [], progress=False)
    with pytest.raises(ValueError, match=r"received none; the first was skipped: .*text\.jpg"):
        evaluate(sepia, [mixed_folder / "text.jpg"], progress=False)


def test_hash_tells_other_photos_apart(photo_folder: Path, tmp_path: Path) -> None:
    paths = find_photos(photo_folder)
    first, again, fewer = (
        evaluate(grey, chosen, progress=False).photos_sha256 for chosen in (paths, paths, paths[1:])
    )
    assert first == again != fewer
    renamed = tmp_path / "renamed.png"
    renamed.write_bytes(paths[0].read_bytes())
    assert evaluate(grey, [renamed, *paths[1:]], progress=False).photos_sha256 != first
    changed = tmp_path / paths[0].name
    write_image(changed, 1 - read_image(paths[0]).rgb)
    assert evaluate(grey, [changed, *paths[1:]], progress=False).photos_sha256 != first


@pytest.mark.parametrize(("size", "kept"), [(0, 0), (1, 1), (2, 2), (12, 3)])
def test_gallery_size(photo_folder: Path, size: int, kept: int) -> None:
    photos = find_photos(photo_folder)
    evaluation = evaluate(sepia, photos, gallery_size=size, progress=False)
    assert len(evaluation.gallery) == kept


def test_report(mixed_folder: Path, tmp_path: Path) -> None:
    evaluation = evaluate(sepia, find_photos(mixed_folder, recursive=True), progress=False)
    folder = tmp_path / "new" / "report"
    write_report(evaluation, folder, model="sepia", strength=1.5)
    assert {path.name for path in folder.iterdir()} == {
        "metrics.csv",
        "metrics.json",
        "metrics.md",
        "gallery.png",
    }

    content = json.loads((folder / "metrics.json").read_text())
    assert content["model"] == {"rmse": evaluation.model.rmse, "psnr": evaluation.model.psnr}
    assert content["grey"] == {"rmse": evaluation.grey.rmse, "psnr": evaluation.grey.psnr}
    assert content["images"] == 3 and len(content["skipped"]) == 3
    assert (content["model_name"], content["strength"]) == ("sepia", 1.5)
    assert content["photos_sha256"] == evaluation.photos_sha256
    assert content["protocol"]["resolution"] == "full"

    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, photo in zip(rows, evaluation.photos, strict=True):
        assert row["name"] == photo.path.name
        assert (int(row["width"]), int(row["height"])) == (photo.width, photo.height)
        for column, value in (
            ("rmse", photo.model.rmse),
            ("psnr", photo.model.psnr),
            ("grey_rmse", photo.grey.rmse),
            ("grey_psnr", photo.grey.psnr),
        ):
            assert float(row[column]) == pytest.approx(value, abs=1e-6)


def test_table(photo_folder: Path) -> None:
    evaluation = evaluate(sepia, find_photos(photo_folder), progress=False)
    lines = metrics_table(evaluation, "sepia").splitlines()
    assert lines[0].startswith("| 3 photos")
    expected = evaluation.grey
    assert lines[2] == f"| no colorization | {expected.rmse:.3f} | {expected.psnr:.2f} dB |"
    assert lines[3].startswith("| sepia | ")


def test_gallery_shows_the_pictures(photo_folder: Path) -> None:
    evaluation = evaluate(sepia, find_photos(photo_folder), progress=False)
    pixels = np.asarray(draw_gallery(evaluation.gallery), dtype=np.float32) / 255
    assert pixels.ndim == 3 and (pixels[0] == 1).all()
    # Thirds of the width: only the first has no colour.
    thirds = np.array_split(pixels, 3, axis=1)
    chroma = [float(rgb_to_hue_chroma(third)[1].max()) for third in thirds]
    assert chroma[0] == 0 and chroma[1] > 0.05 and chroma[2] > 0.2
