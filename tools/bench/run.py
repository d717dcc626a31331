"""Measure how fast and how lean everything is, and write the table of all ratios."""

from __future__ import annotations

import argparse
import ctypes
import datetime
import fnmatch
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convolution import onednn_instructions
from measure import ChildError, in_child
from results import (
    Benchmark,
    Report,
    Settings,
    performance_markdown,
    report_as_json,
    report_from_json,
    results_table,
)
from tqdm import tqdm

from autocolor.core.errors import InputError
from autocolor.core.files import write_atomically
from autocolor.core.programs import at_least, command_parser, run_program

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def find_benchmarks() -> list[Benchmark]:
    """Return the benchmarks of all modules beside this file that have ``BENCHMARKS``, by module name."""
    found: dict[str, Benchmark] = {}
    for path in sorted(HERE.glob("*.py")):
        if "\nBENCHMARKS = " not in path.read_text(encoding="utf-8"):
            continue  # a program of its own, or what several benchmarks need
        for benchmark in importlib.import_module(path.stem).BENCHMARKS:
            if benchmark.name in found:
                raise ValueError(f"{path.name}: a benchmark {benchmark.name!r} is there already")
            found[benchmark.name] = benchmark
    return list(found.values())


def _output(*command: str) -> str:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def commit() -> str:
    """Return the commit of the working tree, marked if files differ from it."""
    try:
        changed = _output("git", "status", "--porcelain", "--untracked-files=no")
        return _output("git", "rev-parse", "--short=12", "HEAD") + (" + changes" if changed else "")
    except (subprocess.CalledProcessError, OSError):
        return "unknown"


def build() -> None:
    """Bring what is measured up to the working tree, so that the commit on the page is that of the code.

    Where nothing was built, as in a bundle, everything is measured as it came.
    """
    folder = ROOT / "build"
    if not (folder / "build.ninja").is_file():
        return
    ran = subprocess.run(
        ["ninja", "-C", folder],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode:
        raise InputError(str(folder), f"cannot be built: {ran.stdout.strip().splitlines()[-1]}")


def openblas_kernel() -> str:
    """Return the name of the kernel that OpenBLAS, as libcaffe loads it, chose for this machine."""
    try:
        library = ctypes.CDLL("libopenblas.so.0")
    except OSError:
        return "unknown"
    library.openblas_get_corename.restype = ctypes.c_char_p
    library.openblas_get_config.restype = ctypes.c_char_p
    version = library.openblas_get_config().decode().split()[1]
    return f"{version}, kernel {library.openblas_get_corename().decode()}"


def machine(threads: int, repetitions: int) -> dict[str, str]:
    """Return what is measured on, with what and when."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "processor": f"{cpu.group(1) if cpu else platform.processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "instructions": onednn_instructions(),
        "OpenBLAS": openblas_kernel(),
        "threads": str(threads),
        "repetitions": str(repetitions),
        "load when started": f"{os.getloadavg()[0]:.1f} processes (others share this machine)",
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/bench/run.py --list
  python tools/bench/run.py --only 'sparse*' --json build/bench.json
  python tools/bench/run.py --resume --markdown docs/performance.md   # everything: a long job

Each benchmark runs in a process of its own. Its report is kept in OUT as it ends; --resume takes
those that are there, of the same commit and settings, instead of measuring again. A benchmark that
fails is listed at the end, and the exit status is 1; a target that is missed is shown in the table
and is no failure.

--json writes a list of {"name", "ratio", "target", "unit", "at_least", "met", "ours", "baseline",
"value_unit", "baseline_name", "benchmark", "machine"}; --markdown FILE.md writes it to FILE.json as
well. tools/bench/compare.py says what changed between two of them.""",
    )
    parser.add_argument("--list", action="store_true", help="show the benchmarks and end")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="run these benchmarks; * and ? match as in file names, may be repeated",
    )
    parser.add_argument(
        "--repetitions", type=at_least(1), default=9, help="timed rounds (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=at_least(1),
        default=os.cpu_count(),
        help="of OpenMP and OpenBLAS (default: all cores, here %(default)s)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small sizes and one round, to see that everything runs; ratios then say nothing",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "build" / "bench",
        help="folder for reports and plots (default: build/bench)",
    )
    parser.add_argument(
        "--torch",
        metavar="PYTHON",
        help="a Python with PyTorch and OpenCV (of an environment of its own), to compare with",
    )
    parser.add_argument("--resume", action="store_true", help="keep reports that are in OUT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all ratios to FILE")
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the whole report to FILE, its plots into a folder of FILE's name and its ratios as "
        "JSON beside it",
    )
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.repetitions = 1
    return arguments


