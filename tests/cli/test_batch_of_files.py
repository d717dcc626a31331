"""Folders, patterns and names as people have them: nothing is lost, and nothing ends the rest."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from autocolor.batch.files import plan_outputs
from autocolor.cli import main
from autocolor.core.errors import InputError
from autocolor.imaging.color import lightness
from autocolor.imaging.images import read_image, resize, write_image
from helpers.films import Film, write_film
from helpers.programs import run_tool, wait_until


@pytest.fixture(autouse=True)
def use_model(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOLOR_MODEL", str(model_folder))


@pytest.fixture
def photo(photo_folder: Path) -> Path:
    return photo_folder / "coffee.png"


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "autocolor.cli", *map(str, arguments)]


# ---- names


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_names_that_the_terminal_cannot_show(encoding: str, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in (b"a.png", b"b\xe4.png", "日本.png".encode(), b"c\n.png", b"z.png"):
        shutil.copy(photo, os.fsencode(folder) + b"/" + name)
    (folder / "e\udcff.png").write_text("no photo")
    ran = subprocess.run(
        command(folder, "-o", tmp_path / "out"),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    assert len(lines) == 6 and lines[-1] == b"5 colorized, 1 failed"
    errors = [line for line in ran.stderr.splitlines() if b"error" in line]
    assert len(errors) == 1 and rb"e\udcff.png: not an image" in errors[0]
    assert b"Traceback" not in ran.stderr
    assert len(tree(tmp_path / "out")) == 5


@pytest.mark.parametrize("letter", ["a", "é", "\udce4"])
def test_the_longest_names(letter: str, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    longest = (255 - len(".png")) // len(os.fsencode(letter))
    stems = [letter * (longest - shorter) for shorter in (0, 1, 8)]
    for stem in stems:
        shutil.copy(photo, folder / f"{stem}.png")
    options = [str(folder), "--uncertainty", "--samples", "2"]
    for _ in range(2):  # the second run leaves the results out
        assert main(options) == 0
        assert len(tree(folder)) == 3 * (1 + 3)
    assert main([str(folder / f"{stems[0]}.png"), "-o", str(folder / f"{'x' * 251}.png")]) == 0


@pytest.mark.parametrize("output", [None, "out"])
def test_photos_of_one_name_get_results_of_their_own(
    output: str | None, photo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    image = Image.open(photo).convert("L")
    for name in ("scan.jpg", "scan.tif", "scan_jpg.bmp", "other.png"):
        image.save(folder / name)
    into = ["-o", str(tmp_path / output)] if output else []
    end = "" if output else "_color"
    for _ in range(2):
        assert main([str(folder), *into]) == 0
        results = set(tree(tmp_path / output if output else folder))
        expected = {f"{stem}{end}.png" for stem in ("scan_jpg", "scan_tif", "scan_jpg_2", "other")}
        assert expected <= results and len(results) == (4 if output else 8)


def test_no_page_replaces_the_result_of_another_photo(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    page = Image.open(photo).convert("L")
    page.save(
        folder / "scan.tif", save_all=True, append_images=[page.point(lambda value: 255 - value)]
    )
    page.transpose(Image.Transpose.ROTATE_90).save(folder / "scan_page_2.jpg")
    out = tmp_path / "out"
    assert main([str(folder), "-o", str(out)]) == 1
    error = capsys.readouterr().err
    assert (
        f"scan.tif: its result {out}/scan_page_2.png would replace that of {folder}/scan_page_2.jpg"
        in error
    )
    assert Image.open(out / "scan_page_2.png").size == page.size[::-1]


def test_photos_of_one_name_from_two_folders_are_numbered(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").touch()
    given = [str(tmp_path / "a" / "x.jpg"), str(tmp_path / "b" / "x.jpg")]
    names = [output.name for _, output in plan_outputs(given, "out/").jobs]
    assert names == ["x_jpg.png", "x_jpg_2.png"]


# ---- which files


def test_subfolders_are_colorized_and_results_keep_the_tree(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    for name in ("a.png", "1990/a.png", "1990/summer/b.png", "film.mp4/c.png", ".hidden/d.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder / name)
    out = folder / "colorized"  # within, so a second run meets it
    for _ in range(2):
        assert main([str(folder), "-o", str(out)]) == 0
        assert tree(out) == ["1990/a.png", "1990/summer/b.png", "a.png", "film.mp4/c.png"]
    assert "4 colorized, 0 failed" in capsys.readouterr().out
    for _ in range(2):
        assert main([str(folder / "1990")]) == 0
        assert tree(folder / "1990") == [
            "a.png",
            "a_color.png",
            "summer/b.png",
            "summer/b_color.png",
        ]


def test_what_is_left_out_is_counted(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photo, tmp_path / "a.png")
    for name in ("raw.CR2", "b.cr2", "notes.txt", "README", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    assert main([str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert line == (
        "autocolor: left out: 2 × .cr2, 1 × .txt, 1 × file without an ending, 1 × link to a folder"
    )
    assert main([str(tmp_path)]) == 0
    assert "1 × result of an earlier run" in capsys.readouterr().err


def test_a_second_run_over_a_pattern_leaves_results_out(photo: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "my_color.png"):  # the last is no result, whatever it is called
        shutil.copy(photo, tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    for _ in range(2):
        assert main([str(tmp_path / "*.png")]) == 0
        assert len(tree(tmp_path)) == 6
    # As the shell expands it.
    assert main([str(path) for path in tmp_path.iterdir() if path.is_file()]) == 0
    assert len(tree(tmp_path)) == 6
    # What is named alone is meant.
    assert main([str(tmp_path / "a_color.png")]) == 0
    assert (tmp_path / "a_color_color.png").exists()


@pytest.mark.parametrize("suffix", [".jfif", ".jp2", ".avif", ".ppm", ".tga"])
def test_more_formats_are_found_in_folders(suffix: str, photo: Path, tmp_path: Path) -> None:
    kind = {".jfif": "JPEG", ".jp2": "JPEG2000"}.get(suffix)
    Image.open(photo).convert("RGB").save(tmp_path / f"a{suffix}", kind)
    assert main([str(tmp_path)]) == 0
    assert read_image(tmp_path / "a_color.png").rgb.shape == (60, 90, 3)


def test_photos_of_iphones(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heif = pytest.importorskip("pillow_heif")
    image = Image.open(photo).convert("RGB")
    heif.from_pillow(image).save(tmp_path / "a.heic", quality=95)
    image.save(tmp_path / "b.HEIC", "JPEG")  # as some programs call any photo
    assert main([str(tmp_path)]) == 0
    for name in ("a_color.png", "b_color.png"):
        found = lightness(read_image(tmp_path / name).rgb)
        difference = found - lightness(read_image(photo).rgb)
        assert np.sqrt(np.mean(difference**2)) < 0.04  # lossy; another photo is 0.2 away
    # Where the package is not installed, the line says so, and the other file is read.
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert main([str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert tree(tmp_path / "out") == ["b.png"]
    assert (
        "a.heic: not an image that can be read without pillow-heif; `pip" in capsys.readouterr().err
    )


def test_odd_files_end_no_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has its result or one plain line; what is left of a file is said, too."""
    coffee = Image.fromarray(skimage.data.coffee()).resize((60, 40))
    frames = [coffee.rotate(angle) for angle in (0, 90, 180)]
    kept = {
        "animated.png": frames[0],
        "moving.webp": frames[0],
        "cmyk.jpg": coffee.convert("CMYK"),
        "deep.png": Image.fromarray(np.full((30, 20), 30_000, np.uint16)),
        "one pixel.png": coffee.resize((1, 1)),
        "thin.png": coffee.resize((1, 900)),
        "👵 \"quoted\" 'x' $HOME ;.jpg": coffee,
        "a..jpg.png": coffee,
        "-o.png": coffee,
    }
    for name, image in kept.items():
        several = (
            {"save_all": True, "append_images": frames[1:]}
            if name in ("animated.png", "moving.webp")
            else {}
        )
        image.save(tmp_path / name, **several)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("Dear diary")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cmyk.jpg").read_bytes()[:400])
    assert main([str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert f"{len(kept)} colorized, 3 failed" in said.out
    for name, image in kept.items():
        with Image.open(tmp_path / "out" / f"{Path(name).stem}.png") as result:
            assert result.size == image.size, name
    told = {
        name: f"{tmp_path}/{name}: has 3 pictures, of which the first was colorized"
        for name in ("animated.png", "moving.webp")
    }
    told |= {
        "empty.jpg": "empty.jpg: not an image: the file is empty",
        "text.jpg": "text.jpg: not an image that can be read",
        "cut.png": "cut.png: cannot be read: ",
    }
    lines = [line for line in said.err.splitlines() if line.startswith("autocolor: ")]
    for name, text in told.items():
        assert [text in line for line in lines].count(True) == 1, name
    assert len(lines) == len(told)


def test_pipes_devices_and_broken_links_are_refused_at_once(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photo, tmp_path / "z.png")
    os.mkfifo(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.mp4")
    (tmp_path / "c.png").symlink_to("/dev/zero")
    (tmp_path / "d.png").symlink_to(tmp_path / "nowhere")
    out = tmp_path / "out"
    for resume in ([], ["--resume"]):
        assert main([str(tmp_path), "-o", str(out), *resume]) == 1
        assert tree(out) == ["z.png"]
        errors = capsys.readouterr().err
        for text in (
            "a.png: expected a file, got a named pipe",
            "d.png: no such file",
            "b.mp4: expected a file, got a named",
            "c.png: expected a file, got a device",
        ):
            assert f"error: {tmp_path / text}" in errors
    assert main([str(tmp_path / "z.png"), "--reference", str(tmp_path / "a.png")]) == 1
    assert "a.png: expected a file, got a named pipe" in capsys.readouterr().err
    os.mkfifo(tmp_path / "e.npz")
    assert main([str(tmp_path / "z.png"), "--reference", str(tmp_path / "e.npz")]) == 1
    assert "e.npz: expected a file, got a named pipe" in capsys.readouterr().err


@pytest.mark.slow
def test_pipes_in_lists_are_refused_by_the_tools(photo_folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    good = photo_folder / "chelsea.jpg"
    (tmp_path / "list.txt").write_text(f"{good}\n{tmp_path / 'a.png'}\n")
    lists = ("--photos", tmp_path / "list.txt", "--out", tmp_path / "out")
    run_tool("data_prep/build_lmdb.py", *lists, "--side", "32", "--minimum-side", "16")
    skipped = (tmp_path / "out.skipped.tsv").read_text()
    assert "a.png: expected a file, got a named pipe" in skipped and "chelsea" not in skipped
    model = os.environ["AUTOCOLOR_MODEL"]
    run_tool("tools/evaluate.py", "--model", model, *lists)
    assert "a.png: expected a file, got a named pipe" in (tmp_path / "out/metrics.md").read_text()
    os.mkfifo(tmp_path / "list")
    for tool in ("data_prep/build_lmdb.py", "tools/evaluate.py"):
        ended = run_tool(tool, "--photos", tmp_path / "list", "--out", tmp_path / "no", status=None)
        assert ended.returncode in (1, 2)
        assert "list: expected a file, got a named pipe" in ended.stderr


def test_a_subfolder_that_cannot_be_searched_is_an_error(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photo, tmp_path / "a.png")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def scan(path: str) -> object:  # root may read what nobody may read
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    assert main([str(tmp_path)]) == 1
    assert "closed: cannot be searched: Permission denied" in capsys.readouterr().err
    assert (tmp_path / "a_color.png").exists()


def test_a_result_never_replaces_a_photo(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match="is one of the photos"):
        plan_outputs([str(tmp_path / "a.png")], str(tmp_path / "a.png"))


def test_a_folder_can_be_its_own_output(photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, tmp_path / "a.png")
    Image.open(photo).save(tmp_path / "b.bmp")
    for _ in range(2):  # the second time, results are not taken for photos
        assert main([str(tmp_path), "-o", f"{tmp_path}/"]) == 0
        assert tree(tmp_path) == ["a.png", "a_color.png", "b.bmp", "b_color.png"]


@pytest.mark.parametrize("pattern", ["*", "**"])
def test_results_below_a_pattern_are_left_out(
    pattern: str,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(photo, tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        # `*` as the shell expands it, to files and folders; `**` as it is.
        given = sorted(os.listdir()) if pattern == "*" else [pattern]
        assert main([*given, "-o", "colorized"]) == 0
        assert tree(tmp_path) == ["a.png", "colorized/a.png"]
    left_out = "folder of results" if pattern == "*" else "result of an earlier run"
    assert f"1 × {left_out}" in capsys.readouterr().err


def test_an_output_below_a_file_is_a_wrong_argument(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in ("file/", "file/below/", "file/a.png"):
        with pytest.raises(InputError, match="expected a folder, but .*file is a file"):
            plan_outputs([str(photo)], f"{tmp_path}/{output}")


# ---- one bad file


@pytest.mark.parametrize(
    "error", [ValueError("odd\nvalue"), OSError("disk"), KeyError("x"), MemoryError()]
)
def test_whatever_goes_wrong_with_one_file_the_rest_goes_on(
    error: Exception,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        shutil.copy(photo, tmp_path / name)

    def read(path: Path, page: int = 0, **options: object) -> object:
        if path.name == "b.png":
            raise error
        return read_image(path, page)

    monkeypatch.setattr("autocolor.batch.colorize.read_image", read)
    assert main([str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert tree(tmp_path / "out") == ["a.png", "c.png"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and f"{tmp_path / 'b.png'}: " in lines[0]


# ---- stopped, and gone on


def test_resume_does_only_what_is_missing(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    pages = [Image.open(photo).convert("L")] * 2
    pages[0].save(folder / "scan.tif", save_all=True, append_images=pages[1:])
    for name in ("a.png", "b.png"):
        shutil.copy(photo, folder / name)
    given = [str(folder), "-o", str(out), "--uncertainty"]
    assert main(given) == 0
    first = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert len(first) == 2 * 2 + 2 * 2
    (out / "b.png").unlink()
    (out / "scan_page_2_uncertainty.png").unlink()
    capsys.readouterr()
    assert main([*given, "--resume"]) == 0
    again = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    kept = {path.name for path in first if again[path] == first[path]}
    assert set(again) == set(first) and kept == {"a.png", "a_uncertainty.png"}
    assert "3 colorized (1 of them before), 0 failed" in capsys.readouterr().out
    # A photo that was changed since is done anew, and without the option all are.
    Image.open(photo).rotate(180).save(folder / "a.png")
    assert main([*given, "--resume"]) == 0
    assert (out / "a.png").stat().st_mtime_ns > first[out / "a.png"]
    before = (out / "b.png").stat().st_mtime_ns
    assert main(given) == 0
    assert (out / "b.png").stat().st_mtime_ns > before


def test_results_of_another_photo_of_that_name_are_kept(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cameras number alike: neither is `b`'s scan left out by --resume, nor is `a`'s result lost."""
    out = tmp_path / "out"
    for place, turn in (("a", 0), ("b", 180)):
        (tmp_path / place).mkdir()
        Image.open(photo).rotate(turn).save(tmp_path / place / "scan.png")
    assert main([str(tmp_path / "a"), "-o", str(out)]) == 0
    of_a = (out / "scan.png").read_bytes()
    for resume in ([], ["--resume"]):
        capsys.readouterr()
        assert main([str(tmp_path / "b"), "-o", str(out), *resume]) == 1
        assert "scan.png would replace that of another photo" in capsys.readouterr().err
        assert (out / "scan.png").read_bytes() == of_a
    # Who names the file has asked for it; a photo that was moved, or changed in its place, is itself.
    assert main([str(tmp_path / "b/scan.png"), "-o", str(out / "scan.png")]) == 0
    assert (out / "scan.png").read_bytes() != of_a
    Image.open(photo).rotate(90).save(tmp_path / "b/scan.png")
    assert main([str(tmp_path / "b"), "-o", str(out), "--resume"]) == 0
    assert "(was there)" not in capsys.readouterr().out
    (tmp_path / "b").rename(tmp_path / "c")
    assert main([str(tmp_path / "c"), "-o", str(out), "--resume"]) == 0
    assert "(was there)" in capsys.readouterr().out


def test_a_film_among_photos_refuses_their_options_alone(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    shutil.copy(photo, folder / "a.png")
    write_film(folder / "film.avi", Film(".avi", "mpeg4"))
    assert main([str(folder), "-o", str(out), "--compare"]) == 1
    assert f"compare: expected photos, got {folder / 'film.avi'}" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["a.png"]
    assert main([str(folder / "film.avi"), "-o", str(out), "--compare"]) == 2


@pytest.mark.slow
def test_killed_anywhere_it_goes_on(photo: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for number in range(40):
        shutil.copy(photo, folder / f"{number:02}.png")
    process = subprocess.Popen(
        command(folder, "-o", out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: out.is_dir() and len(tree(out)) >= 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {name for name in tree(out) if not name.startswith(".")}
    assert 3 <= len(done) < 40
    times = {name: (out / name).stat().st_mtime_ns for name in done}
    again = subprocess.run(
        command(folder, "-o", out, "--resume"), capture_output=True, text=True, check=True
    )
    assert f"40 colorized ({len(done)} of them before), 0 failed" in again.stdout
    assert all((out / name).stat().st_mtime_ns == time for name, time in times.items())
    assert len([name for name in tree(out) if not name.startswith(".")]) == 40


@pytest.mark.slow
def test_ctrl_c_while_photos_are_colorized(photo: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for number in range(200):
        shutil.copy(photo, folder / f"{number:03}.png")
    process = subprocess.Popen(
        command(folder, "-o", out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: out.is_dir() and len(tree(out)) >= 3, process)
    process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "autocolor: stopped" and "Traceback" not in errors
    assert not [name for name in tree(out) if "partial" in name]


@pytest.mark.slow
def test_head_ends_it(photo: Path, tmp_path: Path) -> None:
    for number in range(30):
        shutil.copy(photo, tmp_path / f"{number:02}.png")
    process = subprocess.Popen(
        command(tmp_path, "-o", tmp_path / "out"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read().decode()
    assert process.wait() == 141
    assert errors.splitlines()[-1] == "autocolor: stopped, as its output is not read any more"
    assert "Traceback" not in errors


# ---- what is shown


def test_progress_shows_the_time_that_is_left(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        shutil.copy(photo, tmp_path / name)
    assert main([str(tmp_path)]) == 0
    assert "| 2/2 [00:0" in capsys.readouterr().err


def test_contact_sheet(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    given = [str(photo_folder), "-o", str(tmp_path / "out"), "--contact-sheet", str(sheet)]
    assert main(given) == 0
    assert f"contact sheet: {sheet}" in capsys.readouterr().out
    pixels = read_image(sheet).rgb
    assert pixels.shape == (230 + 12, 3 * 424 + 12, 3)
    # astronaut.png, 96 × 96, in its cell of 200: not enlarged, grey at the left, colour at the right.
    grey = pixels[12 + 52 : 12 + 148, 12 + 52 : 12 + 148]
    colour = pixels[12 + 52 : 12 + 148, 12 + 202 + 52 : 12 + 202 + 148]
    original = read_image(photo_folder / "astronaut.png").rgb.mean(axis=-1)
    np.testing.assert_allclose(grey, np.repeat(original[..., None], 3, -1), atol=0.502 / 255)
    np.testing.assert_array_equal(colour, read_image(tmp_path / "out" / "astronaut.png").rgb)
    # Those of an earlier run are on it, too.
    sheet.unlink()
    assert main([*given, "--resume"]) == 0
    np.testing.assert_array_equal(read_image(sheet).rgb, pixels)


@pytest.mark.slow
def test_contact_sheet_of_many_pages(photo: Path, tmp_path: Path) -> None:
    pages = [Image.open(photo).convert("L")] * 50
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    sheet = tmp_path / "sheet.jpg"
    given = [str(tmp_path / "scan.tif"), "-o", str(tmp_path / "out/"), "--compare"]
    assert main([*given, "--contact-sheet", str(sheet)]) == 0
    assert [Image.open(tmp_path / name).height for name in ("sheet.jpg", "sheet_2.jpg")] == [
        12 * 230 + 12,
        230 + 12,
    ]


def test_a_contact_sheet_never_replaces_a_photo_or_a_result(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photo, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    for name in ("a.png", "a_color.png"):
        assert main([str(tmp_path), "--contact-sheet", str(tmp_path / name)]) == 2
        assert "--contact-sheet: " in (error := capsys.readouterr().err)
        assert f"{name} is one of the photos or results" in error
    assert tree(tmp_path) == ["a.png"] and (tmp_path / "a.png").read_bytes() == before


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_contact_sheet_is_no_photo_of_the_next_run(
    suffix: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photo, tmp_path / "a.png")
    sheet = f"sheet.{suffix}"
    for _ in range(2):
        assert main([str(tmp_path), "--contact-sheet", str(tmp_path / sheet)]) == 0
        assert tree(tmp_path) == ["a.png", "a_color.png", sheet]
    assert "1 × contact sheet" in capsys.readouterr().err


# ---- old photos


def sepia(grey: np.ndarray) -> np.ndarray:
    """A print on yellowed paper, whose blue channel is noisy."""
    ink, paper = np.array([0.25, 0.17, 0.11]), np.array([0.93, 0.84, 0.66])
    noise = np.random.default_rng(0).normal(size=(*grey.shape, 3)) * [0.01, 0.01, 0.06]
    return np.clip(ink + (paper - ink) * grey[..., None] + noise, 0, 1).astype(np.float32)


def test_a_sepia_print_is_read_with_little_noise(tmp_path: Path) -> None:
    grey = resize(skimage.data.camera().astype(np.float32) / 255, (200, 200))
    write_image(tmp_path / "scan.png", sepia(grey))
    read = {}
    for mix in ("auto", "mean", "print"):
        out = tmp_path / f"{mix}.png"
        assert main([str(tmp_path / "scan.png"), "-o", str(out), "--grey", mix]) == 0
        read[mix] = lightness(read_image(out).rgb)
    correlation = {
        mix: np.corrcoef(found.ravel(), grey.ravel())[0, 1] for mix, found in read.items()
    }
    assert 1 - correlation["auto"] < 0.3 * (1 - correlation["mean"])
    np.testing.assert_array_equal(read["auto"], read["print"])


def test_a_colour_photo_is_read_as_in_the_paper(photo: Path, tmp_path: Path) -> None:
    assert main([str(photo), "-o", str(tmp_path / "out.png")]) == 0
    found = lightness(read_image(tmp_path / "out.png").rgb)
    np.testing.assert_allclose(found, lightness(read_image(photo).rgb), atol=0.502 / 255)


def test_restore_with_a_sheet_of_before_and_after(tmp_path: Path) -> None:
    grey = 0.3 + 0.4 * resize(skimage.data.moon().astype(np.float32) / 255, (200, 200))
    scan = np.repeat(grey[..., None], 3, axis=-1)
    scan[60, 20:180] = 1  # a scratch
    write_image(tmp_path / "scan.png", scan)
    out, sheet = tmp_path / "out.png", tmp_path / "sheet.png"
    given = [str(tmp_path / "scan.png"), "-o", str(out), "--contact-sheet", str(sheet)]
    assert main([*given, "--restore"]) == 0
    found = lightness(read_image(out).rgb)
    assert np.abs(found[60] - found[57]).mean() < 0.1  # 0.9 and more with the scratch
    assert np.quantile(found, 0.001) < 0.01 and np.quantile(found, 0.999) > 0.99
    pixels = read_image(sheet).rgb
    np.testing.assert_array_equal(pixels[12:212, 12:212], read_image(tmp_path / "scan.png").rgb)
    np.testing.assert_array_equal(pixels[12:212, 214:414], read_image(out).rgb)
    assert main([*given]) == 0
    np.testing.assert_allclose(
        lightness(read_image(out).rgb),
        read_image(tmp_path / "scan.png").rgb[..., 0],
        atol=0.502 / 255,
    )
