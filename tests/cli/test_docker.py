"""The image of the web page: its steps are taken without Docker, and its server colorizes."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.programs import ROOT, run

DOCKER = ROOT / "tools" / "docker"
SCRIPT = DOCKER / "run_steps.py"


def steps(
    dockerfile: Path, photo: Path, *arguments: object, status: int = 0
) -> tuple[str, list[str]]:
    """Return the standard output and the lines of errors; pip leaves compiling to Python, for time."""
    command = [sys.executable, SCRIPT, dockerfile, photo, *arguments]
    environment = {**os.environ, "PIP_COMPILE": "0"}
    done = run(*map(str, command), status=status, timeout=1800, env=environment)
    return done.stdout, done.stderr.splitlines()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))).save(path)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def test_each_kind_of_step(tmp_path: Path, photo: Path) -> None:
    """A server of a few lines in place of ours."""
    server = (
        "import http.server as h, os, sys\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "    def do_POST(self):\n"
        "        self.rfile.read(int(self.headers['Content-Length']))\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(b'\\x89PNG')\n"
        "assert os.environ['WHAT'] == 'given there', os.environ['WHAT']\n"
        "h.HTTPServer(('localhost', int(sys.argv[1])), H).serve_forever()\n"
    )
    (tmp_path / "server.py").write_text(server)
    health = [
        sys.executable,
        "-c",
        "import urllib.request as r; r.urlopen('http://localhost:8000')",
    ]
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(
        "# a comment\nFROM debian:12\nARG FOLDER=/nowhere\nENV WHAT=$FOLDER there\n"
        f"WORKDIR {tmp_path}/work\nRUN echo one \\\n    && echo two > made\nRUN never-installed\n"
        f"USER nobody\nEXPOSE 8000\nHEALTHCHECK CMD {json.dumps(health)}\n"
        f'ENTRYPOINT ["{sys.executable}", "{tmp_path}/server.py"]\nCMD ["8000"]\n'
    )
    out, _ = steps(
        dockerfile, photo, "--arg", "FOLDER=given", "--skip", "never", "--port", free_port()
    )
    assert (tmp_path / "work" / "made").read_text() == "two\n"
    assert "[RUN] never-installed (passed over)" in out
    assert out.endswith("the server is healthy and colorizes\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN false", "RUN false…: status 1"),
        ("ONBUILD x", "expected a known instruction, got ONBUILD"),
        ("COPY a b", "COPY: expected '. .', got 'a b'"),
        (
            'ENTRYPOINT ["no-such-program"]\nCMD []\nHEALTHCHECK CMD []',
            "there is no no-such-program",
        ),
        ('ENTRYPOINT ["true"]\nCMD []\nHEALTHCHECK CMD ["false"]', "true ended with status 0"),
    ],
)
def test_a_step_that_fails_is_named(tmp_path: Path, photo: Path, text: str, message: str) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM debian:12\n{text}\n")
    _, errors = steps(dockerfile, photo, status=1)
    assert len(errors) == 1 and message in errors[0]


@pytest.mark.slow
def test_the_image_of_the_page_serves(tmp_path: Path, photo: Path) -> None:
    """All steps but Debian's packages, which tools/setup.sh has installed here already."""
    arguments = ["--arg", f"HOME_FOLDER={tmp_path}/image", "--skip", "apt-get"]
    out, _ = steps(DOCKER / "Dockerfile.serve", photo, "--port", free_port(), *arguments)
    assert out.endswith("the server is healthy and colorizes\n")
