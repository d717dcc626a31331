"""Programs as a user runs them, and patience with those that run in the background."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from autocolor.core.programs import told

ROOT = Path(__file__).resolve().parents[2]

# Every tool of the repository that has a command line.
TOOLS = [
    "data_prep/build_lmdb.py",
    "data_prep/fetch_photos.py",
    "data_prep/imagenet_splits.py",
    "data_prep/sun_splits.py",
    "tools/bench/choose_convolution.py",
    "tools/bench/compare.py",
    "tools/bench/lmdb_building.py",
    "tools/bench/run.py",
    "tools/caffe_tree/caffe_source.py",
    "tools/caffe_tree/install_into_caffe.py",
    "tools/checks/fuzz.py",
    "tools/checks/gpu.py",
    "tools/checks/reliability.py",
    "tools/convert_vgg16.py",
    "tools/convert_weights.py",
    "tools/demo.py",
    "tools/docker/run_steps.py",
    "tools/evaluate.py",
    "tools/export_onnx.py",
    "tools/generate_prototxt.py",
    "tools/migrate_prototxt.py",
    "tools/paper/deshpande_split.py",
    "tools/paper/figures.py",
    "tools/paper/random_subsets.py",
    "tools/paper/reproduce.py",
    "tools/paper/transfer_benchmark.py",
    "tools/parse_log.py",
    "tools/rebalance.py",
    "tools/release/bundle.py",
    "tools/release/licences.py",
    "tools/release/looks.py",
    "tools/release/model_card.py",
    "tools/train.py",
    "tools/train_edges.py",
    "tools/train_model.py",
]

# After so many seconds a test gives up on what must happen some time. Nothing is tested by it: on an
# idle machine the longest takes a few, and a loaded one may be twenty times as slow.
PATIENCE = 300


def run(
    *command: object, status: int | None = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program from the repository's root, to the exit status expected; None takes any."""
    options.setdefault("cwd", ROOT)
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    assert status is None or done.returncode == status, done.stdout[-1000:] + done.stderr[-3000:]
    return done


def tool_command(tool: str, *arguments: object) -> list[str]:
    """Return the command line of a tool of the repository, such as ``tools/evaluate.py``."""
    return [sys.executable, str(ROOT / tool), *map(str, arguments)]


def run_tool(
    tool: str, *arguments: object, status: int | None = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a tool of the repository, see :func:`run`."""
    return run(*tool_command(tool, *arguments), status=status, **options)


def call_main(tool: str, *arguments: object) -> int:
    """Call a tool's ``main`` in this process, which is quicker than a start; return its status.

    Errors are told as by :func:`autocolor.core.programs.run_program`. That every tool ends so as a program,
    tests/cli/test_stopping.py shows.
    """
    path = ROOT / tool
    spec = importlib.util.spec_from_file_location(f"called_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their module
    # As Python starts it: argparse says the name, and files beside it can be imported.
    with (
        patch.object(sys, "argv", [str(path)]),
        patch.object(sys, "path", [str(path.parent), *sys.path]),
    ):
        spec.loader.exec_module(module)
        try:
            return told(lambda: module.main([str(word) for word in arguments]), path.stem)
        except SystemExit as stopped:
            return int(stopped.code or 0)


def run_main(
    tool: str, *arguments: object, status: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Do as :func:`run_tool` in this process, see :func:`call_main`."""
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        returned = call_main(tool, *arguments)
    done = subprocess.CompletedProcess([tool], returned, out.getvalue(), errors.getvalue())
    assert status is None or returned == status, done.stdout[-1000:] + done.stderr[-3000:]
    return done


def wait_until(
    condition: Callable[[], object],
    process: subprocess.Popen[Any] | None = None,
    step: float = 0.02,
) -> None:
    """Wait until something is true, which must be before `process` ends."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < deadline, f"not so after {PATIENCE} s"
        time.sleep(step)


def state_of(process: int | str) -> str:
    """Return the letter of a process's state, Z if there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def wait_until_gone(processes: Iterable[int | str]) -> None:
    """Wait until all have ended; the container's init may leave them as zombies."""
    wait_until(lambda: all(state_of(process) == "Z" for process in processes))


@contextmanager
def lock_holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Start another process that holds a lock of the library until it is killed."""
    program = f"""
import sys
from pathlib import Path
from autocolor.core.files import exclusive
with exclusive(Path({str(lock)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        yield other
        other.kill()
