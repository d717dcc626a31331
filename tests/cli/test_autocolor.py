"""The autocolor command, end to end with real Caffe and a tiny model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import autocolor
from autocolor.batch.files import plan_outputs
from autocolor.cli import main
from autocolor.core.errors import InputError
from autocolor.imaging.color import lightness, rgb_to_hue_chroma
from autocolor.imaging.images import find_photos, read_image, write_image
from autocolor.runtime.colorizer import Colorizer
from helpers.films import Film, write_film
from helpers.programs import run
from helpers.tiff_writer import Page, write_tiff

REPORTS = Path(__file__).resolve().parents[1] / "fixtures" / "reports"


@pytest.fixture(autouse=True)
def use_model(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOLOR_MODEL", str(model_folder))


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the photo folder, to write into."""
    return Path(shutil.copytree(photo_folder, tmp_path / "photos"))


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_output_file(photos: Path, tmp_path: Path, model_folder: Path) -> None:
    out = tmp_path / "new folder" / "out.png"
    assert main([str(photos / "coffee.png"), "-o", str(out)]) == 0
    light = lightness(read_image(photos / "coffee.png").rgb)
    written = read_image(out).rgb
    # 8-bit rounding of three channels, half a level each.
    expected = Colorizer(model_folder).colorize(light, look="vivid")
    np.testing.assert_allclose(written, expected, atol=0.502 / 255)
    np.testing.assert_allclose(lightness(written), light, atol=0.502 / 255)
    assert rgb_to_hue_chroma(written)[1].max() > 0.1


def test_jpeg_output(photos: Path, tmp_path: Path) -> None:
    assert main([str(photos / "coffee.png"), "-o", str(tmp_path / "out.jpg")]) == 0
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.format == "JPEG" and image.size == (90, 60)


def test_default_output_is_beside_the_photo(photos: Path) -> None:
    assert main([str(photos / "chelsea.jpg")]) == 0
    assert "chelsea_color.png" in names(photos)


