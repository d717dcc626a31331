"""Score a model on colour photos at full resolution, against leaving them grey."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autocolor.caffe_runtime import CaffeError
from autocolor.evaluation import evaluate
from autocolor.images import find_photos
from autocolor.model_folder import ModelError
from autocolor.predictor import Predictor
from autocolor.report import metrics_table, write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
example:
  python tools/evaluate.py --model build/demo/model --photos build/data/photos/test \\
      --out build/demo/evaluation

Writes metrics.json, metrics.md, metrics.csv (one line a photo) and gallery.png into OUT. Photos
that cannot be read or have no colour are skipped and listed.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="folder with model.json")
    parser.add_argument(
        "--photos", type=Path, required=True, help="folder of photos, searched with its subfolders"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument(
        "--gallery",
        type=int,
        default=12,
        metavar="N",
        help="photos shown in the gallery (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    try:
        if not arguments.photos.is_dir():
            raise ValueError(f"--photos {arguments.photos}: no such folder")
        if arguments.gallery < 0:
            raise ValueError(f"--gallery: expected at least 0, received {arguments.gallery}")
        predictor = Predictor(arguments.model)
        evaluation = evaluate(
            predictor.colorize,
            find_photos(arguments.photos, recursive=True),
            gallery_size=arguments.gallery,
        )
        manifest = predictor.manifest
        write_report(evaluation, arguments.out, model=manifest.name, strength=manifest.strength)
    except (ModelError, CaffeError, ValueError, OSError) as error:
        print(f"evaluate: error: {error}", file=sys.stderr)
        return 1
    print(metrics_table(evaluation, predictor.manifest.name), end="")
    print(f"report in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
