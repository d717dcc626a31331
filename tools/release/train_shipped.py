"""Train the model that comes with autocolor, and put its head into the package.

Variants are trained on the photos of most packages, and the one that does best on those of the others
is trained once more on all of them, for as many iterations. The held-out photos are not read.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from autocolor.core.downloads import default_cache
from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path
from autocolor.core.variants import VARIANTS
from autocolor.data.photos import PhotoEntry, PhotoError, missing_photos, read_list
from autocolor.evaluation.strength import StrengthChoice, StrengthScores, choose_strengths
from autocolor.nets.backbone import Backbone, HeadNet
from autocolor.nets.catalogue import shipped_files, write_files
from autocolor.nets.weights_io import write_weights
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import FOLDER, load_head
from autocolor.runtime.vgg16_gray import vgg16_gray_weights
from autocolor.training.augmentation import ViewOptions
from autocolor.training.shipped import (
    TrainingPlan,
    join_lists,
    set_strength,
    split_photos,
    train,
    whole_batches,
)
from autocolor.training.view_features import ViewSet, cache_views, mix_rows, scale_of

_STRENGTHS = tuple(step / 20 for step in range(4, 31))
_STRENGTH_SIDE = 256  # photos are scored at this size on the way


def choose(
    folders: dict[str, Path], backbone: Path, photos: Sequence[Path]
) -> dict[str, StrengthChoice]:
    """Score models on validation photos at every strength; VGG-16 runs once for all of them."""
    shared = Backbone(backbone)
    colorizers = {}
    for name, folder in folders.items():
        write_weights(folder / Manifest.load(folder).weights, load_head(folder / "head.npz"), name)
        colorizers[name] = Colorizer(folder, net=HeadNet(folder, shared))
    return choose_strengths(colorizers, photos, _STRENGTHS, smaller_side=_STRENGTH_SIDE)


def objective(choice: StrengthChoice) -> float:
    """Mean of both metrics' ratios to "no colorization" at the chosen strength."""
    return _row(choice).objective


def prepared_backbone(folder: Path, cache: Path) -> Path:
    """Return VGG-16-gray as a caffemodel, fetched if need be."""
    path = folder / "vgg16_gray.caffemodel"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_weights(path, vgg16_gray_weights(cache), "VGG16-gray")
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    plan = TrainingPlan()
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
example, from the repository's root:
  python data_prep/fetch_photos.py --out build/data/photos --split train --split extra
  python tools/release/train_shipped.py
  python tools/release/model_card.py

Everything is kept in OUT: run again to go on after a stop. docs/model_card.md says how long it takes.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=Path, default=Path("build/data/photos"),
                        help="what fetch_photos.py wrote (default: %(default)s)")  # fmt: skip
    parser.add_argument("--list", type=Path, default=Path("data_prep/photos.tsv"),
                        help="photo list; its split test is not used (default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("build/shipped"),
                        help="folder for hypercolumns and models (default: %(default)s)")  # fmt: skip
    parser.add_argument("--variants", nargs="+", choices=VARIANTS,
                        default=["hue_chroma", "lab_marginal", "lab_l2"],
                        help="to choose from (default: %(default)s)")  # fmt: skip
    parser.add_argument("--views", type=int, default=4,
                        help="of each photo; each is 0.4 s (default: %(default)s)")  # fmt: skip
    parser.add_argument("--crop", type=int, default=ViewOptions.crop,
                        help="side of a view, in pixels (default: %(default)s)")  # fmt: skip
    parser.add_argument("--iterations", type=int, default=plan.iterations,
                        help="of each training (default: %(default)s)")  # fmt: skip
    parser.add_argument("--batch", type=int, default=plan.batch,
                        help="hypercolumns an iteration (default: %(default)s)")  # fmt: skip
    parser.add_argument("--processes", type=int, default=2,
                        help="that run VGG-16 (default: %(default)s)")  # fmt: skip
    parser.add_argument("--package", type=Path, default=FOLDER,
                        help="where the head goes (default: %(default)s)")  # fmt: skip
    parser.add_argument("--cache", type=Path, default=default_cache(),
                        help="folder for the wheel of VGG-16 (default: %(default)s)")  # fmt: skip
    arguments = parser.parse_args(argv)
    for name in ("views", "iterations", "batch", "processes"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name}: expected at least 1")
    plan = replace(plan, iterations=arguments.iterations, batch=arguments.batch)
    try:
        training, validation = split_photos(read_list(arguments.list))
        missing = missing_photos([*training, *validation], arguments.photos)
        if missing:
            raise PhotoError(
                f"{arguments.photos}: {len(missing)} listed photos are missing, such as "
                f"{missing[0].path}; see data_prep/fetch_photos.py"
            )
        summary = _train(arguments, plan, training, validation)
    except (AutocolorError, ValueError, OSError) as error:
        print(f"train_shipped: error: {error}", file=sys.stderr)
        return 1
    print(summary)
    return 0


