"""Evaluation over photo files and its report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autocolor.core.files import file_sha256
from autocolor.evaluation.evaluate import (
    GALLERY_CELL,
    GREY,
    EvaluationProtocol,
    evaluate,
    grey_image,
    read_color,
)
from autocolor.evaluation.gallery import draw_gallery, draw_worst_cases
from autocolor.evaluation.image_errors import PSNR_LIMIT
from autocolor.evaluation.metrics import ColorMetrics, paired_differences
from autocolor.evaluation.report import metrics_page, metrics_table, write_report
from autocolor.imaging.color import compose_rgb, lightness, rgb_to_hue_chroma
from autocolor.imaging.images import (
    ImageError,
    find_photos,
    fit_side,
    read_image,
    to_uint8,
    write_image,
)

FAST = EvaluationProtocol(extras=False)


def sepia(light: np.ndarray) -> np.ndarray:
    hue = np.full_like(light, 0.09)
    return compose_rgb(hue, np.full_like(light, 0.1), light)


def blue(light: np.ndarray) -> np.ndarray:
    hue = np.full_like(light, 0.6)
    return compose_rgb(hue, np.full_like(light, 0.2), light)


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
    methods = {"sepia": sepia, "blue": blue}
    evaluation = evaluate(methods, paths, progress=False)
    assert list(evaluation.metrics) == [GREY, "sepia", "blue"]
    metrics = {name: ColorMetrics(extras=True) for name in evaluation.metrics}
    for index, (path, photo) in enumerate(zip(paths, evaluation.photos, strict=True)):
        truth = read_image(path).rgb
        light = lightness(truth)
        assert (photo.index, photo.path, photo.label) == (index, path, None)
        assert (photo.height, photo.width) == light.shape
        for name, method in {GREY: grey_image, **methods}.items():
            key = file_sha256(path)
            assert photo.scores[name] == metrics[name].add(truth, method(light), key)
    for name, metric in metrics.items():
        assert evaluation.scores[name] == metric.scores()
        assert evaluation.intervals()[name] == metric.intervals()
    assert evaluation.differences()["blue"] == paired_differences(metrics["blue"], metrics[GREY])
    assert set(evaluation.differences(baseline="blue")) == {GREY, "sepia"}


def test_protocol(photo_folder: Path) -> None:
    paths = find_photos(photo_folder)
    protocol = EvaluationProtocol(48, "smaller", eight_bit=True, extras=False)
    evaluation = evaluate({"sepia": sepia}, paths, protocol=protocol, progress=False)
    metrics = ColorMetrics()
    for path, photo in zip(paths, evaluation.photos, strict=True):
        truth = fit_side(read_image(path).rgb, 48, "smaller")
        assert min(photo.height, photo.width) == 48
        rounded = to_uint8(sepia(lightness(truth))).astype(np.float32) / np.float32(255)
        assert photo.scores["sepia"] == metrics.add(truth, rounded, file_sha256(path))
    assert protocol.describe()["resolution"] == "smaller side reduced to 48 pixels"
    assert protocol.describe()["prediction"] == "rounded to 8 bit"
    assert "auc" not in protocol.describe() and "auc" in EvaluationProtocol().describe()
    with pytest.raises(ValueError, match="side: expected at least 1, got 0"):
        EvaluationProtocol(0)
    with pytest.raises(ValueError, match="side_of: expected 'larger' or 'smaller'"):
        EvaluationProtocol(5, "upper")  # type: ignore[arg-type]


def test_grey_photos_are_scored_unless_they_are_encoded_so(mixed_folder: Path) -> None:
    """As the paper's cval1k and ctest10k (section 4), which have naturally grey photos."""
    paths = find_photos(mixed_folder, recursive=True)
    evaluation = evaluate({"sepia": sepia}, paths, protocol=FAST, progress=False)
    assert len(evaluation.photos) == len(evaluation.gallery) == 4
    reasons = {path.name: reason for path, reason in evaluation.skipped}
    assert set(reasons) == {"text.jpg", "grey.png"}
    assert "not an image" in reasons["text.jpg"]
    assert "encoded as greyscale" in reasons["grey.png"]
    (grey,) = (photo for photo in evaluation.photos if photo.path.name == "grey_rgb.png")
    # Of an exactly grey photo "no colorization" is as exact as floats are.
    assert grey.scores[GREY].psnr == PSNR_LIMIT and grey.scores[GREY].rmse < 1e-5
    assert grey.scores["sepia"].psnr < 40 and grey.scores["sepia"].rmse > 0.01
    assert np.isfinite(evaluation.scores[GREY].psnr)


def test_references_need_colour_and_truths_do_not(tmp_path: Path) -> None:
    write_image(tmp_path / "grey.png", np.full((24, 24, 3), 0.5, np.float32))
    evaluation = evaluate({"sepia": sepia}, [tmp_path / "grey.png"], protocol=FAST, progress=False)
    assert len(evaluation.photos) == 1
    with pytest.raises(ImageError, match="has no colour"):
        read_color(tmp_path / "grey.png")


