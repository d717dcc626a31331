"""``autocolor serve`` as a program, over HTTP; test_serve_browser.py uses it through a browser."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import numpy as np
import pytest
import requests
import skimage.data
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from autocolor.cli import main
from autocolor.control.edits import read_reference
from autocolor.control.targets import image_targets
from autocolor.imaging.color import lightness, rgb_to_hue_chroma
from autocolor.web.app import MOST_UPLOADS
from helpers.programs import PATIENCE, run, state_of, wait_until
from helpers.web_server import Server, file_of, pixels_of, serving

pytestmark = pytest.mark.slow

ASTRONAUT = Image.fromarray(skimage.data.astronaut())  # 512 x 512
COFFEE = Image.fromarray(skimage.data.coffee())


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serve")
    with serving(
        model_folder, folder, "--max-megabytes", "20", "--max-megapixels", "60"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def photo(server: Server) -> str:
    """Return the id of an opened photo of 512 x 512."""
    return server.open(file_of(ASTRONAUT), "astronaut.png")


def error_of(answer: tuple[int, bytes, dict[str, str]], status: int) -> str:
    assert answer[0] == status, answer
    return str(json.loads(answer[1])["error"])


def hue_share(rgb: np.ndarray, hue: float) -> float:
    """Return how much chroma there is within a sixth of a turn about a hue."""
    hues, chroma = rgb_to_hue_chroma(rgb)
    near = np.abs((hues - hue + 0.5) % 1 - 0.5) < 1 / 12
    return float(chroma[near].sum() / chroma.sum())


# ---- what it serves


def test_page_and_its_headers(server: Server) -> None:
    status, content, headers = server.request("GET", "/")
    assert status == 200
    assert b"<title>autocolor</title>" in content
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    # Works offline: nothing is loaded from elsewhere.
    for name in re.findall(rb'(?:src|href)="([^"#]+)"', content):
        status, text, _ = server.request("GET", f"/{name.decode()}")
        assert status == 200, name
        assert not re.search(rb'(?:from|url\(|src=)\s*["\']?https?://', text), name


def test_download_is_what_the_command_writes(
    server: Server, model_folder: Path, tmp_path: Path
) -> None:
    """Alpha included, and without opening the photo before."""
    image = COFFEE.resize((150, 100)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((150, 100)))
    path = tmp_path / "my photo.png"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A maker"
    image.save(path, exif=exif, dpi=(300, 300))
    assert main([str(path), "--model", str(model_folder), "-o", str(tmp_path / "out.png")]) == 0
    uploaded = server.upload(path.read_bytes(), "my%20photo.png")
    job = server.call("POST", f"/photos/{uploaded}/download", {"suffix": ".png"})["job"]
    assert server.finish(job)["state"] == "done"
    status, content, headers = server.request("GET", f"/api/jobs/{job}/file")
    assert status == 200
    assert "my%20photo_color.png" in headers["content-disposition"]
    with Image.open(io.BytesIO(content)) as ours, Image.open(tmp_path / "out.png") as theirs:
        assert ours.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
        infos = [{**image.info, "exif": None} for image in (ours, theirs)]
        assert infos[0] == infos[1] and "dpi" in ours.info
        tags = dict(theirs.getexif())
        del tags[0x8769]  # in which the command's says of which file it is
        assert dict(ours.getexif()) == tags == {0x0112: 1, 0x010F: "A maker"}


@pytest.mark.parametrize(
    ("controls", "arguments"),
    [
        ({"strength": 1.4}, ["--strength", "1.4"]),
        ({"reference": True}, ["--reference", "{reference}"]),
        ({"reference": True, "strength": 0.7}, ["--reference", "{targets}", "--strength", "0.7"]),
        (
            {"reference": True, "transfer": "quantile"},
            ["--reference", "{reference}", "--transfer", "quantile"],
        ),
        (
            {"hints": [{"x": 40.5 / 150, "y": 30.5 / 100, "color": "#c02020"}]},
            ["--hint", "40,30=#c02020"],
        ),
        ({"hue": 1 / 3, "lean": 1.5}, ["--samples", "3"]),
        (
            {
                "hue": 1 / 3,
                "lean": 1.5,
                "strength": 1.2,
                "reference": True,
                "hints": [{"x": 40.5 / 150, "y": 30.5 / 100, "color": "#c02020"}],
            },
            [
                "--samples",
                "3",
                "--strength",
                "1.2",
                "--reference",
                "{reference}",
                "--hint",
                "40,30=#c02020",
            ],
        ),
    ],
)
def test_page_and_command_make_the_same_pixels_of_the_same_edits(
    server: Server,
    model_folder: Path,
    tmp_path: Path,
    controls: dict[str, object],
    arguments: list[str],
) -> None:
    path, reference = tmp_path / "photo.png", tmp_path / "reference.png"
    path.write_bytes(file_of(COFFEE.resize((150, 100))))
    # More than is kept of a reference.
    reference.write_bytes(file_of(ASTRONAUT.rotate(90).resize((700, 600))))
    targets = image_targets(read_reference(reference), "hue_chroma", 32)
    np.savez(tmp_path / "targets.npz", **targets)
    names = {"reference": reference, "targets": tmp_path / "targets.npz"}
    given = [text.format_map(names) for text in arguments]
    out = tmp_path / "out.png"
    assert main([str(path), "--model", str(model_folder), "-o", str(out), *given]) == 0
    if "--samples" in given:
        out = tmp_path / "out_2.png"

    if "reference" in controls:
        controls = {**controls, "reference": server.upload(reference.read_bytes(), "a.png")}
    uploaded = server.upload(path.read_bytes(), "photo.png")
    body = {"suffix": ".png", "controls": controls}
    job = server.call("POST", f"/photos/{uploaded}/download", body)["job"]
    assert server.finish(job)["state"] == "done"
    content = server.request("GET", f"/api/jobs/{job}/file")[1]
    np.testing.assert_array_equal(pixels_of(content), pixels_of(out.read_bytes()))


def test_previews_keep_the_lightness(server: Server, photo: str) -> None:
    light = lightness(np.asarray(ASTRONAUT, np.float32) / 255)
    colors = server.preview(photo)
    assert colors.shape == (512, 512, 3)
    assert np.abs(lightness(colors) - light).mean() < 0.01  # JPEG
    assert rgb_to_hue_chroma(colors)[1].mean() > 0.02
    grey = pixels_of(server.request("GET", f"/api/photos/{photo}/grey")[1])
    assert np.abs(grey[..., 0] - light).mean() < 0.01
    original = pixels_of(server.request("GET", f"/api/photos/{photo}/original")[1])
    assert np.abs(original - np.asarray(ASTRONAUT, np.float32) / 255).mean() < 0.02
    assert server.preview(photo, 128 * 128).shape == (128, 128, 3)


def test_strength(server: Server, photo: str) -> None:
    chroma = [
        rgb_to_hue_chroma(server.preview(photo, strength=strength))[1].mean()
        for strength in (0, 0.5, 1)
    ]
    assert chroma[0] < 0.01 < chroma[1] < chroma[2]


@pytest.mark.parametrize("hue", [0, 1 / 3, 2 / 3])
def test_lean(server: Server, photo: str, hue: float) -> None:
    leaning = hue_share(server.preview(photo, hue=hue, lean=3), hue)
    assert leaning > hue_share(server.preview(photo), hue) + 0.2


def test_variations_lean_towards_hues(server: Server, photo: str) -> None:
    body = {"count": 3, "rotation": 0.1, "controls": {"strength": 1}}
    found = server.call("POST", f"/photos/{photo}/variations", body)["variations"]
    assert [item["lean"] for item in found] == [0, 1.5, 1.5, 1.5]
    assert [item["hue"] for item in found[1:]] == pytest.approx([0.1, 0.1 + 1 / 3, 0.1 + 2 / 3])
    images = [pixels_of(base64.b64decode(item["image"].split(",")[1])) for item in found]
    for item, image in zip(found[1:], images[1:], strict=True):
        assert hue_share(image, item["hue"]) > hue_share(images[0], item["hue"])


def test_hint_colours_its_place_alone(server: Server, photo: str) -> None:
    before = server.preview(photo)
    hint = {"x": 0.25, "y": 0.75, "color": "#10c020"}
    after = server.preview(photo, hints=[hint])
    hue, chroma = rgb_to_hue_chroma(after[384, 128])
    assert abs(hue - 1 / 3) < 0.06 and chroma > 0.1
    far = np.abs(after - before)[:64, 448:]
    assert far.max() < 0.02


@pytest.mark.parametrize("transfer", ["energy", "quantile"])
def test_reference(server: Server, photo: str, transfer: str) -> None:
    green = server.upload(file_of(Image.new("RGB", (60, 40), (40, 150, 60))), "green.png")
    after = server.preview(photo, reference=green, transfer=transfer)
    assert hue_share(after, 130 / 360) > hue_share(server.preview(photo), 130 / 360) + 0.2
    server.call("DELETE", f"/photos/{green}")
    status, content, _ = server.request(
        "POST", f"/api/photos/{photo}/preview", {"pixels": 1, "controls": {"reference": green}}
    )
    assert status == 404 and b"no longer" in content


def test_uncertainty_is_a_map(server: Server, photo: str) -> None:
    shown = pixels_of(server.request("GET", f"/api/photos/{photo}/uncertainty")[1])
    assert shown.shape == (512, 512, 3)
    assert shown.std(axis=(0, 1)).max() > 0.02


def processor_seconds(process: int) -> float:
    """Return what all threads of a process have used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.alone
