"""Tables 4 and 5 of a model that is there: each row is what a plain evaluation of it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autocolor.core.files import file_sha256
from autocolor.evaluation.evaluate import GREY, EvaluationProtocol, evaluate
from autocolor.histograms.decode import METHODS
from autocolor.imaging.images import ImageError, find_photos, read_image, write_image
from autocolor.paper.published import TABLE_5
from autocolor.paper.reproduction import Reproduction, ReproductionConfig
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


def config_of(model: Path, photos: list[Path], out: Path, **options: float) -> ReproductionConfig:
    return ReproductionConfig(Path(), photos, Path(), out, model=model, **options)


def test_rows_are_those_of_plain_evaluations(
    model_folder: Path, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = CountingNet(model_folder)
    colorizer = Colorizer(model_folder, net=net)
    monkeypatch.setattr(Reproduction, "colorizer", lambda self, model: colorizer)
    paths = find_photos(photo_folder)
    config = config_of(model_folder, paths, tmp_path, strength=0.6, seed=3)
    results = Reproduction(config).results(["table5"])
    assert net.runs == results.images == 3
    (table,) = results.tables
    assert [row.name for row in table.rows] == [GREY, *TABLE_5]
    for row in table.rows[1:]:
        keys = iter(file_sha256(path) for path in paths)
        method, _, fading = row.name.partition(" + ")

        def colorize(
            light: np.ndarray, method: str = method, fading: str = fading, keys: object = keys
        ) -> np.ndarray:
            rng = np.random.default_rng([int(next(keys)[:16], 16), 3])
            return colorizer.colorize(
                light, method=method, fading=bool(fading), strength=0.6, rng=rng
            )

        plain = evaluate(
            {row.name: colorize},
            paths,
            protocol=EvaluationProtocol(extras=False),
            gallery_size=0,
            progress=False,
        )
        assert results.scores[row.key].metrics.scores() == plain.scores[row.name]
    assert results.scores[GREY].metrics.scores() == plain.scores[GREY]


def test_table_4_and_one_prediction_for_both(
    model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    config = config_of(model_folder, find_photos(photo_folder), tmp_path)
    results = Reproduction(config).results(["table4", "table5"])
    assert [row.key for row in results.tables[0].rows] == [GREY, "model@chosen", "C", "Q", "E"]
    rmse = {key: scored.metrics.scores().rmse for key, scored in results.scores.items()}
    # The tiny model knows nothing, the true histogram much.
    assert max(rmse["Q"], rmse["E"]) < rmse["model@chosen"]
    with pytest.raises(ValueError, match="model: expected some of table4, .* got table1, fig7"):
        Reproduction(config).results(["table1", "table5", "fig7"])


def test_bad_photos_are_skipped_and_listed(
    model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    write_image(photos / "good.png", read_image(find_photos(photo_folder)[0]).rgb)
    (photos / "bad.png").write_text("no photo")
    Image.new("L", (9, 9), 100).save(photos / "grey.png")
    config = config_of(model_folder, find_photos(photos), tmp_path / "out")
    results = Reproduction(config).results(["table5"])
    assert results.images == 1
    assert [path.name for path, _ in results.skipped] == ["bad.png", "grey.png"]
    config = config_of(model_folder, [photos / "bad.png"], tmp_path / "other")
    with pytest.raises(ImageError, match=r"got none; the first was skipped: .*bad\.png"):
        Reproduction(config).results(["table5"])


@pytest.mark.parametrize("variant", ["lab_marginal", "lab_l2"])
def test_lab(
    tmp_path: Path, photo_folder: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def net(lightness: np.ndarray) -> tuple[np.ndarray, ...]:
        height, width = (side // 4 for side in lightness.shape)
        rows = np.random.default_rng(0).dirichlet(np.ones(8), size=(2, height, width))
        a, b = np.moveaxis(rows.astype(np.float32), -1, 1)
        return a, b

    Manifest("lab", variant, bins=8).save(tmp_path)
    (tmp_path / "weights.caffemodel").write_bytes(b"of the net above")
    colorizer = Colorizer(tmp_path, net=net)
    monkeypatch.setattr(Reproduction, "colorizer", lambda self, model: colorizer)
    config = config_of(tmp_path, find_photos(photo_folder), tmp_path / "out")
    if variant == "lab_l2":
        with pytest.raises(ValueError, match="a lab_l2 model predicts colours"):
            Reproduction(config).results(["table5"])
        return
    (table,) = Reproduction(config).results(["table5"]).tables
    assert [row.name for row in table.rows[1:]] == list(METHODS)
    assert not any(row.published for row in table.rows[1:])
    with pytest.raises(ValueError, match="table4: expected a model of hue and chroma, got lab_mar"):
        Reproduction(config).results(["table4"])


def test_wrong_options(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed: expected at least 0, got -1"):
        config_of(model_folder, [], tmp_path, seed=-1)
    with pytest.raises(ValueError, match="strength: expected a finite number >= 0"):
        config_of(model_folder, [], tmp_path, strength=-1)
