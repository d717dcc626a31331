"""The ``autocolor`` command: colorize photo files."""

from __future__ import annotations

import argparse
import glob
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import shtab
from tqdm import tqdm

from autocolor import __version__
from autocolor.batch import FileOptions, colorize_files, find_files
from autocolor.control.edits import TRANSFERS, Edits, load_reference
from autocolor.control.hints import parse_hint
from autocolor.control.targets import check_variant
from autocolor.core.errors import AutocolorError, InputError
from autocolor.histograms.decode import HUE_METHODS, METHODS, DecodeOptions
from autocolor.imaging.images import OUTPUT_SUFFIXES, PHOTO_SUFFIXES
from autocolor.runtime.backends import BACKENDS
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import shipped_model_folder
from autocolor.video.result import VIDEO_OUTPUT_SUFFIXES, result_suffix
from autocolor.video.smoothing import SMOOTHING, check_smoothing
from autocolor.video.source import VIDEO_SUFFIXES, is_video

MODEL_VARIABLE = "AUTOCOLOR_MODEL"
_RESULT = re.compile(r".+_color(_page_\d+)?(_\d+|_uncertainty)?")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="autocolor",
        description="Colorize photos and videos. A colour photo is turned to grey first.",
        epilog="""\
examples:
  autocolor photo.jpg                    writes photo_color.png beside it
  autocolor photo.jpg -o out.png
  autocolor album/ 'scans/*.tif' -o colorized/
  autocolor photo.jpg --strength 1.3 --compare
  autocolor photo.jpg --samples 4                      writes photo_color_1.png … photo_color_4.png
  autocolor photo.jpg --reference sunset.jpg
  autocolor film.avi                                   writes film_color.mp4; if it is stopped, the
                                                       same command goes on
  autocolor photo.jpg --hint 120,80=#b03020 --hint 300,40=#6090d0
  autocolor serve                                      opens a web page for all of this; see
                                                       autocolor serve --help

A model comes with autocolor (docs/model_card.md); another one is a folder with model.json, such as
`bash tools/demo.sh` trains. Files that cannot be read are reported and skipped. Exit status: 0, 1
if any photo failed, 2 on wrong usage.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    photos = parser.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="file, folder, or quoted pattern; or videos"
    )
    output = parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="file for one photo (its ending chooses the format), or folder for several, where "
        "they keep their names as .png (default: NAME_color.png beside each photo)",
    )
    model = parser.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="trained model (default: "
        f"${MODEL_VARIABLE}, or else the one that comes with autocolor)",
    )
    parser.add_argument(
        "--hue",
        choices=HUE_METHODS,
        help="how a hue is taken from its histogram (default: sample or mode where --method "
        "is, else expectation)",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="how a chroma, or a and b, is taken from its histogram (default: the median of chroma, "
        "the expectation of a and b)",
    )
    parser.add_argument(
        "--no-fading",
        action="store_true",
        help="keep the chroma where the hue is uncertain (no chromatic fading)",
    )
    parser.add_argument(
        "--strength",
        type=float,
        metavar="FACTOR",
        help="factor on the chroma: 0 is grey, above 1 more vivid (default: the model's)",
    )
    parser.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="smaller side of the image that the network sees (default: the model's)",
    )
    parser.add_argument(
        "--device", default="cpu", metavar="DEVICE", help="cpu, gpu or gpu:1 (default: %(default)s)"
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="what runs the network: Caffe, or onnxruntime (pip install 'autocolor[onnx]'), which "
        "gives the same colours; auto is Caffe where it is built (default: %(default)s)",
    )
    parser.add_argument("--compare", action="store_true", help="write grey and colour side by side")
    parser.add_argument(
        "--smoothing",
        type=float,
        default=SMOOTHING,
        metavar="PART",
        help="of videos, against flicker: weight in a frame's colours of the frames beside it, below 1; "
        "of those further away its powers (default: %(default)s)",
    )
    control = parser.add_argument_group("creative control of photos")
    control.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="N",
        help="colorizations of each photo: with --method sample random ones, otherwise diverse ones "
        "that lean towards N hues",
    )
    control.add_argument(
        "--seed", type=int, default=0, help="of random samples (default: %(default)s)"
    )
    reference = control.add_argument(
        "--reference",
        type=Path,
        metavar="FILE",
        help="image whose colours to use, or .npz of histograms",
    )
    control.add_argument(
        "--transfer",
        choices=TRANSFERS,
        default=TRANSFERS[0],
        help="how to use them: energy minimisation or quantile matching (default: %(default)s)",
    )
    control.add_argument(
        "--hint",
        action="append",
        default=[],
        metavar="X,Y=#RRGGBB",
        help="colour of a place, spread to what is like it; may be given several times, for one photo",
    )
    control.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write NAME_uncertainty.png, the entropy of the predicted colour",
    )
    control.add_argument(
        "--histograms", type=Path, metavar="OUT.npz", help="also write the histograms of one photo"
    )
    parser.add_argument("--version", action="version", version=f"autocolor {__version__}")
    shtab.add_argument_to(
        parser,
        "--print-completion",
        help="print what completes the command's options in this shell; for bash: "
        'eval "$(autocolor --print-completion bash)"',
    )
    for action, complete in (
        (photos, shtab.FILE),
        (output, shtab.FILE),
        (reference, shtab.FILE),
        (model, shtab.DIRECTORY),
    ):
        action.complete = complete  # type: ignore[attr-defined]
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["serve"]:  # a photo of that name is ./serve
        return _serve(argv[1:])
    arguments = build_parser().parse_args(argv)
    try:
        jobs = plan_outputs(arguments.photos, arguments.output)
        decoding = DecodeOptions(
            arguments.method, arguments.hue, not arguments.no_fading, arguments.strength
        )
        for name in ("hint", "histograms"):
            if getattr(arguments, name) and len(jobs) > 1:
                raise InputError(name, f"expected one photo, got {len(jobs)}")
        check_smoothing(arguments.smoothing)
        videos = [photo for photo, _ in jobs if is_video(photo)]
        for name in ("compare", "reference", "hint", "uncertainty", "histograms"):
            if videos and getattr(arguments, name):
                raise InputError(name, f"expected photos, got {videos[0]}")
        if videos and (arguments.samples > 1 or arguments.method == "sample"):
            raise InputError("samples", f"expected photos, got {videos[0]}")
        colorizer = Colorizer(
            _model_folder(arguments.model),
            arguments.device,
            working_side=arguments.size,
            backend=arguments.backend,
        )
        manifest = colorizer.manifest
        decoding.methods(manifest.variant)
        edits = _edits(arguments, manifest)
        if arguments.uncertainty or arguments.histograms:
            check_variant(manifest.variant)
    except (AutocolorError, OSError) as error:
        return _fail(error, arguments)

    options = FileOptions(
        decoding,
        edits,
        arguments.seed,
        arguments.compare,
        arguments.uncertainty,
        arguments.histograms,
        arguments.smoothing,
    )
    failures = 0
    results = colorize_files(colorizer, jobs, options)
    try:
        for photo, written, failure in tqdm(
            results, total=len(jobs), unit="photo", disable=len(jobs) == 1
        ):
            if failure:
                tqdm.write(f"autocolor: error: {failure}", file=sys.stderr)
                failures += 1
            else:
                tqdm.write(f"{photo} -> {', '.join(map(str, written))}", file=sys.stdout)
    except InputError as error:  # a hint outside its photo, say
        return _fail(error, arguments)
    if len(jobs) > 1:
        print(f"{len(jobs) - failures} colorized, {failures} failed")
    return 1 if failures else 0


def _serve(argv: Sequence[str]) -> int:
    try:
        from autocolor.web import serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        print(
            f"autocolor serve: error: there is no {error.name}; "
            "`pip install 'autocolor[web]'` installs what the web page needs",
            file=sys.stderr,
        )
        return 1
    return serve.main(argv)


def _edits(arguments: argparse.Namespace, manifest: Manifest) -> Edits:
    reference = None
    if arguments.reference is not None:
        if arguments.transfer == "energy":
            check_variant(manifest.variant)
        reference = load_reference(
            arguments.reference, arguments.transfer, manifest.variant, manifest.bins
        )
    edits = Edits(reference, [parse_hint(text) for text in arguments.hint], arguments.samples)
    edits.check(manifest.variant)
    return edits


def _fail(error: Exception, arguments: argparse.Namespace) -> int:
    """Print an error, with the option that is wrong if one is; return the exit status."""
    text = str(error)
    if isinstance(error, InputError):
        option = "size" if error.argument == "working_side" else error.argument
        if hasattr(arguments, option):
            text = f"--{option}: {error.problem}"
    print(f"autocolor: error: {text}", file=sys.stderr)
    return 2 if isinstance(error, InputError) else 1


def _model_folder(given: Path | None) -> Path:
    if given is not None:
        return given
    if os.environ.get(MODEL_VARIABLE):
        return Path(os.environ[MODEL_VARIABLE])
    return shipped_model_folder()


def plan_outputs(photos: Sequence[str], output: str | None) -> list[tuple[Path, Path]]:
    """Pair each photo with the file to write.

    Parameters
    ----------
    photos : sequence of str
        Files (which may be missing: that is reported later), folders and glob patterns.
    output : str, optional
        Value of ``--output``.
    """
    paths = list(dict.fromkeys(path for given in photos for path in _expand(given)))
    if output is None:
        jobs = [(path, path.with_name(f"{path.stem}_color{_suffix(path)}")) for path in paths]
    elif _is_file_name(output):
        if len(paths) > 1:
            raise InputError(f"-o {output}", f"expected a folder for {len(paths)} photos")
        if is_video(Path(output)) != is_video(paths[0]):
            raise InputError(f"-o {output}", "expected a photo for a photo and a video for a video")
        jobs = [(paths[0], Path(output))]
    else:
        jobs = [(path, Path(output) / f"{path.stem}{_suffix(path)}") for path in paths]

    sources = {path.resolve() for path in paths}
    writers: dict[Path, Path] = {}
    for path, target in jobs:
        if target.resolve() in sources:
            raise InputError(f"{target}", "is one of the photos; choose another output with -o")
        other = writers.setdefault(target.resolve(), path)
        if other != path:
            raise InputError(f"{target}", f"both {other} and {path} would be written there")
    return jobs


def _suffix(path: Path) -> str:
    """Return that of the output."""
    return result_suffix(path.suffix) if is_video(path) else ".png"


def _expand(given: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        # A second run over a folder must not colorize what the first one wrote beside the photos.
        found = [item for item in find_files(path) if not _is_result(item)]
        if not found:
            suffixes = ", ".join((*PHOTO_SUFFIXES, *VIDEO_SUFFIXES))
            raise InputError(given, f"no photos ({suffixes}) in this folder")
        return found
    if not path.exists() and glob.has_magic(given):
        found = [Path(name) for name in sorted(glob.glob(given, recursive=True))]
        found = [item for item in found if item.is_file()]
        if not found:
            raise InputError(given, "no file matches")
        return found
    return [path]


def _is_result(path: Path) -> bool:
    """Return whether a file has a name that this command gives by default."""
    named = _RESULT.fullmatch(path.stem) is not None
    return named and (path.suffix == ".png" or is_video(path))


def _is_file_name(output: str) -> bool:
    path = Path(output)
    if output.endswith("/") or path.is_dir() or not path.suffix:
        return False
    suffixes = (*OUTPUT_SUFFIXES, *VIDEO_OUTPUT_SUFFIXES)
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"-o {output}",
            f"expected a file ending in {', '.join(suffixes)} or a folder ending in /",
        )
    return True


if __name__ == "__main__":
    sys.exit(main())
