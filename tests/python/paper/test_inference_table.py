"""Table 5 over photo files: each row is what a plain evaluation of that method gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autocolor.evaluation.evaluate import GREY, EvaluationProtocol, evaluate
from autocolor.histograms.decode import METHODS
from autocolor.imaging.images import find_photos, read_image, write_image
from autocolor.paper.inference_table import (
    TABLE_5,
    InferenceMethod,
    compare_methods,
    inference_markdown,
    write_inference_table,
)
from autocolor.runtime.caffe_net import CaffeNet
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import Manifest


class CountingNet:
    """The tiny model's net, counting its runs."""

    def __init__(self, folder: Path) -> None:
        self.net = CaffeNet(folder / "deploy.prototxt", folder / "weights.caffemodel")
        self.runs = 0

    def __call__(self, lightness: np.ndarray) -> tuple[np.ndarray, ...]:
        self.runs += 1
        return self.net(lightness)


def test_the_papers_rows() -> None:
    names = [row.name for row in TABLE_5]
    assert names == [
        "sample", "mode", "expectation", "expectation + CF", "median", "median + CF"
    ]  # fmt: skip


def test_rows_are_those_of_plain_evaluations(model_folder: Path, photo_folder: Path) -> None:
    net = CountingNet(model_folder)
    colorizer = Colorizer(model_folder, net=net)
    paths = find_photos(photo_folder)
    table = compare_methods(colorizer, paths, strength=0.6, progress=False)
    assert net.runs == table.images == 3
    for row, scores in table.rows:
        numbers = iter(range(3))

        def colorize(
            light: np.ndarray, row: InferenceMethod = row, numbers: Iterator[int] = numbers
        ) -> np.ndarray:
            rng = np.random.default_rng([0, next(numbers)])
            return colorizer.colorize(
                light, method=row.method, fading=row.fading, strength=0.6, rng=rng
            )

        plain = evaluate(
            {row.name: colorize},
            paths,
            protocol=EvaluationProtocol(extras=False),
            gallery_size=0,
            progress=False,
        )
        assert scores == plain.scores[row.name]
        assert (table.grey, table.photos_sha256) == (plain.scores[GREY], plain.photos_sha256)


def test_seed_matters_to_samples_only(model_folder: Path, photo_folder: Path) -> None:
    colorizer, paths = Colorizer(model_folder), find_photos(photo_folder)
    first, again, other = (
        compare_methods(colorizer, paths, seed=seed, progress=False).rows for seed in (0, 0, 1)
    )
    assert first == again
    assert first[0] != other[0] and first[1:] == other[1:]


def test_bad_photos_are_skipped_and_listed(
    model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    write_image(photos / "good.png", read_image(find_photos(photo_folder)[0]).rgb)
    (photos / "bad.png").write_text("no photo")
    Image.new("RGB", (9, 9), (100, 100, 100)).save(photos / "grey.png")
    colorizer = Colorizer(model_folder)
    table = compare_methods(colorizer, find_photos(photos), progress=False)
    assert table.images == 1
    assert [path.name for path, _ in table.skipped] == ["bad.png", "grey.png"]
    assert "Skipped 2:" in inference_markdown(table)
    with pytest.raises(ValueError, match=r"received none; the first was skipped: .*bad\.png"):
        compare_methods(colorizer, [photos / "bad.png"], progress=False)


def test_report(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    table = compare_methods(Colorizer(model_folder), find_photos(photo_folder), progress=False)
    write_inference_table(table, tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    content = json.loads((folder / "inference.json").read_text())
    assert content["images"] == 3 and content["variant"] == "hue_chroma"
    assert content["photos_sha256"] == table.photos_sha256
    for stored, (row, scores) in zip(content["rows"], table.rows, strict=True):
        assert (stored["method"], stored["fading"]) == (row.method, row.fading)
        assert (stored["rmse"], stored["psnr"]) == (scores.rmse, scores.psnr)
    assert content["rows"][5]["published"] == {"rmse": 0.299, "psnr": 24.45}
    text = (folder / "inference.md").read_text()
    last = table.rows[-1][1]
    assert f"| median + CF | {last.rmse:.3f} | {last.psnr:.2f} dB | 0.299 | 24.45 dB |" in text
    best = min(table.rows, key=lambda pair: pair[1].rmse)[0].name
    assert f"RMSE, best first: {best}, " in text
    with Image.open(folder / "inference.png") as plot:
        assert plot.size == (1200, 420)


@pytest.mark.parametrize("variant", ["lab_marginal", "lab_l2"])
def test_lab(tmp_path: Path, photo_folder: Path, variant: str) -> None:
    def net(lightness: np.ndarray) -> tuple[np.ndarray, ...]:
        height, width = (side // 4 for side in lightness.shape)
        rng = np.random.default_rng(0)
        if variant == "lab_l2":
            return (rng.normal(size=(2, height, width)).astype(np.float32),)
        rows = rng.dirichlet(np.ones(8), size=(2, height, width)).astype(np.float32)
        a, b = np.moveaxis(rows, -1, 1)
        return a, b

    Manifest("lab", variant, bins=8).save(tmp_path)
    colorizer = Colorizer(tmp_path, net=net)
    paths = find_photos(photo_folder)
    if variant == "lab_l2":
        with pytest.raises(ValueError, match="a lab_l2 model predicts colours"):
            compare_methods(colorizer, paths, progress=False)
        return
    table = compare_methods(colorizer, paths, progress=False)
    assert [row.name for row, _ in table.rows] == list(METHODS)
    assert "paper" not in inference_markdown(table)
    write_inference_table(table, tmp_path)
    assert (tmp_path / "inference.png").is_file()
