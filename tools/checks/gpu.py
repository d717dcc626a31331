"""Check everything that runs on an NVIDIA GPU, and measure it, in minutes."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocolor.core.files import write_atomically
from autocolor.core.programs import run_program
from gpu_steps import find_cuda_tool, program

_HERE = Path(__file__).resolve().parent
_LOG_LINES = 30


@dataclass(frozen=True)
class Check:
    """A step: what it shows, and the seconds after which it is stopped."""

    name: str
    seconds: int
    what: str


CHECKS = (
    Check("tests", 90, "unit tests of the GPU, in float and double (autocolor_tests --gpu)"),
    Check("layers", 60, "each layer of the networks on GPU and CPU, forward and backward"),
    Check("training_step", 45, "losses and all gradients of one training step on GPU and CPU"),
    Check("kernels", 60, "the time of each layer, ours against the time that their bytes take"),
    Check("train", 75, "caffe train from an LMDB: 12,417 channels, images a second"),
    Check("colorize", 60, "autocolor --device gpu on photos, against the CPU"),
    Check("memcheck", 60, "compute-sanitizer on the unit tests of the GPU: memory"),
    Check(
        "racecheck", 60, "compute-sanitizer on the unit tests of the GPU: races in shared memory"
    ),
    Check("profile", 60, "each kernel's time, bytes and registers by Nsight Compute (ncu)"),
)
_GTEST = {"tests", "memcheck", "racecheck"}
# What a sanitizer makes ten to a hundred times as slow; tests are run until the time is up.
_SANITIZED = "-*Gradient*:*DeathTest*"


def _verdict(report: dict[str, Any], status: int | None, output: str) -> dict[str, Any]:
    """Add a step's verdict to what it reports; a status of None means that it was stopped."""
    if status is None:
        verdict, reason = "timed out", "it was stopped when its time was up"
    elif "skipped" in report:
        verdict, reason = "skipped", report.pop("skipped")
    elif status != 0 or "failed" in report:
        verdict, reason = "failed", report.pop("failed", f"it ended with {status}")
    else:
        return {"verdict": "passed", **report}
    lines = output.strip().splitlines()[-_LOG_LINES:] if verdict != "skipped" else []
    return {"verdict": verdict, "reason": reason, **report, **({"output": lines} if lines else {})}


def _run(command: Sequence[str], seconds: float) -> tuple[int | None, str]:
    """Return a program's exit status, None if it had to be stopped, and what it printed."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stream:
        # In a group of its own, so that what it started is stopped as well.
        with subprocess.Popen(
            command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, start_new_session=True
        ) as process:
            status: int | None
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        stream.seek(0)
        return status, stream.read()


def read_gtest(output: str) -> dict[str, Any]:
    """Return how many tests passed, failed and were skipped, from what gtest prints."""
    failed = sorted(set(re.findall(r"^\[  FAILED  \] ([^\s,]+)", output, re.MULTILINE)))
    return {
        "passed": len(re.findall(r"^\[       OK \]", output, re.MULTILINE)),
        "failed_tests": [name for name in failed if not name.isdigit()],
        "skipped_cases": len(re.findall(r"^\[  SKIPPED \]", output, re.MULTILINE)),
    }


def _gtest(check: Check, device: str, is_quick: bool, seconds: float) -> dict[str, Any]:
    """Run the unit tests, those of the GPU where there is one, and else some of the CPU's."""
    tests = [str(program("autocolor_tests"))]
    if device == "gpu":
        tests.append("--gpu")
    filters = [_SANITIZED] if check.name != "tests" else []
    if device == "cpu" and is_quick:
        filters = ["*ColorSpace*"]
    tests += [f"--gtest_filter={text}" for text in filters]
    prefix: list[str] = []
    if check.name != "tests":
        tool = find_cuda_tool("compute-sanitizer")
        if tool is None or device == "cpu":
            missing = "compute-sanitizer is not on this machine" if tool is None else "no GPU"
            return {"verdict": "skipped", "reason": missing}
        prefix = [tool, "--tool", check.name, "--error-exitcode", "9"]
    status, output = _run([*prefix, *tests], seconds)
    report = read_gtest(output)
    if status == 0 and report["passed"] == 0:
        report["failed"] = "no test was run"
    if prefix:
        report["errors"] = re.findall(r"^=+ ERROR SUMMARY: (.*)$", output, re.MULTILINE)
        report["hazards"] = re.findall(r"^=+ RACECHECK SUMMARY: (.*)$", output, re.MULTILINE)
    return _verdict(report, status, output)


