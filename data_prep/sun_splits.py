"""Choose test photos of the SUN database as the paper does: SUN-A and SUN-6."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from autocolor.core.constants import (
    SUN_6_CATEGORIES,
    SUN_6_TEST_IMAGES,
    SUN_A_SUBSETS,
    SUN_A_TEST_IMAGES,
    SUN_A_TRAINING_IMAGES,
)
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.splits import SplitError, UsablePhotos, find_listed, write_splits
from autocolor.data.sun import category_photos, find_categories, random_subsets
from autocolor.imaging.images import find_photos

_EPILOG = """\
examples:
  python data_prep/sun_splits.py sun-a --images SUN-A --out lists
  python data_prep/sun_splits.py sun-6 --images SUN397 --out lists --category outdoor=my/outdoor
  python data_prep/sun_splits.py sun-6 --images SUN6 --out lists --published sun6_test.txt

sun-a writes sun_a_test_1.txt ... sun_a_test_5.txt, random subsets of 1344 photos, and beside each
sun_a_train_1.txt ..., 2688 of the others, as many as Cheng et al. train on. sun-6 writes
sun_6_test.txt: the photos of a published list, or 40 of each of the six categories. Photos that
cannot be read or are encoded as greyscale are left out, and listed in NAME.left_out.tsv.

Lists have a path a line, relative to OUT, which tools/evaluate.py and data_prep/build_lmdb.py read;
NAME.json holds the seed and their hashes. The same seed gives the same lists on every machine."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(__doc__, _EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{sun-a,sun-6}")
    sun_a = commands.add_parser("sun-a", help="random subsets, for training and testing")
    sun_6 = commands.add_parser("sun-6", help="test photos of six scene categories")
    for command in (sun_a, sun_6):
        command.add_argument(
            "--images",
            type=Path,
            required=True,
            help="folder of the photos, searched with its subfolders",
        )
        command.add_argument("--out", type=Path, required=True, help="folder for the lists")
        command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    sun_a.add_argument(
        "--subsets", type=at_least(1), default=SUN_A_SUBSETS, help="default: %(default)s"
    )
    sun_a.add_argument(
        "--test-images",
        type=at_least(1),
        default=SUN_A_TEST_IMAGES,
        metavar="N",
        help="of each subset (default: %(default)s)",
    )
    sun_a.add_argument(
        "--train-images",
        type=at_least(0),
        default=SUN_A_TRAINING_IMAGES,
        metavar="N",
        help="at most, of the others (default: %(default)s)",
    )
    sun_6.add_argument(
        "--test-images",
        type=at_least(1),
        default=SUN_6_TEST_IMAGES,
        metavar="N",
        help="in all (default: %(default)s)",
    )
    sun_6.add_argument(
        "--category",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="where a category is, if no folder has its name; relative to IMAGES; "
        "may be given several times",
    )
    sun_6.add_argument(
        "--published", type=Path, metavar="LIST", help="take this list instead of choosing"
    )
    arguments = parser.parse_args(argv)
    root = Path(os.path.abspath(arguments.images))
    name = arguments.command.replace("-", "_")
    facts: dict[str, object] = {"seed": arguments.seed}
    with tqdm(unit="photo", desc="reading") as bar:
        usable = UsablePhotos(bar.update)
        if arguments.command == "sun-a":
            splits = random_subsets(
                find_photos(root, recursive=True),
                root,
                arguments.subsets,
                arguments.test_images,
                arguments.train_images,
                arguments.seed,
                usable,
            )
        elif arguments.published:
            photos = find_photos(root, recursive=True)
            splits = {"sun_6_test": find_listed(arguments.published, root, photos)}
            facts = {"published": str(arguments.published)}
        else:
            folders = find_categories(root, SUN_6_CATEGORIES, _given(arguments.category))
            splits = {
                "sun_6_test": category_photos(
                    folders, arguments.test_images, arguments.seed, usable
                )
            }
            facts["categories"] = list(SUN_6_CATEGORIES)
    write_splits(arguments.out, name, splits, usable.left_out, **facts)
    for split, chosen in splits.items():
        print(f"{arguments.out / split}.txt: {len(chosen)} photos")
    if usable.left_out:
        print(f"{len(usable.left_out)} left out (see {arguments.out / name}.left_out.tsv)")
    return 0


def _given(options: Sequence[str]) -> dict[str, Path]:
    given = {}
    for option in options:
        match = re.fullmatch(r"([^=]+)=(.+)", option)
        if match is None or match[1] not in SUN_6_CATEGORIES:
            raise SplitError(
                f"--category: expected NAME=FOLDER with a name of "
                f"{', '.join(SUN_6_CATEGORIES)}, got {option!r}"
            )
        given[match[1]] = Path(match[2])
    return given


if __name__ == "__main__":
    run_program(main)