def test_controls_answer_fast(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Every control in under 200 ms, for 512 x 512, on a machine that is free: the table of docs/web.md.

    As that is for no test to say, the processor's time counts here, whoever else it works for.
    """
    steps = 5

    def hints(count: int, step: int = 0) -> list[dict[str, object]]:
        places = ((0.4 + step / 50, 0.6), (0.2, 0.2), (0.7, 0.3), (0.8, 0.8))
        return [{"x": x, "y": y, "color": "#b03020"} for x, y in places[:count]]

    with serving(None, tmp_path) as server, capsys.disabled():
        photo = server.open(file_of(ASTRONAUT))
        others = [server.upload(file_of(COFFEE, "JPEG"), "coffee.jpg") for _ in range(2 * steps)]

        def preview(**controls: Any) -> tuple[str, str, Any]:
            return "POST", "preview", {"pixels": 512 * 512, "controls": controls}

        def variations(**controls: Any) -> tuple[str, str, Any]:
            return "POST", "variations", {"count": 12, "rotation": 0, "controls": controls}

        walk: dict[str, Callable[[int], tuple[str, str, Any]]] = {
            "look": lambda n: preview(look=("faithful", "vivid")[n % 2]),
            "strength": lambda n: preview(strength=0.5 + n / 10),
            "tint of unsure places": lambda n: preview(hue=n / 9, lean=1.5),
            "colours of another photo, where they fit": lambda n: preview(reference=others[n]),
            "strength, with them": lambda n: preview(reference=others[0], strength=n / 10),
            "colours of another photo, everywhere": lambda n: preview(
                reference=others[steps + n], transfer="quantile"
            ),
            "a hint": lambda n: preview(hints=hints(1, n)),
            "four hints": lambda n: preview(hints=hints(4, n)),
            "strength, with four hints": lambda n: preview(hints=hints(4), strength=n / 10),
            "likely colours at a hint": lambda n: ("GET", f"colors?x=0.{n + 1}&y=0.5", None),
            "unsure places": lambda n: ("GET", "uncertainty", None),
            "grey": lambda n: ("GET", "grey", None),
            "original": lambda n: ("GET", "original", None),
            "12 variations": lambda n: variations(strength=0.5 + n / 10),
            "12 variations, with four hints": lambda n: variations(hints=hints(4, n)),
        }
        (worker,) = server.workers()
        print("\n| control | ms | ms of a processor |\n|---|---|---|")
        for name, asked in walk.items():
            times = []
            before = processor_seconds(worker)
            for step in range(steps):
                method, path, body = asked(step)
                started = time.perf_counter()
                answer = server.request(method, f"/api/photos/{photo}/{path}", body)
                times.append((time.perf_counter() - started) * 1e3)
                assert answer[0] == 200, answer
            used = (processor_seconds(worker) - before) / steps
            print(f"| {name} | {statistics.median(times):.0f} | {used * 1e3:.0f} |")
            assert used < 2, name


# ---- limits


def test_onnxruntime_gives_the_same_colours(
    server: Server, photo: str, model_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="there is no onnxruntime")
    with serving(model_folder, tmp_path / "onnx", "--backend", "onnx") as running:
        colors = running.preview(running.open(file_of(ASTRONAUT)), look="faithful")
    # After JPEG. The vivid look fades more steeply, and so shows a difference of 1e-6 more.
    expected = server.preview(photo, look="faithful")
    np.testing.assert_allclose(colors, expected, atol=4.5 / 255)


def test_looks(server: Server, photo: str) -> None:
    looks = {look: server.preview(photo, look=look) for look in ("faithful", "vivid")}
    assert np.abs(looks["faithful"] - looks["vivid"]).max() > 0.05
    np.testing.assert_array_equal(server.preview(photo), looks["vivid"])


def test_too_large_a_file_is_cut_off(server: Server) -> None:
    before = list(server.folder.rglob("*"))
    assert "expected at most 20 MB" in error_of(
        server.request("POST", "/api/photos?name=big.png", bytes(21_000_000)), 413
    )
    # Without a length that could be believed, in chunks.
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /api/photos?name=big.png HTTP/1.1\r\nHost: localhost\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
        try:
            for _ in range(40):
                connection.sendall(chunk)
        except OSError:
            pass  # it hung up
        else:
            assert b"413" in connection.recv(100)
    wait_until(lambda: list(server.folder.rglob("*")) == before)


def test_a_full_disk_gets_an_answer(model_folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        with serving(model_folder, disk) as running:
            answer = running.request("POST", "/api/photos?name=big.png", bytes(3_000_000))
            assert error_of(answer, 507) == (
                "big.png: cannot be stored on the server: No space left on device"
            )
            assert stored(disk) == []
            running.open(file_of(COFFEE.resize((64, 64))))  # what fits is taken
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_that_may_not_grow_gets_an_answer(model_folder: Path, tmp_path: Path) -> None:
    """As on a full disk, where none can be mounted."""
    limit = 2**19
    with serving(model_folder, tmp_path) as running:
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        answer = running.request("POST", "/api/photos?name=big.png", bytes(3_000_000))
        assert "big.png: cannot be stored on the server: File too large" in error_of(answer, 507)
        assert stored(tmp_path) == []


def test_too_many_uploads_at_once_are_told_to_come_again(server: Server) -> None:
    place = urlsplit(server.url)
    head = (
        b"POST /api/photos?name=slow.png HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 100000\r\n\r\nbegun"
    )
    photo = file_of(COFFEE.resize((64, 64)))
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_UPLOADS):
            slow = stack.enter_context(socket.create_connection((place.hostname, place.port)))
            slow.sendall(head)

        def refused() -> bool:  # once all have begun
            answer = server.request("POST", "/api/photos?name=late.png", photo)
            assert answer[0] in (201, 503)
            return (
                answer[0] == 503
                and answer[2]["retry-after"] == "1"
                and (
                    error_of(answer, 503) == "late.png: 16 photos are being sent already; try again"
                )
            )

        wait_until(refused)
    wait_until(lambda: server.request("POST", "/api/photos?name=late.png", photo)[0] == 201)


def test_half_a_request_does_not_hold_a_connection(server: Server) -> None:
    upload = b"POST /api/photos?name=a HTTP/1.1\r\nHost: localhost\r\n"
    late = b"the rest of the request did not come"
    answers = {
        b"": None,
        b"GET /api/info HTTP/1.1\r\nHost: local": None,
        b"GET /api/info HTTP/1.1\r\nHost: localhost\r\n\r\nGET /": b'"version"',
        upload + b"Content-Length: 9\r\n\r\n": late,
        upload + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n": late,
    }
    host, port = server.url.removeprefix("http://").split(":")
    connections = {}
    for sent in answers:
        connections[sent] = socket.create_connection((host, int(port)), timeout=PATIENCE)
        connections[sent].sendall(sent)
    for sent, connection in connections.items():
        received = b""
        with connection:
            while part := connection.recv(65536):
                received += part
        if answers[sent] is None:
            assert received == b"", sent
        else:
            assert answers[sent] in received, sent
    server.call("GET", "/info")


def test_too_many_pixels_are_refused_before_decoding(server: Server) -> None:
    uploaded = server.upload(file_of(Image.new("L", (8000, 8000))), "huge.png")
    state = server.finish(server.call("POST", f"/photos/{uploaded}/open")["job"])
    assert state["state"] == "failed"
    assert state["error"] == ("huge.png: expected at most 60 megapixels, got 64.0 (8000 x 8000)")


@pytest.mark.parametrize("content", [b"", b"no photo", file_of(ASTRONAUT)[:2000]])
def test_broken_files_get_one_line(server: Server, content: bytes) -> None:
    uploaded = server.upload(content, "scan.png")
    state = server.finish(server.call("POST", f"/photos/{uploaded}/open")["job"])
    assert state["state"] == "failed"
    assert state["error"].startswith("scan.png: ")
    assert "\n" not in state["error"] and str(server.folder) not in state["error"]
    answer = server.request("POST", f"/api/photos/{uploaded}/preview", {"pixels": 100})
    assert error_of(answer, 422).startswith("scan.png: ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "expected JSON"),
        ([], "expected a JSON object"),
        ({}, "pixels: expected a number in [1, 1.6e+06], got None"),
        ({"pixels": True}, "pixels: expected a number"),
        ({"pixels": 9, "controls": {"strength": -1}}, "strength: expected a number in [0, 3]"),
        ({"pixels": 9, "controls": {"look": "x"}}, "look: expected faithful or vivid, got 'x'"),
        ({"pixels": 9, "controls": {"lean": float("nan")}}, "lean: expected a number"),
        ({"pixels": 9, "controls": {"color": 1}}, "got color"),
        ({"pixels": 9, "controls": {"hints": [{"x": 0, "y": 0}]}}, "hint: expected x, y and color"),
        (
            {"pixels": 9, "controls": {"hints": [{"x": 0, "y": 2, "color": "#000000"}]}},
            "y: expected",
        ),
        ({"pixels": 9, "controls": {"hints": [{"x": 0, "y": 0, "color": "red"}]}}, "#RRGGBB"),
        ({"pixels": 9, "controls": {"hints": [{}] * 33}}, "at most 32"),
        ({"pixels": 9, "controls": {"transfer": "magic"}}, "transfer: expected one of"),
        ({"pixels": 9, "controls": {"reference": 3}}, "reference: expected the id"),
    ],
)
def test_wrong_controls_are_refused(server: Server, photo: str, body: object, message: str) -> None:
    answer = server.request("POST", f"/api/photos/{photo}/preview", body)
    assert message in error_of(answer, 400)


def test_what_is_not_there(server: Server, photo: str) -> None:
    assert "no longer" in error_of(server.request("GET", "/api/photos/none/grey"), 404)
    assert "no longer" in error_of(server.request("GET", "/api/jobs/none"), 404)
    assert "there is no" in error_of(server.request("GET", f"/api/photos/{photo}/secret"), 404)
    wrong = server.request("POST", f"/api/photos/{photo}/download", {"suffix": ".exe"})
    assert "suffix: expected one of" in error_of(wrong, 400)
    assert server.request("GET", "/../pyproject.toml")[0] == 404
    assert server.request("GET", "/%2e%2e/app.py")[0] == 404


# ---- other web sites


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Host": "evil.example"}),
        ("GET", {"Host": "localhost.evil.example:80"}),
        ("POST", {"Origin": "http://evil.example"}),
        ("POST", {"Origin": "null"}),
        ("POST", {"Origin": "https://{host}"}),
        ("POST", {"Origin": "http://{host}/page"}),
        ("POST", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_other_sites_are_refused(server: Server, method: str, headers: dict[str, str]) -> None:
    path = "/api/photos?name=a.png" if method == "POST" else "/api/info"
    body = b"content" if method == "POST" else None
    host = server.url.removeprefix("http://")
    headers = {name: value.format(host=host) for name, value in headers.items()}
    assert error_of(server.request(method, path, body, headers), 403)


def test_own_names_are_served(server: Server) -> None:
    port = server.url.rsplit(":", 1)[1]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert server.request("POST", "/api/photos?name=a", b"x", headers)[0] == 201


# ---- jobs


def large() -> bytes:
    """Return a photo that takes seconds: 8.6 megapixels."""
    return file_of(COFFEE.resize((3600, 2400)), "JPEG")


def test_jobs_are_cancelled_and_previews_go_first(server: Server, photo: str) -> None:
    big = server.open(large(), "big.jpg")
    running, queued = (
        server.call("POST", f"/photos/{big}/download", {"suffix": ".jpg"})["job"] for _ in range(2)
    )
    wait_until(lambda: server.call("GET", f"/jobs/{running}")["progress"] >= 0.02)
    assert server.call("GET", f"/jobs/{queued}")["state"] == "queued"
    server.preview(photo, 64 * 64)
    assert server.call("GET", f"/jobs/{running}")["state"] == "running"
    for job in (queued, running):
        server.call("DELETE", f"/jobs/{job}")
        assert server.finish(job)["state"] == "cancelled"
        assert "it is cancelled" in error_of(server.request("GET", f"/api/jobs/{job}/file"), 409)
    server.preview(photo, 64 * 64)


def test_cancelling_is_not_held_up_by_the_worker(server: Server) -> None:
    """Reading and the network cannot be stopped in their midst; the job is over all the same."""
    big = server.upload(large(), "big.jpg")
    (worker,) = server.workers()
    job = server.call("POST", f"/photos/{big}/open")["job"]
    wait_until(lambda: server.call("GET", f"/jobs/{job}")["state"] == "running")
    os.kill(worker, signal.SIGSTOP)
    try:
        server.call("DELETE", f"/jobs/{job}")
        assert server.call("GET", f"/jobs/{job}")["state"] == "cancelled"
    finally:
        os.kill(worker, signal.SIGCONT)
    server.open(file_of(COFFEE.resize((64, 64))))  # it works on
    assert server.workers() == [worker]


def test_opening_shows_progress(server: Server) -> None:
    big = server.upload(large(), "big.jpg")
    job = server.call("POST", f"/photos/{big}/open")["job"]
    seen = set()

    def over() -> bool:
        state = server.call("GET", f"/jobs/{job}")
        seen.add(state["progress"])
        return state["state"] == "done"

    wait_until(over)
    assert len(seen - {0, 1}) >= 1, seen


def test_a_worker_that_is_killed_is_started_again(server: Server) -> None:
    big = server.open(large(), "big.jpg")
    job = server.call("POST", f"/photos/{big}/download", {"suffix": ".jpg"})["job"]
    queued = server.call("POST", f"/photos/{big}/open")["job"]
    wait_until(lambda: server.call("GET", f"/jobs/{job}")["progress"] >= 0.02)
    crashes = server.call("GET", "/info")["crashes"]
    server.kill_worker()
    state = server.finish(job)
    assert state["state"] == "failed"
    assert "was ended by SIGKILL and was started again" in state["error"]
    assert server.finish(queued)["state"] == "done"
    assert server.call("GET", "/info")["crashes"] == crashes + 1
    server.preview(big, 64 * 64)


def test_zip_of_two_photos_of_one_name(server: Server) -> None:
    jobs = []
    for image in (COFFEE, ASTRONAUT):
        uploaded = server.upload(file_of(image.resize((64, 64))), "scan.png")
        jobs.append(server.call("POST", f"/photos/{uploaded}/download", {"suffix": ".webp"})["job"])
    for job in jobs:
        assert server.finish(job)["state"] == "done"
    archive = server.call("POST", "/zip", {"jobs": jobs})["archive"]
    status, content, _ = server.request("GET", f"/api/zip/{archive}")
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["scan_color.webp", "scan_color_2.webp"]
        first, second = (pixels_of(archive.read(name)) for name in archive.namelist())
    assert np.abs(first - second).mean() > 0.05
    # As many as a large batch has, more than the line of a request holds.
    many = server.call("POST", "/zip", {"jobs": jobs * 600})["archive"]
    status, content, _ = server.request("GET", f"/api/zip/{many}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == 1200
    for wrong, status, message in (
        ([], 400, "jobs: expected at least one"),
        ([*jobs, "none"], 404, "1 of 3 results are no longer on the server"),
    ):
        answer = server.request("POST", "/api/zip", {"jobs": wrong})
        assert message in error_of(answer, status)
    assert "no longer" in error_of(server.request("GET", "/api/zip/none"), 404)


def several(kind: str) -> bytes:
    """Return three pictures in one file."""
    stream = io.BytesIO()
    pages = [COFFEE.resize((60, 40)).rotate(angle) for angle in (0, 90, 180)]
    pages[0].save(stream, kind, save_all=True, append_images=pages[1:])
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_a_file_of_several_pictures_says_so(server: Server, kind: str) -> None:
    uploaded = server.upload(several(kind), "moving")
    expected = {"height": 40, "width": 60, "colored": True, "pictures": 3}
    for way, body in (("open", None), ("download", {"suffix": ".jpg"})):
        state = server.finish(server.call("POST", f"/photos/{uploaded}/{way}", body)["job"])
        assert state["result"] == expected, way


def test_heic_has_no_name_on_the_server(server: Server) -> None:
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    heif.from_pillow(COFFEE.resize((90, 60))).save(stream, quality=95)
    photo = server.open(stream.getvalue(), "IMG_1.jpg")  # as some programs call any photo
    grey = pixels_of(server.request("GET", f"/api/photos/{photo}/grey")[1])
    expected = lightness(np.asarray(COFFEE.resize((90, 60)), np.float32) / 255)
    assert np.sqrt(np.mean((grey[..., 0] - expected) ** 2)) < 0.04  # lossy


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1)])
def test_the_thinnest_photos(server: Server, size: tuple[int, int]) -> None:
    photo = server.open(file_of(COFFEE.resize(size)))
    hint = {"x": 0.5, "y": 0.5, "color": "#10c020"}
    assert server.preview(photo, hints=[hint]).shape == (*size[::-1], 3)
    job = server.call("POST", f"/photos/{photo}/download", {"suffix": ".png"})["job"]
    assert server.finish(job)["state"] == "done"


# ---- the program


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_uploads_are_private_and_gone_afterwards(
    model_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with serving(model_folder, tmp_path / "private") as running:
        running.open(file_of(COFFEE.resize((64, 64))))
        (private,) = running.folder.iterdir()
        assert private.stat().st_mode & 0o777 == 0o700
        assert len(stored(private)) == 1
        (worker,) = running.workers()
        running.process.send_signal(number)
        assert running.process.wait(PATIENCE) == (-9 if number == signal.SIGKILL else 0)
        # After SIGKILL the worker does it.
        wait_until(lambda: not private.exists() and state_of(worker) == "Z")


def serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "autocolor.cli", "serve", *arguments)
    return run(*command, status=None, timeout=PATIENCE, env={**os.environ, **environment})


def test_help_teaches() -> None:
    shown = serve("--help")
    assert shown.returncode == 0
    assert "autocolor serve --port 9000" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--model", "nowhere"], 1, "nowhere: no such model folder"),
        (["--model", "{model}", "--device", "tpu"], 2, "--device: expected 'cpu', 'gpu'"),
        (["--model", "{model}", "--port", "70000"], 2, "--port: expected 0 to 65535"),
        (["--model", "{model}", "--port", "{taken}"], 1, "cannot listen at localhost"),
        (["--model", "{model}", "--workers", "0"], 2, "--workers: expected 1 to"),
        (["--model", "{model}", "--max-megapixels", "nan"], 2, "--max-megapixels: expected a pos"),
    ],
)
def test_usage_errors(
    model_folder: Path, server: Server, arguments: list[str], status: int, message: str
) -> None:
    values = {"model": model_folder, "taken": server.url.rsplit(":", 1)[1]}
    failed = serve(*(text.format(**values) for text in arguments), AUTOCOLOR_MODEL="")
    assert failed.returncode == status
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("autocolor serve: error: ") and message in last
    assert "Traceback" not in failed.stderr


def test_without_the_packages_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError(name='starlette')\n")
    failed = serve("--port", "0", PYTHONPATH=str(tmp_path))
    assert failed.returncode == 1
    assert "pip install starlette uvicorn python-multipart prometheus-client" in failed.stderr


# ---- for programs

BOUNDARY = "x-boundary"


def form(part: str, content: bytes, *fields: str) -> bytes:
    head = "".join(f"--{BOUNDARY}\r\n{field}\r\n" for field in fields)
    return (
        f"{head}--{BOUNDARY}\r\n{part}\r\n\r\n".encode()
        + content
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ('Content-Disposition: form-data; name="file"; filename="a b.png"', "a b.png"),
        ("Content-Disposition: form-data; name=file; filename=plain.png", "plain.png"),
        ('content-disposition: form-data; filename="first.png"; name="photo"', "first.png"),
        (
            "Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''gr%C3%BCn.png",
            "grün.png",
        ),
        (
            "Content-Disposition: form-data; name=\"file\"; filename*=iso-8859-1'en'gr%FCn.png; "
            'filename="old.png"',
            "grün.png",
        ),
        ('Content-Disposition: form-data; name="file"; filename="grün.png"', "grün.png"),
        (
            'Content-Type: image/png\r\nContent-Disposition: form-data; name="file"; '
            'filename="../../typed.png"',
            "typed.png",
        ),
        ('Content-Disposition: form-data; name="file"; filename="q\\"uote.png"', 'q"uote.png'),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("quoted", [False, True])
def test_forms_as_every_client_sends_them(
    server: Server, part: str, name: str, chunked: bool, quoted: bool
) -> None:
    body = form(part, file_of(COFFEE.resize((40, 30))))
    boundary = f'"{BOUNDARY}"' if quoted else BOUNDARY
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
    connection.request(
        "POST",
        "/api/photos",
        iter([body[:7], body[7:90], body[90:]]) if chunked else body,
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        encode_chunked=chunked,
    )
    answer = connection.getresponse()
    content = json.loads(answer.read())
    assert answer.status == 201, content
    assert content["name"] == name
    server.call("DELETE", f"/photos/{content['photo']}")


def test_one_request_one_picture(server: Server, model_folder: Path, tmp_path: Path) -> None:
    """As curl and requests send it; what the command writes, and nothing is kept."""
    path, out = tmp_path / "photo.png", tmp_path / "out.png"
    path.write_bytes(file_of(COFFEE.resize((150, 100))))
    command = [str(path), "--model", str(model_folder), "-o", str(out), "--strength", "1.4"]
    assert main(command) == 0
    before = stored(server.folder)
    with path.open("rb") as stream:
        answer = requests.post(
            f"{server.url}/api/colorize",
            files={"file": stream},
            data={"controls": '{"strength": 1.4}'},
            timeout=PATIENCE,
        )
    assert answer.status_code == 200
    assert "photo_color.png" in answer.headers["content-disposition"]
    np.testing.assert_array_equal(pixels_of(answer.content), pixels_of(out.read_bytes()))
    if shutil.which("curl"):
        run(
            "curl",
            "-sSf",
            "-F",
            f"file=@{path}",
            "-F",
            'controls={"strength": 1.4}',
            "-F",
            "suffix=.tif",
            f"{server.url}/api/colorize",
            "-o",
            str(tmp_path / "out.tif"),
        )
        written = (tmp_path / "out.tif").read_bytes()
        np.testing.assert_array_equal(pixels_of(written), pixels_of(out.read_bytes()))
    wait_until(lambda: stored(server.folder) == before)


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (form('Content-Disposition: form-data; name="file"', b"text"), 400, "expected a file"),
        (form("Content-Disposition: form-data", b"text"), 400, "form: "),
        (b"no form", 400, "form: "),
        (form("Content-Disposition: form-data; name=a; filename*=none''%FF", b"text"), 400, "5987"),
        (
            form('Content-Disposition: form-data; name="file"; filename="a"', bytes(22_000_000)),
            413,
            "expected at most 20 MB",
        ),
        (
            form('Content-Disposition: form-data; name="file"; filename="a.png"', b"no photo"),
            422,
            "a.png: not an image that can be read",
        ),
        (
            form(
                'Content-Disposition: form-data; name="file"; filename="a.png"',
                b"no photo",
                'Content-Disposition: form-data; name="suffix"\r\n\r\n.exe',
            ),
            400,
            "suffix: expected one of",
        ),
        (
            form(
                'Content-Disposition: form-data; name="file"; filename="a.png"',
                b"no photo",
                'Content-Disposition: form-data; name="controls"\r\n\r\n{',
            ),
            400,
            "controls: expected JSON",
        ),
    ],
)
def test_wrong_forms(server: Server, content: bytes, status: int, message: str) -> None:
    before = stored(server.folder)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    answer = server.request("POST", "/api/colorize", content, headers)
    assert message in error_of(answer, status)
    wait_until(lambda: stored(server.folder) == before)


def test_the_document_is_true(server: Server, photo: str) -> None:
    """Every path of it is answered, and what comes back is as it says."""
    document = server.call("GET", "/openapi.json")
    assert document["openapi"].startswith("3.1")
    jsonschema.Draft202012Validator.check_schema({"$defs": document["components"]["schemas"]})
    operations = {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert all(operation["summary"] for *_, operation in operations.values())

    def check(name: str, body: Any = None, query: str = "", **values: str) -> Any:
        method, path, operation = operations.pop(name)
        path = path.format(**values) + query
        if body is not None and not isinstance(body, bytes):
            sent = operation["requestBody"]["content"]["application/json"]["schema"]
            jsonschema.validate(body, {**sent, "components": document["components"]})
        status, content, headers = server.request(method, path, body)
        assert str(status) in operation["responses"], (name, status, content)
        described = operation["responses"][str(status)].get("content", {})
        if "application/json" not in described:
            return content
        assert headers["content-type"] == "application/json"
        found = json.loads(content)
        schema = described["application/json"]["schema"]
        jsonschema.validate(found, {**schema, "components": document["components"]})
        return found

    hint = {"x": 0.5, "y": 0.5, "color": "#b03020", "radius": 0.1}
    controls = {"strength": 1, "hints": [hint]}
    check("info")
    check("colors", query="?x=0.5&y=0.25", photo=photo)
    check("preview", {"pixels": 4096, "controls": controls}, photo=photo)
    check("variations", {"count": 2, "rotation": 0, "controls": controls}, photo=photo)
    check("picture", photo=photo, picture="grey")
    new = check("upload", file_of(COFFEE.resize((40, 30))), "?name=a.png")["photo"]
    opened = check("open", photo=new)["job"]
    server.finish(opened)
    result = check("job", job=opened)["result"]
    assert result == {"height": 30, "width": 40, "colored": True, "pictures": 1}
    job = check("download", {"suffix": ".png", "controls": controls}, photo=new)["job"]
    server.finish(job)
    check("file", job=job)
    check("zip", archive=check("pack", {"jobs": [job]})["archive"])
    check("cancel", job=job)
    check("forget", photo=new)
    _, path, _ = operations.pop("colorize")
    assert server.request("POST", path, file_of(COFFEE.resize((40, 30))))[0] == 200
    assert operations == {}


def test_a_larger_hint_reaches_further(server: Server, photo: str) -> None:
    hint = {"x": 0.25, "y": 0.75, "color": "#10c020"}
    usual = server.preview(photo, hints=[hint])
    same = server.preview(photo, hints=[{**hint, "radius": 0.006}])
    np.testing.assert_array_equal(same, usual)
    larger = server.preview(photo, hints=[{**hint, "radius": 0.15}])
    # A ring within the larger disc, of 77 pixels, that the usual one of 3 leaves to the spread.
    y, x = np.mgrid[:512, :512]
    distance = np.hypot(y - 384, x - 128)
    ring = (distance > 40) & (distance < 75)
    assert np.ptp(larger[ring], axis=-1).mean() > np.ptp(usual[ring], axis=-1).mean() + 0.05
    assert hue_share(larger[ring][None], 1 / 3) > max(0.9, hue_share(usual[ring][None], 1 / 3))
    wrong = {"pixels": 9, "controls": {"hints": [{**hint, "radius": 2}]}}
    answer = server.request("POST", f"/api/photos/{photo}/preview", wrong)
    assert "radius: expected a number in [0, 0.25], got 2" in error_of(answer, 400)


def test_likely_colours_at_a_place(server: Server, photo: str) -> None:
    found = server.call("GET", f"/photos/{photo}/colors?x=0.4&y=0.5")["colors"]
    shares = [item["share"] for item in found]
    assert 1 <= len(found) <= 5 and shares == sorted(shares, reverse=True) and sum(shares) <= 1
    light = lightness(np.asarray(ASTRONAUT, np.float32) / 255)[256, 204]
    for item in found:
        rgb = np.array(list(bytes.fromhex(item["color"][1:]))) / 255
        assert rgb.mean() == pytest.approx(light, abs=0.01)
    for query, message in (
        ("x=2&y=0", "x: expected a number in [0, 1], got 2"),
        ("x=a&y=0", "x: expected a number in [0, 1], got 'a'"),
        ("x=0", "y: expected a number in [0, 1], got None"),
    ):
        answer = server.request("GET", f"/api/photos/{photo}/colors?{query}")
        assert message in error_of(answer, 400)


def test_health_and_metrics(model_folder: Path, tmp_path: Path) -> None:
    """Two workers, one of which is killed."""
    with serving(model_folder, tmp_path, "--workers", "2") as running:
        assert len(running.workers()) == 2
        expected = {"status": "ok", "workers": 2, "of": 2}
        assert json.loads(running.request("GET", "/health")[1]) == expected
        photo = running.open(file_of(COFFEE.resize((64, 64))))
        running.preview(photo, 64 * 64)
        running.request("GET", "/api/jobs/none")

        def metrics() -> dict[str, float]:
            status, content, headers = running.request("GET", "/metrics")
            assert status == 200 and headers["content-type"].startswith("text/plain")
            families = text_string_to_metric_families(content.decode())
            return {
                " ".join(
                    [sample.name, *(sample.labels[key] for key in sorted(sample.labels))]
                ): sample.value
                for family in families
                for sample in family.samples
            }

        found = metrics()
        assert found["autocolor_workers_ready"] == found["autocolor_workers"] == 2
        assert found["autocolor_jobs_total open done"] == 1
        assert found["autocolor_jobs_total preview done"] == 1
        assert found["autocolor_http_request_seconds_count preview POST 200"] == 1
        assert found["autocolor_http_request_seconds_count job GET 404"] == 1
        assert not any("none" in name for name in found)  # no paths, of which there is no end
        os.kill(running.workers()[0], signal.SIGKILL)
        wait_until(lambda: metrics()["autocolor_worker_crashes"] == 1)
        wait_until(lambda: running.request("GET", "/health")[0] == 200)