def _step(name: str, device: str, size: str, seconds: float, photos: Path | None) -> dict[str, Any]:
    """Run a step of gpu_steps.py."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable,
            str(_HERE / "gpu_steps.py"),
            name,
            str(report),
            device,
            size,
            f"{folder}/work",
            str(photos or ""),
        ]
        status, output = _run(command, seconds)
        found = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    return _verdict(found, status, output)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    names = [check.name for check in CHECKS]
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="steps, in order:\n"
        + "\n".join(f"  {check.name:13} {check.what} (≤ {check.seconds} s)" for check in CHECKS)
        + """

OUT/gpu.json has each step's verdict, numbers and, if it failed, last lines, and is written anew as each
step ends: a run that is cut off keeps what it had. Where no GPU can be used, the steps run on the CPU as
far as they go, and the exit status is 1. It is 0 if all steps passed or were skipped for want of a tool,
and 2 on wrong usage. docs/bundle.md says how to carry this to a machine that has a GPU.

examples:
  python tools/checks/gpu.py build/gpu            # a build with CUDA
  autocolor-cuda/bin/gpu_check results            # a bundle
  CUDA_VISIBLE_DEVICES= autocolor-cuda/bin/gpu_check results --quick    # a rehearsal, on the CPU""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="STEP",
        help="run this one; may be repeated",
    )
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="to colorize, instead of random ones"
    )
    parser.add_argument(
        "--seconds", type=float, default=470, help="for the whole run (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that everything runs"
    )
    arguments = parser.parse_args(argv)
    if not arguments.seconds > 0:
        parser.error(f"--seconds: expected more than 0, got {arguments.seconds}")
    if arguments.photos is not None and not arguments.photos.is_dir():
        parser.error(f"--photos {arguments.photos}: no such folder")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    arguments = _arguments(argv)
    end = time.monotonic() + arguments.seconds
    if not program("autocolor_tests").is_file():
        print(f"gpu: error: {program('autocolor_tests')}: no such program", file=sys.stderr)
        return 1
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"gpu: error: {arguments.out}: {error.strerror}", file=sys.stderr)
        return 1
    size = "quick" if arguments.quick else "whole"
    found = _step("device", "gpu", size, 60, None)
    device = "gpu" if found["verdict"] == "passed" else "cpu"
    if device == "cpu":
        print(
            f"gpu: no GPU can be used: {found['reason']}; what the CPU can do of each step is done"
        )
    else:
        print(f"{found['gpu']}, {found['memory_gib']:.0f} GiB, CUDA {found['runtime']}")
    results: dict[str, Any] = {"device": found, "ran_on": device, "size": size, "steps": {}}
    passed = True
    for check in CHECKS:
        if arguments.only and check.name not in arguments.only:
            continue
        start = time.monotonic()
        seconds = min(check.seconds, end - start)
        if seconds <= 0:
            report: dict[str, Any] = {
                "verdict": "not started",
                "reason": "the time for the whole run was up",
            }
        elif check.name in _GTEST:
            report = _gtest(check, device, arguments.quick, seconds)
        else:
            report = _step(check.name, device, size, seconds, arguments.photos)
        report["seconds"] = round(time.monotonic() - start, 1)
        results["steps"][check.name] = report
        write_atomically(arguments.out / "gpu.json", json.dumps(results, indent=1) + "\n")
        reason = f": {report['reason']}" if "reason" in report else ""
        print(f"{check.name:13} {report['verdict']} ({report['seconds']} s){reason}", flush=True)
        passed &= report["verdict"] in {"passed", "skipped"}
    if device == "cpu":
        print("gpu: error: no GPU was checked", file=sys.stderr)
        return 1
    return 0 if passed else 1


if __name__ == "__main__":
    run_program(main)
