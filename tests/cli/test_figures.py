"""tools/paper/figures.py: every figure is drawn of small photos with a tiny model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from autocolor.imaging.images import write_image
from helpers.programs import run_main, run_tool

TOOL = "tools/paper/figures.py"


def draw(*arguments: object, out: Path, status: int = 0) -> str:
    run = run_tool if status == 0 else run_main
    done = run(TOOL, *arguments, "--out", out, "--cache", out / "cache", status=status)
    return done.stdout if status == 0 else done.stderr


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """Three photos, one that cannot be read and one without colour."""
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    (folder / "broken.jpg").write_bytes(b"no photo")
    Image.new("L", (50, 40), 90).save(folder / "grey.png")
    return folder


def pictures(out: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in sorted(out.glob("*.jpg")):
        with Image.open(path) as image:
            assert np.ptp(np.asarray(image)) > 100, path
            found[path.stem] = image.size
    return found


@pytest.mark.slow
def test_figures_of_one_model(model_folder: Path, photos: Path, tmp_path: Path) -> None:
    names = ("fig3", "fig4", "fig9", "fig10", "fig11")
    out = tmp_path / "out"
    text = draw(*names, "--model", model_folder, "--photos", photos, "--width", 700, out=out)
    sizes = pictures(out)
    assert sorted(sizes) == sorted(names) and max(width for width, _ in sizes.values()) == 700
    assert f"written to {out / 'fig9.jpg'}" in text
    few = tmp_path / "few"
    draw("fig4", "--model", model_folder, "--photos", photos, "--rows", 1, out=few)
    # The seed's first photo may be one that cannot be scored; with all of them, three are shown.
    assert pictures(few)["fig4"][1] < pictures(out)["fig4"][1] * 1100 / 700


@pytest.mark.slow
def test_old_photos_need_no_colour(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    Image.fromarray(skimage.data.camera()[::8, ::8]).save(folder / "camera.png")
    draw("fig15", "--model", model_folder, "--photos", folder, out=tmp_path)
    assert "fig15" in pictures(tmp_path)


@pytest.mark.slow
def test_figures_with_references(model_folder: Path, photos: Path, tmp_path: Path) -> None:
    common = ("--model", model_folder, "--photos", photos, "--rows", 2)
    draw("fig13", "fig14", *common, "--references", photos, out=tmp_path)
    assert sorted(pictures(tmp_path)) == ["fig13", "fig14"]


@pytest.mark.slow
def test_the_figure_of_scenes(model_folder: Path, photos: Path, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    for name, rgb in (("face", skimage.data.astronaut()), ("café", skimage.data.coffee())):
        (scenes / name).mkdir(parents=True)
        for number in range(4):  # parts that do not overlap
            part = rgb[100 * number :, 120 * number :][:40, :60]
            write_image(scenes / name / f"{number}.png", part.astype(np.float32) / 255)
    common = ("fig6", "--model", model_folder, "--photos", photos)
    draw(*common, "--scenes", scenes, "--rows", 1, out=tmp_path)
    assert sorted(pictures(tmp_path)) == ["fig6"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("fig6",), 2, "fig6: expected --scenes"),
        (("fig14",), 2, "fig14: expected --references"),
        (("fig4", "--rows", "0"), 2, "--rows: expected at least 1, got 0"),
        (("fig99",), 2, "invalid choice: 'fig99'"),
    ],
)
def test_wrong_arguments(
    arguments: tuple[str, ...],
    status: int,
    message: str,
    model_folder: Path,
    photos: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    common = ("--model", model_folder, "--photos", photos)
    last = draw(*arguments, *common, out=out, status=status).splitlines()[-1]
    assert message in last and "error: " in last
    assert not list(tmp_path.glob("out/*.jpg"))
