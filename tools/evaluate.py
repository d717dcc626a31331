"""Score models, and the methods the paper compares itself with, against leaving photos grey."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from autocolor.baselines.registry import BASELINES, NEED_BACKBONE, SCENE_BASELINES, BaselineSource
from autocolor.core.errors import InputError
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.photo_lists import add_photo_options, list_photos, list_photos_and_classes
from autocolor.evaluation.evaluate import EvaluationProtocol
from autocolor.evaluation.parts import MethodSource, ModelSource, Part, merge_parts, score_part
from autocolor.evaluation.report import metrics_table, write_report
from autocolor.imaging.images import ImageError
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import shipped_model_folder

_SHIPPED = "shipped"

_EXAMPLES = """\
examples:
  python tools/evaluate.py --photos build/data/photos/test --out build/shipped/evaluation
  python tools/evaluate.py --model build/demo/model --photos build/data/photos/test \\
      --out build/demo/evaluation
  python tools/evaluate.py --model mine=a/model --model theirs=b/model --photos ctest10k.txt \\
      --root imagenet/val --side 256 --side-of smaller --processes 8 --out results
  python tools/evaluate.py --baseline welsh --baseline nearest_neighbour --side 256 \\
      --references build/data/photos/train --photos build/data/photos/test --out build/baselines

Writes into OUT: metrics.json, metrics.md and metrics.csv (a line for each photo and method), with
95 % confidence intervals over images and differences to "no colorization"; errors.png (the
cumulative error of Fig. 7), psnr.png (Fig. 8), gallery.png and worst.png (largest RMSE, lowest
PSNR). Photos that cannot be read or are encoded as greyscale are skipped and listed.

Each photo's result is appended to OUT/part_1_of_1.jsonl as it comes; run the same command again to
go on after an interruption. Several machines each take a part of the list:

  python tools/evaluate.py ... --out results --part 1/2     # on one
  python tools/evaluate.py ... --out results --part 2/2     # on another
  python tools/evaluate.py --merge results/part_1_of_2.jsonl results/part_2_of_2.jsonl --out results

The merged numbers are exactly those of one pass. With --model, --merge draws the pictures, too."""


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__, _EXAMPLES)
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="folder with model.json, or the word `shipped`; may be given several times, with a "
        "name where the models have none of their own (default: shipped, the model that comes with "
        "autocolor)",
    )
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        choices=BASELINES + SCENE_BASELINES,
        metavar="NAME",
        help="method that the paper compares itself with (docs/baselines.md), of "
        f"{', '.join(BASELINES + SCENE_BASELINES)}; may be given several times. The class of a "
        "scene is the name of the folder that a photo or reference is in",
    )
    parser.add_argument(
        "--references",
        type=Path,
        help="colour photos that baselines learn from: a folder, or a list as of --photos",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path("build/data/vgg16_gray.caffemodel"),
        help=f"VGG-16-gray, for the baselines {' and '.join(NEED_BACKBONE)} (default: %(default)s)",
    )
    add_photo_options(parser, "to score on")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--device", default="cpu", help="cpu, gpu or gpu:1 (default: %(default)s)")
    parser.add_argument(
        "--processes",
        type=at_least(1),
        default=1,
        metavar="N",
        help="each loads the models for itself (default: %(default)s)",
    )
    parser.add_argument(
        "--side",
        type=int,
        metavar="PIXELS",
        help="reduce photos to this side before colorizing (default: full resolution)",
    )
    parser.add_argument(
        "--side-of",
        choices=("larger", "smaller"),
        default="larger",
        help="which side --side is (default: %(default)s)",
    )
    parser.add_argument(
        "--round",
        action="store_true",
        help="round colorizations to 8 bit before they are scored, as if read from PNG files",
    )
    parser.add_argument(
        "--paper-only",
        action="store_true",
        help="leave out AuC, colourfulness and SSIM, which take most of the scoring's time",
    )
    parser.add_argument(
        "--gallery",
        type=at_least(0),
        default=12,
        metavar="N",
        help="photos shown in the gallery (default: %(default)s)",
    )
    parser.add_argument(
        "--worst",
        type=at_least(0),
        default=4,
        metavar="N",
        help="worst photos of each model by each of RMSE and PSNR (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)"
    )
    work = parser.add_mutually_exclusive_group()
    work.add_argument("--part", type=_part, metavar="I/N", help="score only this part of the list")
    work.add_argument(
        "--merge", type=Path, nargs="+", metavar="FILE", help="report on parts scored earlier"
    )
    parser.add_argument(
        "--force", action="store_true", help="discard the results of an earlier run in OUT"
    )
    arguments = parser.parse_args(argv)
    if arguments.merge is None and arguments.photos is None:
        parser.error("expected --photos or --merge")
    if arguments.merge is None and not (arguments.model or arguments.baseline):
        arguments.model = [_SHIPPED]
    if arguments.baseline and arguments.references is None:
        parser.error("--baseline: expected --references, photos to learn from")
    if arguments.merge is not None and arguments.photos is not None:
        parser.error("--merge takes the photos from the parts, without --photos")
    return arguments


def _part(text: str) -> Part:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected I/N such as 1/4, got {text!r}")
    try:
        return Part(*map(int, match.groups()))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def method_sources(arguments: argparse.Namespace) -> list[MethodSource]:
    """Return the methods to score, in the order of the report."""
    sources: list[MethodSource] = []
    for text in arguments.model:
        name, separator, place = text.partition("=")
        if not separator or Path(text).exists():
            name, place = "", text
        folder = Path(place)
        if place == _SHIPPED and not folder.exists():
            folder = shipped_model_folder()
        name = name or Manifest.load(folder).name
        if name in [source.name for source in sources]:
            raise InputError("--model", f"two are called {name!r}; name them, --model NAME=FOLDER")
        sources.append(ModelSource(name, folder, arguments.device))
    if arguments.baseline:
        references = tuple(list_photos(arguments.references))
        sources += [
            BaselineSource(
                name, references, arguments.weights, arguments.out / "baselines", arguments.device
            )
            for name in dict.fromkeys(arguments.baseline)
        ]
    return sources


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    arguments = parse_arguments(argv)
    sources = method_sources(arguments)
    files = arguments.merge
    if files is None:
        part = arguments.part or Part()
        file = arguments.out / f"part_{part.number}_of_{part.count}.jsonl"
        photos = list_photos_and_classes(arguments.photos, arguments.root)
        if not photos:
            raise ImageError(f"--photos {arguments.photos}: expected photos, got none")
        if arguments.force:
            file.unlink(missing_ok=True)
        score_part(
            sources,
            photos,
            file,
            protocol=EvaluationProtocol(
                arguments.side, arguments.side_of, arguments.round, not arguments.paper_only
            ),
            part=part,
            processes=arguments.processes,
        )
        if part.count > 1:
            print(f"{file} is complete; --merge all {part.count} parts for the report")
            return 0
        files = [file]
    evaluation, methods = merge_parts(
        files,
        sources=sources,
        seed=arguments.seed,
        gallery_size=arguments.gallery,
        worst_size=arguments.worst,
        processes=arguments.processes,
    )
    write_report(evaluation, arguments.out, methods=methods)
    print(metrics_table(evaluation), end="")
    if evaluation.skipped:
        print(f"{len(evaluation.skipped)} skipped, see metrics.md")
    print(f"report in {arguments.out}")
    return 0


if __name__ == "__main__":
    run_program(main, resumes=True)
