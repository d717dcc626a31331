"""Provoke faults, and write down what came of them: docs/reliability.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from autocolor.core.files import write_atomically
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.runtime.caffe_runtime import import_caffe


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/checks/reliability.py --list
  python tools/checks/reliability.py --times 50 --only kill --only readers
  python tools/checks/reliability.py --page docs/reliability.md

Every experiment adds its row to OUT/results.json, which keeps those of earlier runs; --page writes all
of them as a Markdown table. Exit status: 0, 1 if an outcome was not the one that is wanted, 2 on wrong
usage.""",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="one of --list; may be repeated (default: all)",
    )
    parser.add_argument(
        "--times",
        type=at_least(1),
        default=50,
        metavar="N",
        help="how often to provoke a fault (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (default: 0)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/reliability"),
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument("--page", type=Path, help="write the results as this Markdown page")
    parser.add_argument("--list", action="store_true", help="print the experiments")
    arguments = parser.parse_args(argv)
    import_caffe()
    from reliability_experiments import EXPERIMENTS, read_results, results_page, run

    if arguments.list:
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:12} {experiment.fault}")
        return 0
    for unknown in set(arguments.only) - EXPERIMENTS.keys():
        parser.error(f"--only: expected one of {', '.join(EXPERIMENTS)}, got {unknown!r}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "results.json"
    results = read_results(file)
    failed = False
    for name in tqdm(arguments.only or list(EXPERIMENTS), unit="experiment"):
        result = run(name, arguments.times, arguments.seed)
        tqdm.write(f"{name}: {result.outcome}")
        failed |= not result.is_good
        results[name] = result
        content = {name: vars(result) for name, result in results.items()}
        write_atomically(file, json.dumps(content, indent=1) + "\n")
    if arguments.page:
        write_atomically(arguments.page, results_page(results))
    return 1 if failed else 0


if __name__ == "__main__":
    run_program(main)