def _select(benchmarks: Sequence[Benchmark], patterns: Sequence[str] | None) -> list[Benchmark]:
    if patterns is None:
        return list(benchmarks)
    for pattern in patterns:
        if not fnmatch.filter([benchmark.name for benchmark in benchmarks], pattern):
            raise InputError(f"--only {pattern}", "no benchmark has this name (see --list)")
    return [b for b in benchmarks if any(fnmatch.fnmatch(b.name, p) for p in patterns)]


def _load(path: Path, key: Mapping[str, Any]) -> Report | None:
    """Return a stored report if it was made under the same key."""
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    return report_from_json(stored["report"]) if stored["key"] == key else None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    arguments = _arguments(argv)
    # OpenBLAS and OpenMP read these when they are loaded, in the benchmarks' own processes.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(arguments.threads)
    os.environ.setdefault("GLOG_minloglevel", "2")
    selected = _select(find_benchmarks(), arguments.only)
    if arguments.list:
        for benchmark in selected:
            print(f"{benchmark.name:32} {benchmark.title}")
        return 0
    build()
    figures = arguments.out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    measured_on = machine(arguments.threads, arguments.repetitions)
    settings = Settings(
        arguments.repetitions, arguments.quick, arguments.threads, figures, arguments.torch
    )
    key = {name: measured_on[name] for name in ("commit", "processor", "threads", "repetitions")}
    key["quick"] = str(arguments.quick)
    for name, value in measured_on.items():
        print(f"{name}: {value}")
    reports: dict[str, Report] = {}
    failed = []
    progress = tqdm(selected, unit="benchmark")
    for benchmark in progress:
        progress.set_description(benchmark.name)
        stored = arguments.out / f"{benchmark.name}.json"
        report = _load(stored, key) if arguments.resume else None
        if report is None:
            try:
                report, _ = in_child(benchmark.run, settings)
            except ChildError as error:
                failed.append(benchmark.name)
                tqdm.write(f"run: error: {benchmark.name}: {error}", file=sys.stderr)
                continue
            _write(stored, json.dumps({"key": key, "report": report_as_json(report)}, indent=1))
        reports[benchmark.name] = report
        tqdm.write(results_table(report.results))
    titles = {benchmark.name: benchmark.title for benchmark in selected}
    rows = [
        {**row, "benchmark": name, "machine": measured_on}
        for name, report in reports.items()
        for row in report_as_json(report)["results"]
    ]
    beside = arguments.markdown.with_suffix(".json") if arguments.markdown else None
    for path in filter(None, (arguments.json, beside)):
        _write(path, json.dumps(rows, indent=1) + "\n")
        print(f"ratios in {path}")
    if arguments.markdown:
        folder = arguments.markdown.with_suffix("")
        for report in reports.values():
            for name in report.figures:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(figures / name, folder / name)
        _write(
            arguments.markdown,
            performance_markdown(
                measured_on, {titles[name]: report for name, report in reports.items()}, folder.name
            ),
        )
        print(f"report in {arguments.markdown}")
    if failed:
        print(f"run: error: {len(failed)} benchmarks failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run_program(main)
