"""Turn a log of `caffe train` into a table and a plot of its losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autocolor.core.errors import InputError
from autocolor.core.programs import command_parser, run_program
from autocolor.training.log import plot_records, read_log, write_records


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
example:
  caffe train -solver solver.prototxt 2>&1 | tee train.log
  python tools/parse_log.py train.log         # writes train.csv and train.png beside it

Works while the training runs and on logs that were cut off. Where a log holds several runs, each
resumed from a snapshot of the one before, the later one counts.""",
    )
    parser.add_argument("log", type=Path, help="what caffe train printed")
    parser.add_argument("--csv", type=Path, help="table (default: LOG with the ending .csv)")
    parser.add_argument("--plot", type=Path, help="plot (default: LOG with the ending .png)")
    arguments = parser.parse_args(argv)
    table = arguments.csv or arguments.log.with_suffix(".csv")
    plot = arguments.plot or arguments.log.with_suffix(".png")
    if arguments.log in (table, plot):
        raise InputError("log", f"{arguments.log} would be overwritten; choose --csv and --plot")
    records = read_log(arguments.log)
    write_records(records, table)
    plot_records(records, plot)
    last = records[-1]
    print(f"{len(records)} records to iteration {last.iteration}: {table}, {plot}")
    return 0


if __name__ == "__main__":
    run_program(main)
