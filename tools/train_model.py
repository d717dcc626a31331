"""Train a colorizer on a folder or list of photos, stage by stage, and put it into the package."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autocolor.core.downloads import default_cache
from autocolor.core.files import atomic_path, exclusive, write_atomically
from autocolor.core.processes import available_processors
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.photo_lists import list_photos
from autocolor.data.photos import split_validation
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import (
    FOLDER,
    TRAINING,
    WEIGHTS,
    load_half,
    save_half,
    shipped_weights,
)
from autocolor.training.stopping import supervise

if TYPE_CHECKING:
    from autocolor.training.stages import StageOptions

_PROGRAM = "train_model"
_STRENGTHS = tuple(step / 20 for step in range(8, 33))
_EARLIER = "shipped_training.json"
_SCALES = (1.0, 0.5)  # of the model: docs/model_card.md has what the second one gains
_SIDE = 256  # of photos on which the strength is chosen
_SCORED = 200
_EPILOG = """\
examples:
  python tools/train_model.py head --photos my_photos --out build/mine
  python tools/train_model.py whole --photos my_photos --out build/mine --iterations 4000
  python tools/train_model.py anneal --photos my_photos --out build/mine --iterations 1000
  autocolor photo.jpg --model build/mine/whole/model

head    computes hypercolumns of VGG-16 once, with all cores, and trains the head on them
whole   trains all layers at a constant rate, from the head's model on (--weights: from another; the
        word `shipped` is the model that comes with autocolor)
anneal  lets the rate fall to zero, from the newest snapshot of `whole` on; that is the model, and
        takes the place of what was annealed from an earlier snapshot
ship    puts OUT/whole/model into the package, in half precision

Whatever has ended a run, the same command goes on from there, with the same result; with more
--iterations, `whole` goes on from where it had ended, whether it was annealed in between or not.
Photos are never enlarged beyond need, and views of them (--views) are crops at sizes between --crop
and 256 pixels, mirrored half of the time, often with another exposure and contrast. The strength of
a model is chosen on the validation photos: --validation, or a share of --photos. It sees a photo at
two sizes: see "scales" in its model.json."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    arguments = _parse(argv)
    if arguments.stage != "ship":
        supervise(
            lambda number: print(
                f"\n{_PROGRAM}: error: ended by {number.name}; run it again to go on",
                file=sys.stderr,
            )
        )
    import_caffe()  # before other modules load it: its log is turned off then, or never
    if arguments.stage == "ship":
        return _ship(arguments)
    with exclusive(arguments.out / ".lock"):
        return _train(arguments)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__, _EPILOG)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage, text in (
        ("head", "the head, on a VGG-16 that stays as it is"),
        ("whole", "all layers, at a constant rate"),
        ("anneal", "all layers, at a rate that falls to zero"),
    ):
        part = stages.add_parser(stage, help=text, description=text)
        part.add_argument(
            "--photos",
            type=Path,
            required=True,
            help="folder of photos, or a text file with a path a line",
        )
        part.add_argument("--root", type=Path, help="folder that those paths are relative to")
        part.add_argument(
            "--validation",
            type=Path,
            metavar="PHOTOS",
            help="other photos, to choose by (default: 5 %% of PHOTOS)",
        )
        part.add_argument("--out", type=Path, required=True, help="folder for all of it")
        part.add_argument("--crop", type=at_least(1), help="side of the crops, in pixels")
        part.add_argument("--locations", type=at_least(1), help="pixels learnt from in a crop")
        part.add_argument("--batch", type=at_least(1), help="crops an iteration")
        part.add_argument("--learning-rate", type=float, help="of the head")
        part.add_argument(
            "--snapshots",
            type=at_least(1),
            metavar="N",
            dest="snapshot_interval",
            help="iterations between two",
        )
        part.add_argument(
            "--processes",
            type=at_least(1),
            default=available_processors(),
            metavar="N",
            help="that prepare photos (default: one a processor, %(default)s)",
        )
        if stage == "head":
            part.add_argument(
                "--views", type=at_least(1), default=1, help="of a photo (default: 1)"
            )
            part.add_argument("--epochs", type=float, default=3, help="(default: %(default)s)")
            part.add_argument(
                "--cache",
                type=Path,
                default=default_cache(),
                help="folder for the wheel of VGG-16 (default: %(default)s)",
            )
        else:
            part.add_argument(
                "--views", type=at_least(1), default=4, help="of a photo (default: 4)"
            )
            part.add_argument(
                "--iterations",
                type=at_least(1),
                required=True,
                help="in all" if stage == "whole" else "over which it falls",
            )
            part.add_argument(
                "--backbone-rate", type=float, help="factor on the learning rate in VGG-16's layers"
            )
        if stage == "whole":
            part.add_argument("--weights", help="to start from (default: OUT/head/model)")
    ship = stages.add_parser("ship", help="put a model into the package")
    ship.add_argument("--out", type=Path, required=True, help="folder of the training")
    ship.add_argument("--model", type=Path, help="model folder (default: OUT/whole/model)")
    ship.add_argument(
        "--sources",
        type=Path,
        metavar="TSV",
        help="table of the photos with the columns split, source and terms, for the model card",
    )
    ship.add_argument("--note", default="", help="text for the model card")
    ship.add_argument("--package", type=Path, default=FOLDER, help="(default: %(default)s)")
    return parser.parse_args(argv)


