"""Average the PSNR over random subsets of photos, as the paper does with SUN-A (section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autocolor.core.errors import InputError
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.photo_lists import add_photo_options, list_photos_and_classes
from autocolor.evaluation.evaluate import GREY, EvaluationProtocol
from autocolor.evaluation.parts import ModelSource, merge_parts, score_part
from autocolor.runtime.shipped import shipped_model_folder


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/paper/random_subsets.py --photos SUN_A --out build/sun_a
  python tools/paper/random_subsets.py --photos my_photos --size 100 --out build/subsets

Cheng et al. test on 1344 images of SUN-A and do not say which; the paper draws five subsets of as
many, 32.7 +- 2.0 dB. The photos of all subsets are scored once, at full resolution, into
OUT/part_1_of_1.jsonl; run the same command again to go on after an interruption. Printed are the
geometric mean over photos of the PSNR in dB of each subset, and their mean and standard deviation.
Photos that cannot be read or have no colour are left out of the subsets that have them.""",
    )
    parser.add_argument(
        "--model", type=Path, help="folder with model.json (default: the model of autocolor)"
    )
    add_photo_options(parser, "to draw from", required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the scores")
    parser.add_argument(
        "--size", type=at_least(1), default=1344, help="photos of a subset (default: %(default)s)"
    )
    parser.add_argument("--subsets", type=at_least(2), default=5, help="(default: %(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="(default: %(default)s)")
    parser.add_argument("--processes", type=at_least(1), default=1, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, gpu or gpu:1 (default: cpu)")
    arguments = parser.parse_args(argv)
    photos = list_photos_and_classes(arguments.photos, arguments.root)
    if len(photos) <= arguments.size:
        raise InputError(
            "--size", f"expected fewer than the {len(photos)} photos, got {arguments.size}"
        )
    rng = np.random.default_rng(arguments.seed)
    subsets = [
        rng.choice(len(photos), arguments.size, replace=False) for _ in range(arguments.subsets)
    ]
    wanted = np.unique(np.concatenate(subsets))
    source = ModelSource("ours", arguments.model or shipped_model_folder(), arguments.device)
    file = arguments.out / "part_1_of_1.jsonl"
    protocol = EvaluationProtocol(extras=False)
    chosen = [photos[index] for index in wanted]
    score_part([source], chosen, file, protocol=protocol, processes=arguments.processes)
    evaluation, _ = merge_parts([file])
    found: dict[str, list[float]] = {GREY: [], "ours": []}
    for subset in subsets:
        members = set(subset)
        scored = [photo for photo in evaluation.photos if wanted[photo.index] in members]
        for name, means in found.items():
            psnr = [photo.scores[name].psnr for photo in scored]
            means.append(float(np.exp(np.mean(np.log(psnr)))))
    print(f"{len(evaluation.photos)} photos, {len(evaluation.skipped)} skipped")
    print("| method | each subset | mean ± deviation |\n|---|---|---|")
    for name, means in found.items():
        each = ", ".join(f"{value:.2f}" for value in means)
        print(f"| {name} | {each} | {np.mean(means):.2f} ± {np.std(means, ddof=1):.2f} dB |")
    return 0


if __name__ == "__main__":
    run_program(main, resumes=True)
