"""Batches of photo files: bad ones, and samples that do not depend on the others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from autocolor.batch.colorize import FileOptions, colorize_file, colorize_files
from autocolor.control.edits import Edits
from autocolor.control.hints import Hint
from autocolor.core.errors import InputError
from autocolor.histograms.decode import DecodeOptions
from autocolor.imaging.color import lightness
from autocolor.imaging.images import find_photos, image_size, read_image
from autocolor.runtime.colorizer import Colorizer


def test_bad_files_do_not_stop_the_rest(
    model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    (folder / "bad.jpg").write_text("no photo")
    out = tmp_path / "out"
    jobs = [(path, out / f"{path.stem}.png") for path in find_photos(folder)]
    results = list(colorize_files(Colorizer(model_folder), jobs))
    assert [(result.photo, result.colorized) for result in results] == [
        (photo, [] if photo.name == "bad.jpg" else [output]) for photo, output in jobs
    ]
    errors = {result.photo.name: result.error for result in results if result.error}
    assert list(errors) == ["bad.jpg"] and "not an image" in errors["bad.jpg"]
    assert sorted(os.listdir(out)) == ["astronaut.png", "chelsea.png", "coffee.png"]


def test_results_are_those_of_the_colorizer(
    model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    colorizer = Colorizer(model_folder)
    paths = find_photos(photo_folder)
    jobs = [(path, tmp_path / f"{path.stem}.png") for path in paths]
    options = FileOptions(DecodeOptions(method="sample"), seed=5)
    for result in colorize_files(colorizer, jobs, options):
        (output,) = result.colorized
        assert not result.error
        expected = colorizer.colorize(
            lightness(read_image(result.photo).rgb), method="sample", rng=np.random.default_rng(5)
        )
        np.testing.assert_allclose(read_image(output).rgb, expected, atol=0.502 / 255)
    # The last one alone.
    colorize_file(colorizer, paths[-1], tmp_path / "alone.png", options)
    assert (tmp_path / "alone.png").read_bytes() == jobs[-1][1].read_bytes()


def test_an_option_that_does_not_fit_a_photo_is_said_so(
    model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    jobs = [(path, tmp_path / f"{path.stem}.png") for path in find_photos(photo_folder)]
    options = FileOptions(edits=Edits(hints=[Hint(9999, 0, (1, 0, 0))]))
    for result in colorize_files(Colorizer(model_folder), jobs, options):
        assert isinstance(result.wrong_option, InputError)
        height, width = image_size(result.photo)
        assert result.error == (
            f"{result.photo}: hint: expected x from 0 to {width - 1} and y from 0 to {height - 1}, "
            "got x = 0, y = 9999"
        )