def test_a_photo_that_one_method_refuses_is_skipped_for_all(photo_folder: Path) -> None:
    def picky(light: np.ndarray) -> np.ndarray:
        if light.shape == (80, 120):
            raise ValueError("no cats")
        return sepia(light)

    paths = find_photos(photo_folder)
    methods = {"sepia": sepia, "picky": picky}
    evaluation = evaluate(methods, paths, protocol=FAST, progress=False)
    ((path, reason),) = evaluation.skipped
    assert path.name == "chelsea.jpg" and reason == f"{path}: picky: no cats"
    assert {metrics.images for metrics in evaluation.metrics.values()} == {2}
    assert evaluation.scores["picky"] == evaluation.scores["sepia"]


def test_a_photo_too_large_for_the_memory_is_skipped(photo_folder: Path) -> None:
    def greedy(light: np.ndarray) -> np.ndarray:
        raise MemoryError("Unable to allocate 9 TiB")

    paths = find_photos(photo_folder)
    with pytest.raises(ImageError, match="the first was skipped: .*too large for the memory here"):
        evaluate({"greedy": greedy}, paths, protocol=FAST, progress=False)


def test_no_photos(mixed_folder: Path) -> None:
    with pytest.raises(ImageError, match="got none"):
        evaluate({"sepia": sepia}, [], progress=False)
    with pytest.raises(ImageError, match=r"got none; the first was skipped: .*text\.jpg"):
        evaluate({"sepia": sepia}, [mixed_folder / "text.jpg"], progress=False)
    with pytest.raises(ValueError, match="'no colorization' is always scored"):
        evaluate({GREY: sepia}, [], progress=False)


def test_hash_tells_other_photos_apart(photo_folder: Path, tmp_path: Path) -> None:
    def digest(paths: list[Path]) -> str:
        return evaluate({}, paths, protocol=FAST, progress=False).photos_sha256

    paths = find_photos(photo_folder)
    first, again, fewer = digest(paths), digest(paths), digest(paths[1:])
    assert first == again != fewer
    renamed = tmp_path / "renamed.png"
    renamed.write_bytes(paths[0].read_bytes())
    assert digest([renamed, *paths[1:]]) != first
    changed = tmp_path / paths[0].name
    write_image(changed, 1 - read_image(paths[0]).rgb)
    assert digest([changed, *paths[1:]]) != first


@pytest.mark.parametrize(("size", "kept"), [(0, 0), (1, 1), (2, 2), (12, 3)])
def test_gallery_size(photo_folder: Path, size: int, kept: int) -> None:
    evaluation = evaluate(
        {"sepia": sepia},
        find_photos(photo_folder),
        protocol=FAST,
        gallery_size=size,
        progress=False,
    )
    assert len(evaluation.gallery) == kept


def test_gallery_pictures(photo_folder: Path) -> None:
    evaluation = evaluate(
        {"sepia": sepia}, find_photos(photo_folder), protocol=FAST, progress=False
    )
    for photo in evaluation.gallery:
        assert list(photo.pictures) == [GREY, "sepia", "original"]
        truth = read_image(photo.path).rgb  # smaller than a cell
        np.testing.assert_allclose(photo.pictures["original"], truth, atol=1e-6)
        np.testing.assert_allclose(photo.pictures["sepia"], sepia(lightness(truth)), atol=1e-6)
        assert photo.pictures[GREY].shape[0] <= GALLERY_CELL[0]


def test_worst_cases(photo_folder: Path) -> None:
    paths = find_photos(photo_folder)
    evaluation = evaluate(
        {"sepia": sepia, "blue": blue},
        paths,
        protocol=FAST,
        gallery_size=0,
        worst_size=2,
        progress=False,
    )
    assert [(case.method, case.metric) for case in evaluation.worst] == [
        ("sepia", "rmse"),
        ("sepia", "psnr"),
        ("blue", "rmse"),
        ("blue", "psnr"),
    ]
    for case in evaluation.worst:
        values = [getattr(photo.scores[case.method], case.metric) for photo in evaluation.photos]
        worst_first = sorted(values, reverse=case.metric == "rmse")[:2]
        found = [getattr(photo.scores[case.method], case.metric) for photo in case.photos]
        assert found == worst_first
        assert all(photo.pictures for photo in case.photos)
    assert not evaluation.gallery
    picture = draw_worst_cases(evaluation)
    assert picture is not None and picture.height > 8 * 60


