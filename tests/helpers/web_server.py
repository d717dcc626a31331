"""A running ``autocolor serve`` for tests, and a client of its routes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers.programs import PATIENCE


@dataclass
class Server:
    """The process and where it answers."""

    process: subprocess.Popen[str]
    url: str
    folder: Path

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers (lower case) of the answer."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        asked = urllib.request.Request(  # noqa: S310 (our own server)
            self.url + path, data=data, method=method, headers=headers or {}
        )
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:  # noqa: S310
                return answer.status, answer.read(), _lower(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), _lower(error.headers)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of an answer that must be a success."""
        status, content, _ = self.request(method, f"/api{path}", body)
        assert status < 300, content
        return json.loads(content) if content else None

    def upload(self, content: bytes, name: str = "photo.png") -> str:
        """Return the id of an uploaded photo."""
        return str(self.call("POST", f"/photos?name={name}", content)["photo"])

    def finish(self, job: str) -> dict[str, Any]:
        """Return the last state of a job."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            state = self.call("GET", f"/jobs/{job}")
            if state["state"] not in ("queued", "running"):
                return dict(state)
            time.sleep(0.05)
        raise AssertionError(f"job {job} is not finished: {state}")

    def open(self, content: bytes, name: str = "photo.png") -> str:
        """Upload a photo, let the network run, and return its id."""
        photo = self.upload(content, name)
        state = self.finish(self.call("POST", f"/photos/{photo}/open")["job"])
        assert state["state"] == "done", state
        return photo

    def preview(self, photo: str, pixels: int = 512 * 512, **controls: Any) -> np.ndarray:
        """Return a preview, (H, W, 3) in [0, 1]."""
        status, content, _ = self.request(
            "POST", f"/api/photos/{photo}/preview", {"pixels": pixels, "controls": controls}
        )
        assert status == 200, content
        return pixels_of(content)

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = [int(child) for task in tasks for child in task.read_text().split()]
        return [
            child
            for child in children
            if b"autocolor.web.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def kill_worker(self) -> None:
        """Kill the worker as the kernel does when memory runs out."""
        (worker,) = self.workers()
        os.kill(worker, signal.SIGKILL)


def _lower(headers: Any) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}


def pixels_of(content: bytes) -> np.ndarray:
    """Return an image file's pixels, (H, W, 3) in [0, 1]."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


def file_of(image: Image.Image, suffix: str = "PNG") -> bytes:
    """Return an image as the content of a file."""
    stream = io.BytesIO()
    image.save(stream, suffix)
    return stream.getvalue()


@contextmanager
def serving(
    model: Path | None,
    folder: Path,
    *arguments: str,
    command: Sequence[object] = (sys.executable, "-m", "autocolor.cli"),
    variables: Mapping[str, str] = os.environ,
) -> Iterator[Server]:
    """Run the server with one worker; uploads go below `folder`. No model is the one that comes with it."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = ["--model", str(model)] if model else []
    process = subprocess.Popen(
        [*map(str, command), "serve", "--port", "0", "--workers", "1", *chosen, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**variables, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("autocolor: http://"), line
        yield Server(process, line.split()[1].rstrip("/"), folder)
    finally:
        process.terminate()
        process.wait(PATIENCE)
