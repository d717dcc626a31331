#!/usr/bin/env python3
"""Take the steps of a Dockerfile without Docker, and check the server that it starts."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from autocolor.core.errors import AutocolorError
from autocolor.core.programs import command_parser, run_program

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0  # seconds, for the server to be healthy

_PASSED_OVER = ("FROM", "EXPOSE", "USER")


class StepError(AutocolorError):
    """A step that cannot be taken; one line."""


@dataclass
class Image:
    """What the steps so far have made."""

    values: dict[str, str]  #: Of ENV and ARG
    folder: Path = Path("/")  #: Of WORKDIR
    #: ENTRYPOINT, CMD and HEALTHCHECK, as lists of words
    commands: dict[str, list[str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Of the programs that are run."""
        return {**os.environ, **self.values}

    def filled(self, text: str) -> str:
        """Return a text with the values of its variables."""
        return Template(text).safe_substitute(self.environment)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the rest of each instruction of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name:
            yield name.upper(), rest.strip()


def take(image: Image, name: str, rest: str, overrides: dict[str, str], sources: Path) -> None:
    """Take one step; a StepError says why it cannot be taken."""
    if name in ("ARG", "ENV"):
        key, _, value = rest.partition("=")
        chosen = overrides.get(key, value) if name == "ARG" else value
        image.values[key] = image.filled(chosen)
    elif name == "WORKDIR":
        image.folder = Path(image.filled(rest))
        image.folder.mkdir(parents=True, exist_ok=True)
    elif name == "COPY":
        if rest != ". .":
            raise StepError(f"COPY: expected '. .', got {rest!r}")
        listed = subprocess.run(
            ["git", "-C", sources, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode:
            raise StepError(f"COPY: {listed.stderr.strip()}")
        for file in filter(None, listed.stdout.split("\0")):
            if (sources / file).is_file():
                (image.folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(sources / file, image.folder / file)
    elif name == "RUN":
        status = subprocess.run(
            ["sh", "-ec", rest], cwd=image.folder, env=image.environment, check=False
        ).returncode
        if status:
            raise StepError(f"RUN {rest[:60]}…: status {status}")
    elif name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        image.commands[name] = json.loads(rest.removeprefix("CMD ") or "[]")
    elif name not in _PASSED_OVER:
        raise StepError(f"expected a known instruction, got {name}")


def check_server(image: Image, photo: Path, port: int) -> None:
    """Start the server of the image, wait until it is healthy and let it colorize a photo."""

    def moved(words: list[str]) -> list[str]:
        return [word.replace("8000", str(port)) for word in words]

    program = image.commands["ENTRYPOINT"] + moved(image.commands["CMD"])
    found = shutil.which(program[0], path=image.environment["PATH"])
    if found is None:
        raise StepError(f"ENTRYPOINT: there is no {program[0]}")
    server = subprocess.Popen([found, *program[1:]], cwd=image.folder, env=image.environment)
    try:
        health = moved(image.commands["HEALTHCHECK"])
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(health, capture_output=True, check=False).returncode:
            if server.poll() is not None:
                raise StepError(f"{shlex.join(program)} ended with status {server.returncode}")
            if time.monotonic() > deadline:
                raise StepError(f"HEALTHCHECK fails after {PATIENCE:g} s")
            time.sleep(0.5)
        url = f"http://localhost:{port}/api/colorize"
        answer = subprocess.run(
            ["curl", "-sSf", "-F", f"file=@{photo}", url], capture_output=True, check=False
        )
        if not answer.stdout.startswith(b"\x89PNG"):
            raise StepError(f"{url}: expected a PNG, got {answer.stderr.decode().strip()}")
    finally:
        server.terminate()
        server.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = command_parser(
        "Take the steps of a Dockerfile without Docker, in a folder of this machine, "
        "start its server and let it colorize a photo. Of FROM and USER nothing is done: run it "
        "on Debian 12, as root where the Dockerfile installs packages.",
        """\
example:
  tools/docker/run_steps.py tools/docker/Dockerfile.serve --arg HOME_FOLDER=/tmp/image photo.jpg""",
    )
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("photo", type=Path, help="to colorize at last")
    parser.add_argument(
        "--arg", action="append", default=[], metavar="NAME=VALUE", help="of an ARG, as of Docker"
    )
    parser.add_argument("--port", type=int, default=8000, help="in place of 8000")
    parser.add_argument(
        "--skip", metavar="WORD", help="pass over the RUN steps with this word, such as apt-get"
    )
    arguments = parser.parse_args(argv)
    image = Image({})
    overrides = dict(pair.split("=", 1) for pair in arguments.arg if "=" in pair)
    for name, rest in instructions(arguments.dockerfile.read_text(encoding="utf-8")):
        skipped = name == "RUN" and arguments.skip is not None and arguments.skip in rest
        note = " (passed over)" if skipped or name in _PASSED_OVER else ""
        print(f"[{name}] {rest[:90]}{note}", flush=True)
        if not skipped:
            take(image, name, rest, overrides, ROOT)
    check_server(image, arguments.photo.resolve(), arguments.port)
    print("the server is healthy and colorizes")
    return 0


if __name__ == "__main__":
    run_program(main)