def _train(
    arguments: argparse.Namespace,
    plan: TrainingPlan,
    training: Sequence[PhotoEntry],
    validation: Sequence[PhotoEntry],
) -> str:
    out: Path = arguments.out
    backbone = prepared_backbone(out, arguments.cache)
    options = replace(ViewOptions(), crop=arguments.crop)
    learnt = ViewSet(tuple(arguments.photos / entry.path for entry in training),
                     arguments.views, options)  # fmt: skip
    kept_apart = ViewSet(tuple(arguments.photos / entry.path for entry in validation),
                         arguments.views, options)  # fmt: skip
    features = out / "features"
    scale = scale_of(learnt, backbone, features / "scale.npy")

    def cached(views: ViewSet) -> Path:
        return cache_views(views, backbone, features, scale, processes=arguments.processes)

    tested = whole_batches(cached(replace(kept_apart, views=1)), plan.batch)
    folders = {variant: out / "models" / variant for variant in arguments.variants}
    mixed = mix_rows(cached(learnt), features)
    iterations = {
        variant: train(folder, variant, mixed, tested, scale, plan)
        for variant, folder in folders.items()
    }
    choices = choose(folders, backbone, kept_apart.photos)
    best = min(choices, key=lambda variant: objective(choices[variant]))
    print(f"{best} does best on the {len(validation)} validation photos; training on all photos")
    joined = join_lists([cached(learnt), cached(kept_apart)], features / "all.txt")
    everything = mix_rows(joined, features)
    final = out / "models" / "final"
    train(final, best, everything, tested, scale, plan, iteration=iterations[best])
    set_strength(final, choices[best].strength)
    write_files(arguments.package, shipped_files(Manifest.load(final)))
    for name in ("model.json", "head.npz"):
        with atomic_path(arguments.package / name) as partial:
            shutil.copyfile(final / name, partial)
    record = {
        "training_photos": len(training),
        "validation_photos": len(validation),
        "validation_packages": sorted({entry.package for entry in validation}),
        "views": arguments.views,
        "plan": asdict(plan),
        "variant": best,
        "validation": {
            variant: {
                "iterations": iterations[variant],
                "strength": choice.strength,
                "objective": objective(choice),
                "rmse_ratio": _row(choice).rmse_ratio,
                "psnr_gain": _row(choice).scores.psnr - choice.grey.psnr,
            }
            for variant, choice in choices.items()
        },
    }
    with atomic_path(arguments.package / "training.json") as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return (f"{arguments.package}: {best}, {iterations[best]} iterations, strength "
            f"{choices[best].strength:.2f}")  # fmt: skip


def _row(choice: StrengthChoice) -> StrengthScores:
    """Scores at the chosen strength."""
    return next(row for row in choice.candidates if row.strength == choice.strength)


if __name__ == "__main__":
    sys.exit(main())