def test_folder_and_pattern(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert main([str(photos), str(photos / "*.jpg"), "-o", str(out)]) == 0
    assert names(out) == ["astronaut.png", "chelsea.png", "coffee.png"]
    assert "3 colorized, 0 failed" in capsys.readouterr().out


def test_second_run_over_a_folder_leaves_results_out(photos: Path) -> None:
    for _ in range(2):
        assert main([str(photos)]) == 0
        assert len(names(photos)) == 6
    for _ in range(2):
        assert main([str(photos), "--samples", "2", "--uncertainty"]) == 0
        assert len(names(photos)) == 6 + 9


def test_bad_files_are_skipped(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (photos / "notes.jpg").write_text("no photo")
    content = (photos / "chelsea.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(content[: len(content) // 2])
    out = tmp_path / "out"
    assert main([str(photos), str(tmp_path / "missing.png"), "-o", str(out)]) == 1
    assert names(out) == ["astronaut.png", "chelsea.png", "coffee.png"]
    captured = capsys.readouterr()
    assert "3 colorized, 3 failed" in captured.out
    for text in ("notes.jpg: not an image", "cut.jpg: cannot be read", "missing.png: no such file"):
        assert f"{text}" in captured.err


@pytest.mark.parametrize("size", [(1, 1), (7, 3000)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size[::-1], 120).save(tmp_path / "a.png")
    assert main([str(tmp_path / "a.png")]) == 0
    assert read_image(tmp_path / "a_color.png").rgb.shape[:2] == size


def test_16_bit_cmyk_and_grey_rgb(tmp_path: Path, photo_folder: Path) -> None:
    light = lightness(read_image(photo_folder / "coffee.png").rgb)
    Image.fromarray(np.rint(light * 65535).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.rint(light * 255).astype(np.uint8)).convert("RGB").save(
        tmp_path / "scan.jpg", quality=100
    )
    Image.open(photo_folder / "coffee.png").convert("CMYK").save(tmp_path / "print.jpg")
    assert main([str(tmp_path), "-o", str(tmp_path / "out")]) == 0
    for source in ("deep.png", "scan.jpg", "print.jpg"):
        given = lightness(read_image(tmp_path / source).rgb)
        written = read_image((tmp_path / "out" / source).with_suffix(".png")).rgb
        np.testing.assert_allclose(lightness(written), given, atol=0.502 / 255)
        assert rgb_to_hue_chroma(written)[1].max() > 0.1


def test_transparency_is_kept(tmp_path: Path, photo_folder: Path) -> None:
    rgb = read_image(photo_folder / "coffee.png").rgb
    alpha = np.tile(np.linspace(0, 1, 90, dtype=np.float32), (60, 1))
    write_image(tmp_path / "a.png", rgb, alpha)
    assert main([str(tmp_path / "a.png")]) == 0
    kept = read_image(tmp_path / "a_color.png").alpha
    assert kept is not None
    np.testing.assert_allclose(kept, alpha, atol=0.502 / 255)
    # JPEG cannot hold it, which is said before anything is computed.
    assert main([str(tmp_path / "a.png"), "-o", str(tmp_path / "a.jpg")]) == 1
    assert not (tmp_path / "a.jpg").exists()


def test_options(photos: Path, tmp_path: Path, model_folder: Path) -> None:
    photo, out = photos / "coffee.png", tmp_path / "out.png"
    light = lightness(read_image(photo).rgb)
    colorizer = Colorizer(model_folder, working_side=32)
    arguments = ["--hue", "mode", "--method", "mode", "--no-fading", "--strength", "0.5"]
    assert main([str(photo), "-o", str(out), "--size", "32", *arguments]) == 0
    expected = colorizer.colorize(light, hue="mode", method="mode", fading=False, strength=0.5)
    np.testing.assert_allclose(read_image(out).rgb, expected, atol=0.502 / 255)


@pytest.mark.parametrize(
    ("arguments", "look"),
    [
        (["--look", "faithful"], {}),
        (["--method", "median"], {"method": "median"}),
        (["--look", "vivid", "--method", "median"], {"method": "median", "look": "vivid"}),
        (["--strength", "0.5"], {"strength": 0.5, "look": "vivid"}),
    ],
)
def test_look(
    arguments: list[str], look: dict[str, Any], photos: Path, tmp_path: Path, model_folder: Path
) -> None:
    photo, out = photos / "coffee.png", tmp_path / "out.png"
    assert main([str(photo), "-o", str(out), *arguments]) == 0
    expected = Colorizer(model_folder).colorize(lightness(read_image(photo).rgb), **look)
    np.testing.assert_allclose(read_image(out).rgb, expected, atol=0.502 / 255)


def test_compare(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert main([str(photos / "coffee.png"), "-o", str(out), "--compare"]) == 0
    both = read_image(out).rgb
    assert both.shape == (60, 180, 3)
    assert rgb_to_hue_chroma(both[:, :90])[1].max() == 0
    assert rgb_to_hue_chroma(both[:, 90:])[1].max() > 0.1


# ---- usage errors: nothing is written, status 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photos}", "-o", "out.png"], "-o out.png: expected a folder for 3 photos"),
        (["{photos}/coffee.png", "-o", "out.gif"], "-o out.gif: expected a file ending in .bmp"),
        (["{photos}/coffee.png", "-o", "{photos}/coffee.png"], "is one of the photos"),
        (["{photos}/*.bmp"], "no file matches"),
        (["{empty}"], "no photos"),
        (["{photos}", "--strength", "-1"], "--strength: expected a finite number >= 0"),
        (["{photos}", "--size", "0"], "--size: expected 1 to "),
        (
            ["{photos}", "--device", "tpu"],
            "--device: expected 'cpu', 'gpu' or 'gpu:NUMBER', got 'tpu'",
        ),
        (["{photos}", "--seed", "-1"], "--seed: expected at least 0, got -1"),
        (["{photos}", "--samples", "0"], "--samples: expected at least 1, got 0"),
        (["{photos}", "--smoothing", "1"], "--smoothing: expected a number in [0, 1), got 1.0"),
        (["{photos}", "--hint", "1,1=#ff0000"], "--hint: expected one photo, got 3"),
        (["{photos}/coffee.png", "--hint", "red"], "--hint: expected X,Y=COLOUR, such as"),
        (["{photos}/coffee.png", "--hint", "1,1=rud"], "--hint: expected a colour such as #b03020"),
        (["{photos}/coffee.png", "--hint", "1,1=#11223344"], "--hint: expected a colour such as"),
        (["{photos}", "--contact-sheet", "a.gif"], "a.gif: expected a file name ending in"),
        (
            ["{photos}/coffee.png", "--hint", "400,30=#c02020"],
            "--hint: expected x from 0 to 89 and y from 0 to 59",
        ),
        (
            ["{photos}", "--reference", "a.npz", "--transfer", "quantile"],
            "--reference: expected an image to match quantiles, got a.npz",
        ),
        (["{photos}", "--hue", "median"], "invalid choice: 'median'"),
        ([], "the following arguments are required: PHOTO"),
    ],
)
def test_usage_errors(
    arguments: list[str], message: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = names(photos)
    (tmp_path / "empty").mkdir()
    given = [text.format(photos=photos, empty=tmp_path / "empty") for text in arguments]
    try:
        status = main(given)
    except SystemExit as error:  # argparse
        status = int(error.code or 0)
    assert status == 2
    assert message in capsys.readouterr().err
    assert names(photos) == before


def test_photo_through_a_link_is_not_overwritten(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(photos / "coffee.png")
    with pytest.raises(InputError, match="is one of the photos"):
        plan_outputs([str(photos / "coffee.png")], str(tmp_path / "link.png"))


def test_names_with_brackets_are_files(photos: Path) -> None:
    # Brackets are also glob syntax; a file of that name goes first.
    (photos / "coffee.png").rename(photos / "coffee[1].png")
    planned = plan_outputs([str(photos / "coffee[1].png")], None)
    assert planned.jobs == [(photos / "coffee[1].png", photos / "coffee[1]_color.png")]


# ---- models


def test_shipped_model_is_the_default(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOCOLOR_MODEL")
    photo, out = photos / "coffee.png", tmp_path / "out.png"
    assert main([str(photo), "-o", str(out)]) == 0
    expected = autocolor.load_model().colorize(lightness(read_image(photo).rgb), look="vivid")
    np.testing.assert_allclose(read_image(out).rgb, expected, atol=1 / 255)


def test_model_option_wins(
    photos: Path,
    tmp_path: Path,
    make_model: Callable[[Path], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTOCOLOR_MODEL", str(tmp_path / "none"))
    model = make_model(tmp_path / "model")
    assert main([str(photos / "coffee.png"), "--model", str(model)]) == 0


def test_broken_model(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(photos), "--model", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith("autocolor: error: ")


def test_as_a_program(photos: Path, model_folder: Path) -> None:
    command = [sys.executable, "-m", "autocolor.cli", *map(str, find_photos(photos))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 colorized, 0 failed" in done.stdout
    # Nothing of Caffe's log of layers.
    assert "layer" not in done.stdout + done.stderr


def colors(path: Path) -> np.ndarray:
    return read_image(path).rgb


def test_diverse_samples_lean_towards_different_hues(photos: Path) -> None:
    photo = photos / "coffee.png"
    assert main([str(photo), "--samples", "3", "--strength", "1"]) == 0
    images = [colors(photos / f"coffee_color_{number}.png") for number in (1, 2, 3)]
    reds = [(image[..., 0] - image.mean(axis=-1)).mean() for image in images]
    blues = [(image[..., 2] - image.mean(axis=-1)).mean() for image in images]
    assert np.argmax(reds) == 0  # 0, 120 and 240 degrees
    assert np.argmax(blues) == 2
    light = lightness(read_image(photo).rgb)
    for image in images:
        np.testing.assert_allclose(lightness(image), light, atol=0.502 / 255)


def test_random_samples_follow_the_seed(photos: Path, tmp_path: Path) -> None:
    photo = str(photos / "coffee.png")

    def sampled(seed: int) -> list[np.ndarray]:
        out = tmp_path / f"{seed}.png"
        assert (
            main(
                [photo, "-o", str(out), "--method", "sample", "--samples", "2", "--seed", str(seed)]
            )
            == 0
        )
        return [colors(tmp_path / f"{seed}_{number}.png") for number in (1, 2)]

    first, again, other = sampled(1), sampled(1), sampled(2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_reference(photos: Path, tmp_path: Path) -> None:
    """The colours come closer to those of a reference that is all green."""
    green = np.zeros((20, 30, 3), np.float32)
    green[:] = (0.2, 0.6, 0.2)
    write_image(tmp_path / "green.png", green)
    photo, out = str(photos / "coffee.png"), tmp_path / "out.png"
    assert main([photo, "-o", str(out), "--strength", "1"]) == 0
    automatic = colors(out)
    for transfer in ("energy", "quantile"):
        assert (
            main(
                [
                    photo,
                    "-o",
                    str(out),
                    "--reference",
                    str(tmp_path / "green.png"),
                    "--transfer",
                    transfer,
                ]
            )
            == 0
        )
        changed = colors(out)
        excess = changed[..., 1] - changed[..., [0, 2]].mean(axis=-1)
        before = automatic[..., 1] - automatic[..., [0, 2]].mean(axis=-1)
        assert excess.mean() > before.mean() + 0.02, transfer


def test_hint_colours_its_place(photos: Path, tmp_path: Path) -> None:
    photo, out = str(photos / "coffee.png"), tmp_path / "out.png"
    assert main([photo, "-o", str(out), "--hint", "40,30=#c02020"]) == 0
    hue, chroma = rgb_to_hue_chroma(colors(out)[30, 40])
    assert min(hue, 1 - hue) < 1 / 32
    assert chroma > 0.1


def test_uncertainty_and_histograms(photos: Path, tmp_path: Path) -> None:
    out, saved = tmp_path / "out.png", tmp_path / "new" / "histograms.npz"
    assert (
        main(
            [
                str(photos / "coffee.png"),
                "-o",
                str(out),
                "--uncertainty",
                "--histograms",
                str(saved),
            ]
        )
        == 0
    )
    assert colors(tmp_path / "out_uncertainty.png").shape == (60, 90, 3)
    with np.load(saved) as arrays:
        assert set(arrays) == {"hue", "chroma", "cells_per_pixel"}
        np.testing.assert_allclose(arrays["hue"].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reference", "nowhere.png"), "nowhere.png: no such file"),
        (("--reference", "nowhere.npz"), "nowhere.npz: no such file"),
        (("--device", "gpu"), "built for the CPU only"),
        (("--model", "nowhere"), "nowhere: no such model folder"),
    ],
)
def test_what_is_not_there_exits_with_1(
    photos: Path, capsys: pytest.CaptureFixture, arguments: tuple[str, ...], message: str
) -> None:
    assert main([str(photos / "coffee.png"), *arguments]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("autocolor: error:")
    assert message in lines[0]


def test_every_page_of_a_tiff(photo_folder: Path, tmp_path: Path) -> None:
    pages = [
        Image.open(photo_folder / name).convert("L") for name in ("coffee.png", "astronaut.png")
    ]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    assert main([str(tmp_path / "scan.tif"), "-o", str(tmp_path / "out.png")]) == 0
    for number, page in enumerate(pages, start=1):
        written = lightness(colors(tmp_path / f"out_page_{number}.png"))
        np.testing.assert_allclose(written, np.asarray(page) / 255, atol=0.502 / 255)


def test_the_names_that_are_printed_are_those_written(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    pages = [Image.open(photos / "coffee.png").convert("L")] * 2
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    for arguments in (
        [str(photos)],
        [
            str(photos / "coffee.png"),
            "--samples",
            "2",
            "--uncertainty",
            "--histograms",
            str(out / "coffee.npz"),
        ],
        [
            str(tmp_path / "scan.tif"),
            "--samples",
            "2",
            "--uncertainty",
            "--histograms",
            str(out / "scan.npz"),
        ],
    ):
        assert main([*arguments, "-o", f"{out}/"]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if " -> " in line]
        printed = [name for line in lines for name in line.split(" -> ")[1].split(", ")]
        assert sorted(printed) == sorted(str(path) for path in out.iterdir())
        shutil.rmtree(out)


def test_a_folder_named_like_a_photo_or_a_video_is_passed_over(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("film.mp4", "scans.tif"):
        (photos / name).mkdir()
    out = tmp_path / "out"
    assert main([str(photos), "-o", str(out)]) == 0
    assert names(out) == ["astronaut.png", "chelsea.png", "coffee.png"]
    assert "3 colorized, 0 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_photos_of_every_kind(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The right result or a clear error for each, and the bad ones stop nothing."""
    folder = tmp_path / "photos"
    folder.mkdir()
    source = Image.open(photo_folder / "coffee.png").convert("RGB")
    grey = source.convert("L")
    Image.merge("RGB", [grey] * 3).save(folder / "grey_as_rgb.jpg")
    source.resize((1, 1)).save(folder / "1x1.png")
    source.resize((7, 3000)).save(folder / "7x3000.png")
    source.resize((4000, 3000)).save(folder / "4000x3000.jpg")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "16_bit.png")
    source.convert("RGBA").save(folder / "rgba.png")
    source.convert("CMYK").save(folder / "cmyk.jpg")
    whole = (folder / "grey_as_rgb.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("not a photo")
    assert main([str(folder), "-o", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    good = {path.stem for path in folder.iterdir()} - {"truncated", "text"}
    assert names(tmp_path / "out") == sorted(f"{name}.png" for name in good)
    assert f"{len(good)} colorized, 2 failed" in captured.out
    errors = [line for line in captured.err.splitlines() if "autocolor: error:" in line]
    assert len(errors) == 2
    for name in ("truncated.jpg", "text.jpg"):
        assert any(name in line for line in errors)
    for path in (tmp_path / "out").iterdir():
        (original,) = folder.glob(f"{path.stem}.*")
        with Image.open(path) as written, Image.open(original) as read:
            assert written.size == read.size
        light = lightness(read_image(original).rgb)
        # 8-bit rounding of three channels, half a level each.
        np.testing.assert_allclose(lightness(colors(path)), light, atol=0.502 / 255)


def test_scans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reported files that were coloured as noise or as negatives; another kind is refused."""
    folder = tmp_path / "scans"
    folder.mkdir()
    names_of_scans = ("g12", "g16_miniswhite", "or6_RGBA", "or8_L16", "rgb16_planar")
    for name in names_of_scans:
        shutil.copy(REPORTS / f"{name}.tif", folder)
    signed = Page(np.zeros((4, 4, 1), np.uint8), 8, 1, tags={339: (3, [2])})
    (folder / "signed.tif").write_bytes(write_tiff([signed]))
    assert main([str(folder), "-o", str(tmp_path / "out")]) == 1
    assert names(tmp_path / "out") == [f"{name}.png" for name in names_of_scans]
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1 and "signed.tif: cannot be read: expected unsigned" in errors[0]
    with np.load(REPORTS / "expected.npz") as expected:
        for name in names_of_scans:
            light = lightness(read_image(tmp_path / "out" / f"{name}.png").rgb)
            np.testing.assert_allclose(light, expected[f"{name}.tif"], atol=0.7 / 255)


def test_result_has_the_exif_of_the_photo(photos: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A maker"
    with Image.open(photos / "chelsea.jpg") as image:
        image.save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300))
    assert main([str(tmp_path / "a.jpg"), "-o", str(tmp_path / "b.png")]) == 0
    with Image.open(tmp_path / "b.png") as image:
        assert image.size == (80, 120)
        assert (image.getexif()[0x0112], image.getexif()[0x010F]) == (1, "A maker")
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_videos(photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(photo_folder / "coffee.png", folder)
    frame = np.asarray(Image.open(photo_folder / "coffee.png").convert("RGB"))
    with av.open(str(folder / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 90, 60, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    (folder / "broken.mkv").write_text("not a video")
    assert main([str(folder), "-o", str(tmp_path / "out"), "--smoothing", "0.5"]) == 1
    assert names(tmp_path / "out") == ["coffee.png", "film.mp4"]
    with av.open(str(tmp_path / "out" / "film.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    film = str(folder / "film.mp4")
    for wrong, said in (
        (["--hint", "1,1=#ff0000"], "--hint: expected photos"),
        (["--samples", "2"], "--samples: expected photos"),
        (["--method", "sample"], "--method: expected photos"),
        (["--hue", "sample"], "--hue: expected photos"),
        (["-o", "out.png"], "expected a photo for a photo"),
        (["--smoothing", "1"], "--smoothing: expected a number in [0, 1)"),
    ):
        capsys.readouterr()
        assert main([film, *wrong]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_of_films_with_any_sound_and_a_gif(model_folder: Path, tmp_path: Path) -> None:
    """Sound that no MP4 holds once ended the batch; an animated GIF gave its first frame."""
    folder = tmp_path / "films"
    folder.mkdir()
    write_film(folder / "adpcm.avi", Film(".avi", "mpeg4", sounds=("adpcm_ms",)))
    write_film(folder / "moving.gif", Film(".gif", "gif", "gray"))
    write_film(folder / "pcm.avi", Film(".avi", "mpeg4", sounds=("pcm_s16le",)))
    (folder / "broken.avi").write_text("not a film")
    command = [sys.executable, "-m", "autocolor.cli", folder, "--model", model_folder]
    done = run(*command, "-o", f"{tmp_path}/out/", status=1)
    assert names(tmp_path / "out") == ["adpcm.mp4", "moving.mp4", "pcm.mp4"]
    for name in names(tmp_path / "out"):
        with av.open(str(tmp_path / "out" / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 12
            assert len(container.streams.audio) == (name != "moving.mp4")
    assert "adpcm.avi: audio 1 (adpcm_ms) becomes aac (stereo)" in done.stderr
    assert "broken.avi: cannot be read: " in done.stderr and "Traceback" not in done.stderr
    refused = run(*command[:-3], folder / "pcm.avi", "-o", tmp_path / "out.avi", status=2)
    assert "out.avi: expected a file ending in" in refused.stderr
