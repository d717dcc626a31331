"""Measure which algorithm is the faster one for which 3x3 convolution, and write the table of them.

The library reads the table when it is compiled; run this on a quiet machine, on a processor with
AVX-512 for both halves, then build again and look at what changed.
"""

from __future__ import annotations

import csv
import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from autocolor.core.errors import AutocolorError
from autocolor.core.programs import command_parser, run_program

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "build" / "bin" / "convolution_bench"
TABLE = ROOT / "caffe_layers" / "onednn" / "convolution_choice.inc"
CHANNELS = (1, 4, 16, 64, 256)  # as in convolution_choice.cpp
TILES = (1, 4, 16, 64, 256, 1024)
PASSES = ("forward", "forward, learning", "backward to weights", "backward to bottom")
MARGIN = 1.05  # a gain below that is noise
Times = dict[tuple[str, int, int, int], tuple[float, float]]


def measure(isa: str | None, threads: int, *, quick: bool = False) -> tuple[str, Times]:
    """Return the name of the instructions and seconds by (pass, channels, outputs, tiles).

    `isa` are the most instructions that may be used, as ``ONEDNN_MAX_CPU_ISA`` names them. If it is to be
    `quick`, the times of one small shape stand for all.
    """
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    if isa:
        environment["ONEDNN_MAX_CPU_ISA"] = isa
    times: Times = {}
    name = ""
    shapes = list(itertools.product(CHANNELS, CHANNELS, TILES))
    for channels, outputs, tiles in tqdm(
        shapes[:1] if quick else shapes, unit="shape", desc=isa or "all instructions"
    ):
        command = [str(BINARY), str(channels), str(outputs), str(tiles)]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if out.returncode:
            raise AutocolorError(f"{BINARY}: ended with status {out.returncode}: {out.stderr}")
        for row in csv.reader(out.stdout.splitlines()):
            name, *_, kind, winograd, others = row
            times[kind, channels, outputs, tiles] = (float(winograd), float(others))
    if quick:
        times = {(kind, *shape): times[kind, *shapes[0]] for kind in PASSES for shape in shapes}
    return name, times


def table(name: str, times: Times) -> str:
    """Return the entry of ``convolution_choice.inc`` for one set of instructions."""
    lines = [f'    {{"{name}",\n     {{']
    for kind in PASSES:
        lines.append(f"         // {kind}\n         {{")
        for channels in CHANNELS:
            row = []
            for outputs in CHANNELS:
                letters = ""
                for tiles in TILES:
                    winograd, others = times[kind, channels, outputs, tiles]
                    letters += "w" if MARGIN * winograd < others else "o"
                row.append(f'"{letters}"')
            lines.append(f"             {{{', '.join(row)}}},")
        lines.append("         },")
    lines.append("     }},")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        "example: nice -n -5 python tools/bench/choose_convolution.py --csv build/times.csv",
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="default: all cores, here %(default)s"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one small shape, to see that everything runs; the table then says nothing",
    )
    parser.add_argument("--out", type=Path, default=TABLE, help="default: %(default)s")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all times to FILE as well")
    arguments = parser.parse_args(argv)
    halves = dict(measure(isa, arguments.threads, quick=arguments.quick) for isa in ("AVX2", None))
    if len(halves) < 2 and not arguments.quick:
        raise AutocolorError(
            "expected a processor with AVX-512, which the table has a half for, got one with "
            f"{', '.join(halves)}"
        )
    head = "// Written by tools/bench/choose_convolution.py: see convolution_choice.cpp.\n"
    arguments.out.write_text(
        head + "".join(table(name, times) for name, times in halves.items()), encoding="utf-8"
    )
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(
                ("instructions", "pass", "channels", "outputs", "tiles", "winograd", "others")
            )
            for name, times in halves.items():
                writer.writerows((name, *key, *seconds) for key, seconds in times.items())
    print(f"table in {arguments.out}")
    return 0


if __name__ == "__main__":
    run_program(main)