def _photos(arguments: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Return the photos to learn from and those to choose by."""
    photos = list_photos(arguments.photos, arguments.root)
    if arguments.validation is not None:
        return photos, list_photos(arguments.validation, arguments.root)
    training, validation = split_validation([str(path) for path in photos], 0.05, 0)
    return [photos[i] for i in training], [photos[i] for i in validation]


def _options(arguments: argparse.Namespace) -> StageOptions:
    from autocolor.training.stages import HEAD, WHOLE

    names = ("crop", "locations", "batch", "learning_rate", "snapshot_interval", "backbone_rate")
    given = {name: getattr(arguments, name, None) for name in names}
    return replace(
        HEAD if arguments.stage == "head" else WHOLE,
        **{name: value for name, value in given.items() if value is not None},
    )


def _train(arguments: argparse.Namespace) -> int:
    from autocolor.data.lmdb_io import LmdbOptions, ViewOptions
    from autocolor.training import stages

    out: Path = arguments.out
    options = _options(arguments)
    training, validation = _photos(arguments)
    if not training or not validation:
        raise stages.StageError(
            f"{arguments.photos}: expected photos to learn from and to choose by"
        )
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    side = max(_SIDE, options.crop)
    views = stages.write_views(
        training,
        data / f"training_{arguments.views}_{options.crop}",
        ViewOptions(side=side, minimum_side=options.crop),
        views=arguments.views,
        processes=arguments.processes,
    )
    tests = stages.write_views(
        validation,
        data / f"validation_{options.crop}",
        LmdbOptions(side=side, minimum_side=options.crop),
        views=1,
        processes=arguments.processes,
    )
    whole = out / "whole"
    if arguments.stage == "head":
        backbone = stages.balanced_backbone(views, data / "balanced.caffemodel", arguments.cache)
        stopped = stages.train_head(
            views,
            tests,
            backbone,
            out / "head",
            options,
            epochs=arguments.epochs,
            processes=arguments.processes,
        )
        model = out / "head" / "model"
    elif arguments.stage == "whole":
        stopped = stages.train_whole(
            views, tests, _start(arguments), whole, options, iterations=arguments.iterations
        )
        model = None
    else:
        stopped = stages.anneal(views, tests, whole, options, iterations=arguments.iterations)
        model = whole / "model"
    if stopped is not None:
        print(f"{_PROGRAM}: stopped; the same command goes on", file=sys.stderr)
        return 128 + stopped
    if model is None:
        newest = stages.newest_weights(str(whole / "training" / "snapshot"))
        print(f"{newest}; next: anneal, or more --iterations")
        return 0
    _choose_strength(model, validation)
    return 0


def _start(arguments: argparse.Namespace) -> Path:
    """Return the weights that all layers start from."""
    if arguments.weights == "shipped":
        from autocolor.nets.weights_io import write_weights

        path: Path = arguments.out / "data" / "shipped.caffemodel"
        if not path.exists():
            # What these weights have learnt before is part of the new model's record.
            with atomic_path(arguments.out / "data" / _EARLIER) as partial:
                shutil.copyfile(FOLDER / TRAINING, partial)
            write_weights(path, shipped_weights(), "shipped")
        return path
    if arguments.weights is not None:
        return Path(arguments.weights)
    return Path(arguments.out, "head", "model", "weights.caffemodel")


def _choose_strength(folder: Path, photos: Sequence[Path]) -> None:
    """Choose it on validation photos and print what it brings there."""
    from autocolor.evaluation.strength import choose_strength
    from autocolor.runtime.colorizer import Colorizer

    replace(Manifest.load(folder), scales=_SCALES, grey_textures=True).save(folder)
    order = np.random.default_rng(0).permutation(len(photos))
    chosen = [photos[index] for index in order[:_SCORED]]
    choice = choose_strength(Colorizer(folder), chosen, _STRENGTHS, smaller_side=_SIDE)
    replace(Manifest.load(folder), strength=choice.strength).save(folder)
    row = next(row for row in choice.candidates if row.strength == choice.strength)
    record = {
        "photos": len(chosen),
        "strength": choice.strength,
        "rmse": row.scores.rmse,
        "rmse_without_colour": choice.grey.rmse,
        "psnr": row.scores.psnr,
        "psnr_without_colour": choice.grey.psnr,
    }
    write_atomically(folder / "validation.json", json.dumps(record, indent=2) + "\n")
    print(
        f"{folder}: strength {choice.strength:.2f}; on {record['photos']} validation photos αβ RMSE "
        f"{100 * (row.rmse_ratio - 1):+.1f} %, PSNR {row.scores.psnr - choice.grey.psnr:+.2f} dB "
        "against no colour"
    )


def _stages(out: Path) -> list[dict[str, Any]]:
    """Return what the stages of a training were like, from what they have left.

    Those of the shipped weights come first where it began with these.
    """
    from autocolor.training.log import read_json_lines
    from autocolor.training.snapshots import find_states, iteration_of
    from autocolor.training.solver_files import layers_of, read_solver, read_train_net

    earlier = out / "data" / _EARLIER
    found = json.loads(earlier.read_text(encoding="utf-8"))["stages"] if earlier.exists() else []
    for stage, folder in (
        ("head", out / "head/training"),
        ("all layers", out / "whole/training"),
        ("all layers, annealed", out / "whole/annealing"),
    ):
        states = [iteration_of(state) for state in find_states(str(folder / "snapshot"))]
        if not states:
            continue
        solver = read_solver(folder / "solver.prototxt")
        layers = {layer.name: layer for layer in layers_of(read_train_net(solver), "TRAIN")}
        first = layers["conv1_1"].param[0].lr_mult if "conv1_1" in layers else 0.0
        dims = layers["locations"].dummy_data_param.shape[0].dim
        # Of the head alone, each hypercolumn is an image of its own.
        crops, locations = (dims[0], dims[1]) if "conv1_1" in layers else (dims[0], 1)
        crop = layers["image"].transform_param.crop_size if "conv1_1" in layers else 1
        records = read_json_lines(folder / "snapshot_log.jsonl")
        losses = [record.loss for record in records if record.phase.startswith("test")]
        start = min(states) if stage.endswith("annealed") else 0
        found.append(
            {
                "stage": stage,
                "iterations": max(states) - start,
                "batch": int(crops),
                "crop": int(crop),
                "locations": int(locations),
                "learning_rate": solver.base_lr * (1 - start / solver.max_iter),
                "backbone_rate": solver.base_lr * (1 - start / solver.max_iter) * first,
                "loss": f"{losses[-1]:.3f}" if losses else "–",
            }
        )
    return found


def _sources(table: Path | None) -> list[dict[str, Any]]:
    """Count the photos of a table with the columns split, source and terms by these."""
    if table is None:
        return []
    with table.open(encoding="utf-8-sig", newline="") as stream:
        counts = Counter(
            (row["split"], row["source"], row["terms"])
            for row in csv.DictReader(stream, delimiter="\t")
        )
    return [
        {"split": split, "source": source, "terms": terms, "photos": count}
        for (split, source, terms), count in sorted(counts.items())
    ]


def _ship(arguments: argparse.Namespace) -> int:
    from autocolor.nets.catalogue import shipped_files, write_files
    from autocolor.nets.weights_io import read_weights

    folder: Path = arguments.model or arguments.out / "whole" / "model"
    manifest = Manifest.load(folder)
    package: Path = arguments.package
    package.mkdir(parents=True, exist_ok=True)
    for left in package.glob(".*.partial*"):  # by a run that was killed: a wheel would have it
        left.unlink()
    save_half(package / WEIGHTS, read_weights(folder / manifest.weights))
    load_half(package / WEIGHTS)
    write_files(package, shipped_files(manifest))
    with atomic_path(package / TRAINING) as partial:
        content = {"stages": _stages(arguments.out), "sources": _sources(arguments.sources)}
        content["note"] = arguments.note
        text = json.dumps(content, indent=2, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")
    replace(manifest, name="autocolor").save(package)
    size = (package / WEIGHTS).stat().st_size
    print(f"{package}: {size / 1e6:.1f} MB, strength {manifest.strength:.2f}")
    return 0


if __name__ == "__main__":
    run_program(main)
