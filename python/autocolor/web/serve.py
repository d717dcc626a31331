"""``autocolor serve``: the web page on this machine."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn

from autocolor.core.errors import AutocolorError, InputError
from autocolor.core.programs import command_parser
from autocolor.runtime.device import gpu_number
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.options import add_model_options, chosen_model
from autocolor.web.app import Limits, Service, make_app
from autocolor.web.jobs import RenderPool, core_groups
from autocolor.web.messages import WorkerOptions
from autocolor.web.patience import PatientProtocol
from autocolor.web.storage import MOST_STORED_BYTES, Uploads


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = command_parser(
        "Colorize photos on a web page of this machine: before and after, diverse "
        "colorizations, colour hints, colours of another photo, and whole folders.",
        """\
examples:
  autocolor serve                        then open http://localhost:8000/ in a browser
  autocolor serve --port 9000 --model build/demo/model
  autocolor serve --host 0.0.0.0 --allow-host studio.lan
                                         for a network that you trust: there is no password

Photos stay on this machine, in a folder that only you can read and that is removed when the server
ends (Ctrl-C). Exit status: 0, 1 if the model or the port cannot be used, 2 on wrong usage.""",
        "autocolor serve",
    )
    add_model_options(parser)
    parser.add_argument(
        "--host",
        default="localhost",
        metavar="ADDRESS",
        help="to listen at; others than this machine reach only another one (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="0 takes any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="name of this machine in its network that browsers use; may be given several times "
        "(default: localhost and addresses alone)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that run the network, which share the cores (default: one for every 4)",
    )
    limits = Limits()
    parser.add_argument(
        "--max-megabytes",
        type=float,
        default=limits.megabytes,
        metavar="MB",
        help="largest file that is taken (default: %(default)g)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=limits.megapixels,
        metavar="MP",
        help="largest photo that is taken; each worker may need 110 bytes a pixel (default: "
        "%(default)g)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; return its exit status."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    for name in ("max_megabytes", "max_megapixels"):
        if not 0 < getattr(arguments, name) < float("inf"):
            parser.error(f"--{name.replace('_', '-')}: expected a positive number")
    if not 0 <= arguments.port <= 65535:
        parser.error(f"--port: expected 0 to 65535, got {arguments.port}")
    try:
        gpu_number(arguments.device)  # refuses what is no device
        groups = core_groups(arguments.workers)
    except InputError as error:
        parser.error(f"--{error}")
    try:
        folder = chosen_model(arguments.model)
        manifest = Manifest.load(folder)
        with _listening(arguments.host, arguments.port) as listener:
            asyncio.run(_serve(arguments, folder, manifest, groups, listener))
    except (AutocolorError, OSError) as error:
        print(f"autocolor serve: error: {error}", file=sys.stderr)
        return 1
    return 0


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; an `OSError` names the address."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot listen at {host}, port {port}: {reason}") from error


async def _serve(
    arguments: argparse.Namespace,
    model: Path,
    manifest: Manifest,
    groups: Sequence[tuple[int, ...]],
    listener: socket.socket,
) -> None:
    """Serve until a signal, then leave nothing behind."""
    limits = Limits(arguments.max_megabytes, arguments.max_megapixels)
    # Made with mode 0700.
    with tempfile.TemporaryDirectory(prefix="autocolor-", ignore_cleanup_errors=True) as folder:
        options = WorkerOptions(
            str(model.resolve()), arguments.device, arguments.backend, folder, (), limits.pixels
        )
        pool = RenderPool(options, groups)
        room = max(MOST_STORED_BYTES, shutil.disk_usage(folder).free // 2)
        uploads = Uploads(Path(folder), limits.bytes, room)
        service = Service(pool, uploads, manifest, limits)
        app = make_app(service, [arguments.host, *arguments.allow_host])
        config = uvicorn.Config(
            app,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=2,
            server_header=False,
            http=PatientProtocol,
        )
        server = _Server(config)
        loop = asyncio.get_running_loop()
        serving: asyncio.Task[None] | None = None
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopped.set)
        starting = asyncio.create_task(pool.start())
        waiting = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
            if not stopped.is_set():
                await starting
                serving = asyncio.create_task(server.serve([listener]))
                port = listener.getsockname()[1]
                host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
                print(f"autocolor: http://{host}:{port}/ (Ctrl-C ends it)", flush=True)
                await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
                server.should_exit = True
                await serving
        finally:
            starting.cancel()
            waiting.cancel()
            await pool.close()


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again before anything is cleaned up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
