"""Score colorizations that are given the true colour histogram (Table 4), on colour photos.

Compares no colorization, the automatic one, quantile matching (Q) and energy minimisation (E).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autocolor.control.energy import CHI_SQUARE_WEIGHT, Transfer
from autocolor.core.arrays import FloatArray
from autocolor.core.files import write_atomically
from autocolor.core.programs import command_parser, run_program
from autocolor.data.photo_lists import add_photo_options, list_photos
from autocolor.evaluation.evaluate import EvaluationProtocol, Scene, SceneMethod, score
from autocolor.paper.experiments import colorize_by_energy, predicted, scene_method
from autocolor.runtime.colorizer import Colorizer


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/paper/transfer_benchmark.py --model build/demo/model --photos build/data/photos/test
  python tools/paper/transfer_benchmark.py --model build/demo/model --side 512 \\
      --photos build/data/validation_lmdb.txt --weights 1 3 10 30 100

The second compares values of lambda, Eq. 6, on validation photos. Photos that cannot be read or
are encoded as greyscale are skipped.""",
    )
    parser.add_argument("--model", type=Path, required=True, help="folder with model.json")
    add_photo_options(parser, "to score on", required=True)
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
    if not min(arguments.weights) >= 0:
        parser.error(f"--weights: expected at least 0, got {min(arguments.weights):g}")
    paths = list_photos(arguments.photos, arguments.root)
    content = score_transfers(
        Colorizer(arguments.model), paths, arguments.weights, side=arguments.side
    )
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.out, json.dumps(content, indent=2) + "\n")
    print(scores_table(content), end="")
    return 0


def score_transfers(
    colorizer: Colorizer, paths: Sequence[Path], weights: Sequence[float], side: int | None
) -> dict[str, Any]:
    """Score the automatic colorization, Q and, for each weight, E; returns content for JSON."""
    descents: list[Transfer] = []

    def bent(weight: float) -> SceneMethod:
        def colorize(scene: Scene) -> FloatArray:
            prediction = predicted(scene, "model", colorizer)
            rgb, found = colorize_by_energy(prediction, scene.truth, weight)
            descents.extend(found)
            return rgb

        return colorize

    methods = {
        "automatic": scene_method("model@chosen", "model", colorizer),
        "Q": scene_method("Q", "model", colorizer),
        **{f"E, weight {weight:g}": bent(weight) for weight in weights},
    }
    evaluation = score(methods, paths, protocol=EvaluationProtocol(side, extras=False))
    return {
        "images": len(evaluation.photos),
        "skipped": [[str(path), reason] for path, reason in evaluation.skipped],
        "scores": {name: scores.to_dict() for name, scores in evaluation.scores.items()},
        "steps": sum(descent.steps for descent in descents) / max(1, len(descents)),
        "unfinished": sum(descent.stopped != "converged" for descent in descents),
    }


def scores_table(content: dict[str, Any]) -> str:
    """Return the scores as a Markdown table, with how the descents ended."""
    lines = ["| method | αβ RMSE | PSNR |", "|---|---|---|"]
    lines += [
        f"| {name} | {scores['rmse']:.4f} | {scores['psnr']:.2f} dB |"
        for name, scores in content["scores"].items()
    ]
    lines += [
        "",
        f"{content['images']} photos, {len(content['skipped'])} skipped; E took "
        f"{content['steps']:.1f} steps on average, {content['unfinished']} descents unfinished",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_program(main)