def test_report(mixed_folder: Path, tmp_path: Path) -> None:
    paths = find_photos(mixed_folder, recursive=True)
    evaluation = evaluate({"sepia": sepia}, paths, worst_size=1, progress=False)
    folder = tmp_path / "new" / "report"
    write_report(evaluation, folder, methods={"sepia": {"strength": 1.5}})
    assert {path.name for path in folder.iterdir()} == {
        "metrics.csv",
        "metrics.json",
        "metrics.md",
        "gallery.png",
        "worst.png",
        "errors.png",
        "psnr.png",
    }

    content = json.loads((folder / "metrics.json").read_text())
    assert content["images"] == 4 and len(content["skipped"]) == 2
    assert content["photos_sha256"] == evaluation.photos_sha256
    assert content["protocol"]["resolution"] == "full"
    ours = content["methods"]["sepia"]
    assert ours["strength"] == 1.5 and ours["scores"] == evaluation.scores["sepia"].to_dict()
    interval = evaluation.intervals()["sepia"]["rmse"]
    assert ours["intervals"]["rmse"] == {"low": interval.low, "high": interval.high}
    difference = evaluation.differences()["sepia"]["psnr"]
    assert ours["minus no colorization"]["psnr"]["value"] == difference.value
    assert content["worst"][0]["photos"] == [str(evaluation.worst[0].photos[0].path)]

    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 2
    expected = [(photo, name) for photo in evaluation.photos for name in photo.scores]
    for row, (photo, name) in zip(rows, expected, strict=True):
        assert (row["photo"], row["method"], row["class"]) == (str(photo.path), name, "")
        assert (int(row["width"]), int(row["height"])) == (photo.width, photo.height)
        for column in ("rmse", "psnr", "root_mean_square", "auc", "balanced_auc", "ssim"):
            value = getattr(photo.scores[name], column)
            assert float(row[column]) == pytest.approx(value, abs=1e-6, nan_ok=True)
    for name in ("errors.png", "psnr.png"):
        with Image.open(folder / name) as plot:
            assert np.asarray(plot.convert("L")).std() > 10  # not blank

    text = (folder / "metrics.md").read_text()
    assert "Skipped 2:" in text and evaluation.photos_sha256 in text
    assert metrics_table(evaluation) in text and "class-balanced AuC" in text
    # A second report without pictures leaves none of the first.
    fewer = evaluate({"sepia": sepia}, paths, protocol=FAST, gallery_size=0, progress=False)
    write_report(fewer, folder, methods={})
    assert not (folder / "gallery.png").exists() and not (folder / "worst.png").exists()
    assert "AuC" not in (folder / "metrics.md").read_text()


def test_report_of_exact_predictions(photo_folder: Path, tmp_path: Path) -> None:
    """All have the largest PSNR there is, in the last bin of the plot."""
    truths = {}
    for path in find_photos(photo_folder):
        rgb = read_image(path).rgb
        truths[lightness(rgb).tobytes()] = rgb
    evaluation = evaluate(
        {"oracle": lambda light: truths[light.tobytes()]},
        find_photos(photo_folder),
        protocol=FAST,
        progress=False,
    )
    assert evaluation.scores["oracle"].psnr == pytest.approx(PSNR_LIMIT)
    write_report(evaluation, tmp_path, methods={})
    ours = json.loads((tmp_path / "metrics.json").read_text())["methods"]["oracle"]
    assert ours["scores"]["psnr"] == pytest.approx(58.9226, abs=5e-5)
    assert ours["limited_images"] == 3
    assert "| oracle | 0.0000 [0.0000, 0.0000] | 58.92 [58.92, 58.92] |" in metrics_page(evaluation)


def test_table(photo_folder: Path) -> None:
    evaluation = evaluate(
        {"sepia": sepia}, find_photos(photo_folder), protocol=FAST, progress=False
    )
    lines = metrics_table(evaluation).splitlines()
    assert lines[0].startswith("| 3 photos, full resolution | RMSE")
    expected, interval = evaluation.scores[GREY], evaluation.intervals()[GREY]
    low, high = interval["rmse"].low, interval["rmse"].high
    assert lines[2].startswith(f"| {GREY} | {expected.rmse:.4f} [{low:.4f}, {high:.4f}] |")
    assert lines[3].startswith("| sepia | ")


def test_gallery_shows_the_pictures(photo_folder: Path) -> None:
    evaluation = evaluate(
        {"sepia": sepia}, find_photos(photo_folder), protocol=FAST, progress=False
    )
    pixels = np.asarray(draw_gallery(evaluation.gallery), dtype=np.float32) / 255
    assert pixels.ndim == 3 and (pixels[0] == 1).all()
    # Thirds of the width: only the first has no colour.
    thirds = np.array_split(pixels, 3, axis=1)
    chroma = [float(rgb_to_hue_chroma(third)[1].max()) for third in thirds]
    assert chroma[0] == 0 and chroma[1] > 0.05 and chroma[2] > 0.2
    with pytest.raises(ValueError, match="photos: expected at least one for the gallery"):
        draw_gallery([])
