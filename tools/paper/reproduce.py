"""Reproduce the paper's tables and figures, beside its own numbers, on any photos.

Trains what is missing with real Caffe, scores it on photos that were never trained on, and writes
every table with 95 % confidence intervals.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

from autocolor.core.errors import InputError
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.photo_lists import ListError, add_photo_options, list_photos
from autocolor.paper.collection import (
    TABLE,
    draw,
    prepare_lmdbs,
    read_collection,
    split_scenes,
)
from autocolor.paper.reproduction import (
    OF_ONE_MODEL,
    OF_SCENES,
    TABLES_AND_FIGURES,
    Reproduction,
    ReproductionConfig,
    check_disjoint,
)
from autocolor.paper.stages import Cost, Stages
from autocolor.runtime.shipped import shipped_model_folder
from autocolor.training.feature_cache import FeatureOptions
from autocolor.training.head import HeadOptions
from results_page import Provenance, Run, write_results
from sample_sheet import draw_samples

ROOT = Path(__file__).resolve().parents[2]
_PASSES = 3  # of the few photos of packages
_TRAINED = ("table1", "table2")  # of a collection's photos, also beside a model that is given


def git_commit() -> str:
    """The repository's commit, with a note where files differ from it."""
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run(
        [*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        return "unknown"
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/paper/reproduce.py all
  python tools/paper/reproduce.py table1 table5 --minutes 10
  python tools/paper/reproduce.py table1 --rows hue_chroma@1
  python tools/paper/reproduce.py table4 table5 --model build/demo/model --out build/demo/tables
  python tools/paper/reproduce.py table3 table4 --model shipped --scenes scenes
  python tools/paper/reproduce.py table1 table2 --photos collection --train 1000 --score 100
  python tools/paper/reproduce.py table1 table2 all --model shipped --photos collection --scenes scenes
  python tools/paper/reproduce.py table5 --model shipped --list ctest10k.txt --root imagenet/val
  python tools/paper/reproduce.py all --end-to-end --minutes 1440 --device gpu:all \\
      --data imagenet --photos imagenet/cval1k.txt --weights imagenet/vgg16_gray_balanced.caffemodel

The data, which tools/demo.sh prepares: a folder with train_lmdb and validation_lmdb and their lists of
photos, as data_prep/build_lmdb.py leaves them. Unless told otherwise VGG-16 stays as it is: the
hypercolumns of sampled pixels are computed once, and all models are heads that train on them. With
fc6 and fc7 among the weights all of Table 2 is made. Features, models and scores are kept in OUT; run
again to go on, or to make another table of the same rows. --model makes tables of a model that is
there, without training and without data: of hue and chroma Tables 4 and 5, of Lab histograms the four
inference methods of section 3.3. Tables 1 and 2, whose models are trained, may stand beside them where
--photos is a collection.

With --scenes, Tables 3 and 4 and Figures 7 and 8 are of photos in folders named by classes of scenes,
as SUN-6 in the paper; a quarter of each class is scored, the others are what the competing methods
learn from. With a list whose photos are only in part there, those are scored, and how many is said.

A folder of --photos with a table photos.tsv, whose columns path and split (train or validation) come
with a header line, is a collection: --train of its photos are trained on instead of those of DATA, a
tenth of them to choose models and strengths by, and its validation photos are scored, or with --list
those of the list. OUT is of one number to train on: take another OUT for another number.

The time of each stage and its peak of memory are printed when it ends, and are on the page.""",
    )
    head, features = HeadOptions(), FeatureOptions()
    parser.add_argument(
        "experiments",
        nargs="+",
        choices=[*TABLES_AND_FIGURES, "all"],
        metavar="EXPERIMENT",
        help=f"{', '.join(TABLES_AND_FIGURES)} or all",
    )
    parser.add_argument(
        "--data", type=Path, default=Path("build/data"), help="prepared data (default: %(default)s)"
    )
    add_photo_options(parser, "to score on, or a collection (default: DATA/photos/test)")
    parser.add_argument(
        "--list", type=Path, help="list of photos to score on, in place of those of a collection"
    )
    parser.add_argument(
        "--train",
        type=at_least(2),
        default=1000,
        metavar="N",
        help="photos of a collection to train on, drawn by --seed (default: %(default)s, whose "
        "hypercolumns take 2 GB)",
    )
    parser.add_argument(
        "--score",
        type=at_least(1),
        metavar="N",
        help="photos to score at most, also of --scenes, drawn by --seed (default: all)",
    )
    parser.add_argument(
        "--scenes",
        type=Path,
        metavar="FOLDER",
        help=f"photos in folders named by classes of scenes: {', '.join(OF_SCENES)} are of these",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        help="VGG-16-gray, re-balanced (default: DATA/vgg16_gray_balanced.caffemodel)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/reproduction"),
        help="folder for everything (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=head.minutes,
        help="of training for each model (default: %(default)s)",
    )
    parser.add_argument(
        "--passes",
        type=at_least(1),
        help="random crops of each training photo (default: 3, of a collection 1)",
    )
    parser.add_argument(
        "--locations",
        type=at_least(1),
        default=features.locations,
        help="hypercolumns of each crop (default: %(default)s)",
    )
    parser.add_argument(
        "--crop",
        type=at_least(1),
        default=features.crop,
        help="side of the crops (default: %(default)s)",
    )
    parser.add_argument(
        "--end-to-end", action="store_true", help="train all layers on images, as the paper does"
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="cpu, gpu, gpu:1, or gpu:all to train on all (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        help=f"folder with model.json, or the word `shipped`: {', '.join(OF_ONE_MODEL)} of this model, "
        f"without training; with --scenes {', '.join(OF_SCENES)}, too",
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="of Table 5, on chroma, or on a and b (default: 1, as in the paper)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the samples of Table 5, of what is drawn of photos, and of the split of --scenes "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--rows", nargs="+", metavar="ROW", help="only these rows of the tables, by the last column"
    )
    parser.add_argument(
        "--page",
        type=Path,
        help="also write the results as this Markdown page, with its plots beside it",
    )
    arguments = parser.parse_args(argv)
    if not 0 < arguments.minutes < 10**6:
        parser.error("--minutes: expected a positive number")
    data: Path = arguments.data
    provenance = Provenance(
        command="python tools/paper/reproduce.py "
        + shlex.join(sys.argv[1:] if argv is None else argv),
        commit=git_commit(),
        date=date.today().isoformat(),
        machine=f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f} when started",
    )
    model = arguments.model
    names = arguments.experiments
    if "all" in names:
        names = [name for name in names if name != "all"]
        names += TABLES_AND_FIGURES if model is None else OF_ONE_MODEL
        names += OF_SCENES if arguments.scenes is not None else ()
    names = tuple(dict.fromkeys(names))
    if model is not None and str(model) == "shipped" and not model.exists():
        model = shipped_model_folder()
    config = ReproductionConfig(
        data,
        (),
        arguments.weights or data / "vgg16_gray_balanced.caffemodel",
        arguments.out,
        replace(head, minutes=arguments.minutes),
        replace(
            features,
            passes=arguments.passes or _PASSES,
            locations=arguments.locations,
            crop=arguments.crop,
        ),
        arguments.end_to_end,
        arguments.device,
        model,
        arguments.strength,
        arguments.seed,
    )
    runs: list[Run] = []
    costs: dict[str, Cost] = {}
    for part in plan(names, config, arguments):
        run, costs = make(*part, arguments.rows)
        runs.append(run)
    page = write_results(runs, costs, provenance, page=arguments.page)
    print(page.read_text(encoding="utf-8"))
    print(f"written to {page}")
    return 0


def plan(
    names: Sequence[str], config: ReproductionConfig, arguments: argparse.Namespace
) -> list[tuple[Sequence[str], ReproductionConfig, str]]:
    """Split what is asked for by its photos and its model; say in words which photos those are.

    Photos that are trained on and those that are scored are chosen, and LMDBs of a collection made.
    """
    scenes, model = arguments.scenes, config.model
    of_scenes = tuple(name for name in names if scenes is not None and name in OF_SCENES)
    if scenes is not None and not of_scenes:
        raise InputError("--scenes", f"expected one of {', '.join(OF_SCENES)} to make")
    others = [name for name in names if name not in of_scenes]
    trained = tuple(
        name
        for name in others
        if model is None or (name in _TRAINED and _is_collection(arguments.photos))
    )
    of_model = tuple(name for name in others if name not in trained)
    if arguments.rows is not None and sum(map(bool, (trained, of_scenes, of_model))) > 1:
        option = "--scenes" if of_scenes else "--model"
        raise InputError("--rows", f"make those of {option} and the others in two commands")
    parts: list[tuple[Sequence[str], ReproductionConfig, str]] = []
    training, how = config, ""
    if trained or model is None:
        training, how = choose_training(replace(config, model=None), arguments)
    if trained:
        photos, which = choose_photos(arguments)
        parts.append((trained, replace(training, photos=photos), f"{how} {which}".strip()))
    if of_scenes:
        references, held_out = split_scenes(scenes, arguments.seed)
        photos, which = _some(held_out, arguments)
        own, text = (training, f"{how} {which}".strip()) if model is None else (config, which)
        parts.append((of_scenes, replace(own, photos=photos, references=references), text))
    if of_model:
        photos, which = choose_photos(arguments)
        parts.append((of_model, replace(config, photos=photos), which))
    return parts


def _is_collection(photos: Path | None) -> bool:
    return photos is not None and (photos / TABLE).is_file()


def make(
    names: Sequence[str], config: ReproductionConfig, photos: str, rows: Sequence[str] | None
) -> tuple[Run, dict[str, Cost]]:
    """Make tables and figures of one list of photos; return them and the costs of all stages so far."""
    reproduction = Reproduction(config, partial(print, file=sys.stderr))
    if config.model is None or config.references:
        with reproduction.stages.timed("looking for duplicates"):
            check_disjoint(config)
    results = reproduction.results(names, rows)
    samples = None
    if "fig10" in results.figures:
        with reproduction.stages.timed("figure 10"):
            samples = draw_samples(reproduction.colorizer(reproduction.main), config.photos)
    return Run(results, config, photos, samples), reproduction.stages.most()


def choose_training(
    config: ReproductionConfig, arguments: argparse.Namespace
) -> tuple[ReproductionConfig, str]:
    """Say which photos are trained on, those of a collection if one is given; return that in words, too."""
    if not _is_collection(arguments.photos):
        return config, ""
    collection = read_collection(arguments.photos)
    train = draw(collection.train, arguments.train, config.seed)
    stages = Stages(config.out, partial(print, file=sys.stderr))
    with stages.timed("LMDBs"):
        prepare_lmdbs(train, config.out / "data", config.seed)
    stages.most()
    text = (
        f"{len(train)} of the collection's {len(collection.train)} photos to train on are "
        "taken, a tenth of them to choose models and strengths by."
    )
    print(text, file=sys.stderr)
    features = replace(config.features, passes=arguments.passes or 1)
    return replace(config, data=config.out / "data", features=features), text


def choose_photos(arguments: argparse.Namespace) -> tuple[list[Path], str]:
    """Say which photos are scored; return that in words, too."""
    texts = []
    source = arguments.list or arguments.photos or arguments.data / "photos" / "test"
    if arguments.list is None and _is_collection(source):
        listed: Sequence[Path] = read_collection(source).validation
    else:
        listed = list_photos(source, arguments.root)
    found = [path for path in listed if path.exists()]
    if listed and not found:
        raise ListError(f"{source}: expected photos, found none of {len(listed)}")
    if len(found) < len(listed):
        texts.append(f"{len(found)} of {len(listed)} photos of {source} are there.")
    found, drawn = _some(found, arguments)
    text = " ".join([*texts, drawn]).strip()
    if text:
        print(text, file=sys.stderr)
    return found, text


def _some(photos: list[Path], arguments: argparse.Namespace) -> tuple[list[Path], str]:
    """Draw as many photos as are to be scored; return that in words, too."""
    if arguments.score is None or arguments.score >= len(photos):
        return photos, ""
    text = f"{arguments.score} of {len(photos)} photos are scored, drawn by seed {arguments.seed}."
    return draw(photos, arguments.score, arguments.seed), text


if __name__ == "__main__":
    run_program(main)
