"""Score colorizations that are given the true colour histogram (Table 4), on colour photos.

Compares no colorization, the automatic one, quantile matching (Q) and energy minimisation (E).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from autocolor.control.energy import CHI_SQUARE_WEIGHT
from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path
from autocolor.data.photo_lists import list_photos
from autocolor.paper.transfer_evaluation import TransferEvaluation, evaluate_transfer
from autocolor.runtime.colorizer import Colorizer


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
examples:
  python tools/paper/transfer_benchmark.py --model build/demo/model --photos build/data/photos/test
  python tools/paper/transfer_benchmark.py --model build/demo/model --side 512 \\
      --photos build/data/validation_lmdb.txt --weights 1 3 10 30 100

The second compares values of lambda, Eq. 6, on validation photos. Photos that cannot be read or
have no colour are skipped.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="folder with model.json")
    parser.add_argument(
        "--photos",
        type=Path,
        required=True,
        help="folder of photos, searched with its subfolders, or text file with a path a line, "
        "which a class index may follow",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="folder that the lines of the text file are relative to, with or without a slash in "
        "front (default: the text file's own)",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        default=[CHI_SQUARE_WEIGHT],
        metavar="LAMBDA",
        help=f"weights of the chi-square term (default: {CHI_SQUARE_WEIGHT:g})",
    )
    parser.add_argument(
        "--side",
        type=int,
        metavar="PIXELS",
        help="reduce photos to this larger side first (default: full resolution)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the scores as JSON")
    arguments = parser.parse_args(argv)
    try:
        paths = list_photos(arguments.photos, arguments.root)
        evaluation = evaluate_transfer(
            Colorizer(arguments.model), paths, arguments.weights, maximum_side=arguments.side
        )
        if arguments.out is not None:
            write_scores(evaluation, arguments.out)
    except (AutocolorError, ValueError, OSError) as error:
        print(f"transfer_benchmark: error: {error}", file=sys.stderr)
        return 1
    print(scores_table(evaluation), end="")
    return 0


def scores_table(evaluation: TransferEvaluation) -> str:
    """Return the scores as a Markdown table, with how the descents ended."""
    lines = ["| method | αβ RMSE | PSNR |", "|---|---|---|"]
    lines += [
        f"| {name} | {scores.rmse:.4f} | {scores.psnr:.2f} dB |"
        for name, scores in evaluation.scores.items()
    ]
    lines += [
        "",
        f"{evaluation.images} photos, {len(evaluation.skipped)} skipped; E took "
        f"{evaluation.steps:.1f} steps on average, {evaluation.unfinished} descents unfinished",
    ]
    return "\n".join(lines) + "\n"


def write_scores(evaluation: TransferEvaluation, path: Path) -> None:
    """Write an evaluation as JSON, atomically; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        scores = {name: scores.to_dict() for name, scores in evaluation.scores.items()}
        text = json.dumps(asdict(evaluation) | {"scores": scores}, indent=2, default=str)
        partial.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
