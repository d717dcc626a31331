"""Write the prototxt files of the colorizer: train, test, deploy and solver."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autocolor.prototxt import MODEL_NAME, default_options, model_files, write_model_files


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    training, validation_source, solver_options = default_options()
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"""\
examples:
  python tools/generate_prototxt.py            # rewrites prototxt/{MODEL_NAME}
  python tools/generate_prototxt.py --check    # exits with 1 if a checked-in file is stale
  python tools/generate_prototxt.py --out my_model --source my_lmdb --batch 4 --frozen

Paths inside the files are relative to the folder in which caffe train is started.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--out", type=Path,
                        help=f"folder for the files (default: prototxt/{MODEL_NAME})")  # fmt: skip
    parser.add_argument("--source", default=training.source,
                        help="LMDB of training images (default: %(default)s)")  # fmt: skip
    parser.add_argument("--validation-source", default=validation_source,
                        help="LMDB of validation images (default: %(default)s)")  # fmt: skip
    parser.add_argument("--batch", type=int, default=training.batch,
                        help="images a batch (default: %(default)s)")  # fmt: skip
    parser.add_argument("--crop", type=int, default=training.crop,
                        help="side of the random crop (default: %(default)s)")  # fmt: skip
    parser.add_argument("--locations", type=int, default=training.locations,
                        help="hypercolumns an image (default: %(default)s)")  # fmt: skip
    parser.add_argument("--iterations", type=int, default=solver_options.iterations,
                        help="of the solver (default: %(default)s)")  # fmt: skip
    parser.add_argument("--frozen", action="store_true",
                        help="train the head only, on a VGG-16 that stays as it is")  # fmt: skip
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args(argv)
    for name in ("batch", "crop", "locations", "iterations"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name}: expected at least 1")

    training = replace(
        training,
        source=arguments.source,
        batch=arguments.batch,
        crop=arguments.crop,
        locations=arguments.locations,
        frozen=arguments.frozen,
    )
    solver_options = replace(solver_options, iterations=arguments.iterations)
    folder = arguments.out or root / "prototxt" / MODEL_NAME
    if arguments.out:
        solver_options = replace(
            solver_options,
            train_net=str(arguments.out / "train.prototxt"),
            test_net=str(arguments.out / "test.prototxt"),
            snapshot_prefix=str(arguments.out / "snapshot"),
        )
    files = model_files(training, arguments.validation_source, solver_options)
    if not arguments.check:
        write_model_files(folder, files)
        print(f"{folder}: wrote {', '.join(files)}")
        return 0
    stale = [
        name
        for name, text in files.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]
    for name in stale:
        print(f"generate_prototxt: error: {folder / name} differs from what networks.py describes",
              file=sys.stderr)  # fmt: skip
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
