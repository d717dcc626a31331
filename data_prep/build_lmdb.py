"""Build an LMDB of colour photos for Caffe's Data layer."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autocolor.lmdb_io import LmdbOptions, is_complete, write_lmdb
from autocolor.photo_lists import list_photos
from autocolor.photos import PhotoError, read_list, split_validation


def group_photos(photos: Sequence[Path], folder: Path, photo_list: Path | None) -> list[str]:
    """Group of each photo: that of the list, or the photo itself where it is not listed."""
    listed = {}
    if photo_list is not None:
        for entry in read_list(photo_list):
            path = folder / entry.path.relative_to(entry.split)
            listed[path] = f"{entry.package}/{entry.group}"
    return [listed.get(photo, str(photo)) for photo in photos]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
examples:
  python data_prep/build_lmdb.py --photos my_photos --out train_lmdb
  python data_prep/build_lmdb.py --photos build/data/photos/train --out build/data/train_lmdb \\
      --list data_prep/photos.tsv --validation 0.15 --validation-out build/data/validation_lmdb

Photos that cannot be read, and photos without any colour, are skipped and listed in OUT.skipped.tsv.
Run again to resume; a complete LMDB of the same photos and options is left alone.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = LmdbOptions()
    parser.add_argument("--photos", type=Path, required=True,
                        help="folder of photos, or a text file with a path a line")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the LMDB")
    parser.add_argument("--side", type=int, default=defaults.side,
                        help="reduce the smaller side to at most this (default: %(default)s)")  # fmt: skip
    parser.add_argument("--minimum-side", type=int, default=defaults.minimum_side,
                        help="enlarge photos whose smaller side is below this: Caffe's crop needs "
                        "it (default: %(default)s)")  # fmt: skip
    parser.add_argument("--encoding", choices=("jpeg", "png", "raw"), default=defaults.encoding)
    parser.add_argument("--quality", type=int, default=defaults.quality, help="of JPEG")
    parser.add_argument("--seed", type=int, default=0, help="of the order and of the split")
    parser.add_argument("--list", type=Path,
                        help="photo list of fetch_photos.py: photos of one group stay together")  # fmt: skip
    parser.add_argument("--validation", type=float, default=0.0, metavar="FRACTION",
                        help="share of the photos for a validation LMDB")  # fmt: skip
    parser.add_argument("--validation-out", type=Path, help="folder of the validation LMDB")
    parser.add_argument("--force", action="store_true", help="replace a different LMDB")
    arguments = parser.parse_args(argv)
    if bool(arguments.validation) != bool(arguments.validation_out):
        parser.error("--validation and --validation-out go together")
    if not 1 <= arguments.minimum_side <= arguments.side:
        parser.error("expected 1 <= --minimum-side <= --side")
    options = LmdbOptions(
        arguments.side, arguments.minimum_side, arguments.encoding, arguments.quality
    )

    try:
        photos = list_photos(arguments.photos)
        parts = {arguments.out: photos}
        if arguments.validation:
            groups = group_photos(photos, arguments.photos, arguments.list)
            for out, indices in zip(
                (arguments.out, arguments.validation_out),
                split_validation(groups, arguments.validation, arguments.seed),
                strict=True,
            ):
                parts[out] = [photos[index] for index in indices]
    except (OSError, PhotoError, ValueError) as error:
        print(f"build_lmdb: error: {error}", file=sys.stderr)
        return 2
    for out, part in parts.items():
        if not part:
            print(f"build_lmdb: error: no photos for {out} in {arguments.photos}", file=sys.stderr)
            return 2
        # Neighbours in an LMDB share a batch, so they should not share an origin.
        order = np.random.default_rng(arguments.seed).permutation(len(part))
        shuffled = [part[index] for index in order]
        if is_complete(out, shuffled, options):
            print(f"{out}: complete already, {len(part)} photos")
            continue
        if out.exists() and any(out.iterdir()) and not arguments.force:
            print(f"build_lmdb: error: {out} holds something else; use --force to replace it",
                  file=sys.stderr)  # fmt: skip
            return 2
        if out.exists() and not any(out.iterdir()):
            shutil.rmtree(out)
        skipped = write_lmdb(
            shuffled, out, options, iter(tqdm(shuffled, desc=out.name, unit="photo"))
        )
        report = out.with_name(out.name + ".skipped.tsv")
        report.write_text("".join(f"{path}\t{reason}\n" for path, reason in skipped))
        out.with_name(out.name + ".txt").write_text("".join(f"{p.resolve()}\n" for p in part))
        print(f"{out}: {len(part) - len(skipped)} photos, {len(skipped)} skipped"
              + (f" (see {report})" if skipped else ""))  # fmt: skip
        if len(skipped) == len(part):
            print(f"build_lmdb: error: {out}: none of its {len(part)} photos could be used; "
                  f"{report} says why", file=sys.stderr)  # fmt: skip
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
