"""Write the prototxt files of a model: train, test, deploy and solver."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from autocolor.prototxt import (
    MODEL_NAME,
    MODEL_NAMES,
    default_options,
    model_files,
    write_model_files,
)

_TRAINING_OPTIONS = ("source", "batch", "crop", "locations", "frozen")


def stale_files(folder: Path, files: dict[str, str]) -> list[Path]:
    """Files of `folder` that are missing or differ from `files`."""
    return [
        folder / name
        for name, text in files.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"""\
examples:
  python tools/generate_prototxt.py            # rewrites prototxt/{MODEL_NAME}
  python tools/generate_prototxt.py --model edges_data-conv3_3
  python tools/generate_prototxt.py --check    # exits with 1 if a checked-in file is stale
  python tools/generate_prototxt.py --out my_model --source my_lmdb --batch 4 --frozen

What is not given is as in the checked-in files. Paths inside the files are relative to the folder in
which caffe train is started.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--model", choices=MODEL_NAMES, default=MODEL_NAME,
                        help="default: %(default)s")  # fmt: skip
    parser.add_argument("--out", type=Path,
                        help="folder for the files (default: prototxt/MODEL)")  # fmt: skip
    parser.add_argument("--source", help="LMDB of training images; of the edges, folder of two")
    parser.add_argument("--validation-source", help="the same of validation images")
    parser.add_argument("--batch", type=int, help="images a batch")
    parser.add_argument("--crop", type=int, help="side of the colorizer's random crop")
    parser.add_argument("--locations", type=int, help="hypercolumns an image")
    parser.add_argument("--iterations", type=int, help="of the solver")
    parser.add_argument("--frozen", action="store_true", default=None,
                        help="train the colorizer's head only, on a VGG-16 that stays as it is "
                        "(the edges' always does)")  # fmt: skip
    parser.add_argument("--check", action="store_true",
                        help="compare instead of writing; without --out, every model")  # fmt: skip
    arguments = parser.parse_args(argv)
    for name in ("batch", "crop", "locations", "iterations"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            parser.error(f"--{name}: expected at least 1")

    stale: list[Path] = []
    for model in MODEL_NAMES if arguments.check and not arguments.out else [arguments.model]:
        training, validation_source, solver_options = default_options(model)
        given = {
            name: getattr(arguments, name)
            for name in _TRAINING_OPTIONS
            if getattr(arguments, name) is not None
        }
        unknown = given.keys() - {field.name for field in fields(training)}
        if unknown:
            parser.error(f"--{min(unknown)}: not an option of {model}")
        training = replace(training, **given)
        if arguments.iterations is not None:
            solver_options = replace(solver_options, iterations=arguments.iterations)
        folder = arguments.out or root / "prototxt" / model
        if arguments.out:
            solver_options = replace(
                solver_options,
                train_net=str(arguments.out / "train.prototxt"),
                test_net=str(arguments.out / "test.prototxt"),
                snapshot_prefix=str(arguments.out / "snapshot"),
            )
        files = model_files(
            training, arguments.validation_source or validation_source, solver_options
        )
        if arguments.check:
            stale += stale_files(folder, files)
        else:
            write_model_files(folder, files)
            print(f"{folder}: wrote {', '.join(files)}")
    for path in stale:
        print(f"generate_prototxt: error: {path} differs from what networks.py describes",
              file=sys.stderr)  # fmt: skip
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
