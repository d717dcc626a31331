"""Average the PSNR over random subsets of photos, as the paper does with SUN-A (section 4)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autocolor.core.errors import AutocolorError
from autocolor.core.programs import run_program
from autocolor.data.photo_lists import list_photos_and_classes
from autocolor.evaluation.evaluate import GREY, EvaluationProtocol
from autocolor.evaluation.parts import ModelSource, merge_parts, score_part
from autocolor.runtime.shipped import shipped_model_folder


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
examples:
  python tools/paper/random_subsets.py --photos SUN_A --out build/sun_a
  python tools/paper/random_subsets.py --photos my_photos --size 100 --out build/subsets

Cheng et al. test on 1344 images of SUN-A and do not say which; the paper draws five subsets of as
many, 32.7 +- 2.0 dB. The photos of all subsets are scored once, at full resolution, into
OUT/part_1_of_1.jsonl; run the same command again to go on after an interruption. Printed are the
geometric mean over photos of the PSNR in dB of each subset, and their mean and standard deviation.
Photos that cannot be read or have no colour are left out of the subsets that have them.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", type=Path, help="folder with model.json (default: the model of autocolor)"
    )
    parser.add_argument("--photos", type=Path, required=True, help="a folder, or a list")
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="folder that the list's lines are relative to"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the scores")
    parser.add_argument(
        "--size", type=int, default=1344, help="photos of a subset (default: %(default)s)"
    )
    parser.add_argument("--subsets", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, gpu or gpu:1 (default: cpu)")
    arguments = parser.parse_args(argv)
    for name, low in (("size", 1), ("subsets", 2), ("seed", 0), ("processes", 1)):
        if getattr(arguments, name) < low:
            parser.error(f"--{name}: expected at least {low}, got {getattr(arguments, name)}")
    try:
        photos = list_photos_and_classes(arguments.photos, arguments.root)
        if len(photos) <= arguments.size:
            raise ValueError(
                f"{arguments.photos}: expected more than --size {arguments.size} photos to draw "
                f"from, got {len(photos)}"
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
    except (AutocolorError, ValueError, OSError) as error:
        print(f"random_subsets: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("random_subsets: stopped; the same command goes on from here", file=sys.stderr)
        return 130
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
    run_program(main)
