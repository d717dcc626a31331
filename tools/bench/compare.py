"""Compare the ratios of two runs of tools/bench/run.py, by their JSON files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autocolor.core.errors import AutocolorError
from autocolor.core.files import check_is_file
from autocolor.core.programs import command_parser, run_program


class _RatiosError(AutocolorError):
    """A file is no list of ratios."""


def _read(path: Path) -> dict[str, dict[str, Any]]:
    check_is_file(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {row["name"]: {**row, "ratio": float(row["ratio"])} for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise _RatiosError(
            f"{path}: expected what tools/bench/run.py --json writes, got {type(error).__name__}: "
            f"{error}"
        ) from error


def gain(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Return how much better a ratio has become, 0.1 for a tenth; negative if it is worse."""
    old, new = before["ratio"], after["ratio"]
    if old <= 0 or new <= 0:
        return 0.0 if old == new else float("nan")
    better = new / old if after["at_least"] else old / new
    return float(better - 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
A ratio has its baseline from its own run, so runs on different machines can be compared with care: the
machines are printed where they differ. The exit status is 1 if a ratio is worse by more than
--tolerance, or missed its target where it met it before.""",
    )
    parser.add_argument("before", type=Path, help="JSON of the earlier run")
    parser.add_argument("after", type=Path, help="JSON of the later one")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.1,
        help="part by which a ratio may be worse, by noise (default: %(default)s)",
    )
    parser.add_argument("--all", action="store_true", help="show unchanged ratios as well")
    arguments = parser.parse_args(argv)
    if not arguments.tolerance >= 0:
        parser.error(f"--tolerance: expected a number >= 0, got {arguments.tolerance}")
    before, after = _read(arguments.before), _read(arguments.after)
    _print_machines(before, after)
    worse = 0
    print("| what | before | after | change | |\n|---|---|---|---|---|")
    for name in [*after, *(name for name in before if name not in after)]:
        if name not in before or name not in after:
            row, where = (after[name], "new") if name in after else (before[name], "gone")
            print(f"| {name} | {row['ratio']:.3g} {row['unit']} | | | {where} |")
            continue
        old, new = before[name], after[name]
        change = gain(old, new)
        lost = old["met"] is True and new["met"] is False
        is_worse = change < -arguments.tolerance or lost
        worse += is_worse
        if arguments.all or is_worse or change > arguments.tolerance:
            verdict = "**target missed**" if lost else "**worse**" if is_worse else ""
            print(
                f"| {name} | {old['ratio']:.3g} | {new['ratio']:.3g} {new['unit']} "
                f"| {100 * change:+.0f} % | {verdict} |"
            )
    print(f"\n{worse} of {len(before.keys() & after.keys())} ratios are worse")
    return 1 if worse else 0


def _print_machines(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> None:
    old, new = (next(iter(rows.values()), {}).get("machine", {}) for rows in (before, after))
    for name in new:
        if old.get(name) != new[name]:
            print(f"{name}: {old.get(name, 'unknown')} before, {new[name]} after")


if __name__ == "__main__":
    run_program(main)
