"""A person's first ten minutes, as docs/first_ten_minutes.md has them; each step's time is printed."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from autocolor.imaging.color import rgb_to_hue_chroma
from helpers.programs import PATIENCE, ROOT, run
from helpers.web_server import serving
from helpers.wheel import Installed, build_wheel, install_wheel

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no chromium; `bash tools/setup.sh --browser` installs it"
    ),
]


def test_first_ten_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        with capsys.disabled():
            print(f"\n  {name}: {time.monotonic() - start:.1f} s", end="")

    photos = tmp_path / "old_photos"
    (photos / "1931").mkdir(parents=True)
    grey = Image.fromarray(skimage.data.coffee()).convert("L")
    grey.save(photos / "coffee.jpg")
    Image.fromarray(skimage.data.chelsea()).convert("L").save(photos / "1931" / "cat.png")
    write_film(tmp_path / "film.mp4", np.asarray(grey.resize((160, 96))))

    with step("install"):
        installed = install_wheel(build_wheel(tmp_path), tmp_path)
        installed.cut_off()
    commands = re.findall(
        r"^autocolor .*$", (ROOT / "docs/first_ten_minutes.md").read_text(), re.MULTILINE
    )
    assert [command.split()[1] for command in commands] == ["old_photos/", "serve", "film.mp4"]

    with step("a folder, with the first use of the model"):
        said = call(installed, commands[0], tmp_path)
    assert "first use" in said
    for name in ("coffee", "1931/cat"):
        assert is_coloured(tmp_path / "colorized" / f"{name}.png")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert min(sheet.size) > 100
    with step("the folder again, nothing to do"):
        call(installed, f"{commands[0]} --resume", tmp_path)

    with step("the page, its start and end included"):
        program, variables = installed.programs / "autocolor", installed.variables
        installed.cut_off(starts_programs=True)  # its workers
        with serving(None, tmp_path / "page", command=[program], variables=variables) as server:
            colorize_in_browser(server.url, photos / "coffee.jpg", tmp_path / "hinted.png", step)
        installed.cut_off()
    hue, chroma = rgb_to_hue_chroma(read(tmp_path / "hinted.png"))
    place = slice(150, 170), slice(290, 310)  # the middle of 400 × 600, where the hint was put
    assert np.abs(np.median(hue[place]) - 0.28) < 0.07
    assert np.median(chroma[place]) > 0.02

    with step("a video"):
        call(installed, commands[2], tmp_path)
    with av.open(str(tmp_path / "film_color.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 10
    assert np.ptp(frames[0].astype(int), axis=-1).mean() > 3


def call(installed: Installed, command: str, folder: Path) -> str:
    program, *words = command.split()
    done = run(installed.programs / program, *words, cwd=folder, env=installed.variables)
    return done.stderr


def colorize_in_browser(url: str, photo: Path, result: Path, step) -> None:
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 1360, "height": 860}, accept_downloads=True)
        page.set_default_timeout(1000 * PATIENCE)
        updated = page.locator("#status")
        with step("page: opened"):
            page.goto(url)
            page.wait_for_selector("body[data-ready]", timeout=1000 * PATIENCE)
        with step("page: a photo in colour"):
            page.set_input_files("#file", photo)
            expect(updated).to_have_text("Colours updated", timeout=1000 * PATIENCE)
        with step("page: a hint"):
            page.get_by_role("radio", name="grass green").check(force=True)
            box = page.locator("#hint-layer").bounding_box()
            assert box is not None
            page.evaluate("document.getElementById('status').textContent = ''")
            page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.4)
            expect(updated).to_have_text("Colours updated", timeout=1000 * PATIENCE)
            expect(page.locator("#hints li")).to_have_count(1)
        with step("page: the download"), page.expect_download() as download:
            page.locator("#format").select_option(".png")
            page.get_by_role("button", name="Download 600 × 400").click()
        download.value.save_as(result)
        browser.close()


def write_film(path: Path, grey: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width = grey.shape
        stream.pix_fmt = "yuv420p"
        for shift in range(10):
            pixels = np.roll(np.dstack([grey] * 3), shift, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


def is_coloured(path: Path) -> bool:
    return bool(np.ptp(read(path), axis=-1).mean() > 0.01)
