"""What the ``autocolor`` command is told."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autocolor import __version__
from autocolor.control.edits import TRANSFERS
from autocolor.core.programs import command_parser
from autocolor.histograms.decode import HUE_METHODS, LOOKS, METHODS
from autocolor.imaging.prints import MIXES
from autocolor.runtime.options import add_model_options
from autocolor.video.smoothing import SMOOTHING

_EPILOG = """\
examples:
  autocolor photo.jpg                    writes photo_color.png beside it
  autocolor photo.jpg -o out.png
  autocolor album/ 'scans/*.tif' -o colorized/ --resume
  autocolor album/ -o colorized/ --contact-sheet sheet.jpg
  autocolor photo.jpg --strength 1.3 --compare
  autocolor scans/ -o colorized/ --restore --contact-sheet before_after.jpg
  autocolor photo.jpg --samples 4                      writes photo_color_1.png … photo_color_4.png
  autocolor photo.jpg --reference sunset.jpg
  autocolor film.avi                                   writes film_color.mp4; if it is stopped, the
                                                       same command goes on
  autocolor photo.jpg --hint 120,80=#b03020 --hint 300,40=skyblue
  autocolor serve                                      opens a web page for all of this; see
                                                       autocolor serve --help

A model comes with autocolor (docs/model_card.md); another one is a folder with model.json, such as
`bash tools/demo.sh` trains. Folders are searched with their subfolders. Results of an earlier run are
not colorized again. Where two results would have one name, as those of scan.jpg and scan.tif, they are
called scan_jpg and scan_tif. Files that cannot be read are reported and skipped. Exit status: 0, 1 if
any photo failed, 2 on wrong usage, 130 after Ctrl-C."""

# What shells complete: files, or the word that opens the web page.
_PHOTOS = {"bash": "_autocolor_photos", "zsh": "_autocolor_photos", "tcsh": "f"}
_FILES = ("output", "contact_sheet", "reference")
_PREAMBLE: Any = {
    "bash": '_autocolor_photos() { compgen -W serve -- "$1"; _shtab_compgen_files "$1"; }',
    "zsh": "_autocolor_photos() { compadd serve; _files; }",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    what = "Colorize photos and videos. A colour photo is turned to grey first."
    parser = command_parser(what, _EPILOG, "autocolor")
    _add_files(parser)
    add_model_options(parser)
    _add_colours(parser)
    _add_old_photos(parser)
    _add_control(parser)
    parser.add_argument(
        "--smoothing",
        type=float,
        default=SMOOTHING,
        metavar="PART",
        help="of videos, against flicker: weight in a frame's colours of the frames beside it, below 1; "
        "of those further away its powers (default: %(default)s)",
    )
    parser.add_argument("--version", action="version", version=f"autocolor {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        metavar="SHELL",
        help="print what completes the command's options in this shell; for bash: "
        'eval "$(autocolor --print-completion bash)"',
    )
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="file, folder, or quoted pattern; or videos"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="file for one photo (its ending chooses the format), or folder for several, where "
        "they keep their names as .png, and their subfolders (default, and where that is the photos' "
        "own folder: NAME_color.png beside each photo)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave alone photos whose results are there and were made of them as they are now, "
        "such as those of a run that was stopped (default: write all anew)",
    )
    parser.add_argument("--compare", action="store_true", help="write grey and colour side by side")
    parser.add_argument(
        "--contact-sheet",
        type=Path,
        metavar="FILE",
        help="also write an overview of all photos, each before and after; what does not fit one "
        "sheet goes to FILE_2 and so on",
    )


def _add_colours(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("colours")
    group.add_argument(
        "--strength",
        type=float,
        metavar="FACTOR",
        help="factor on the chroma: 0 is grey, above 1 more vivid (default: the model's)",
    )
    group.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="smaller side of the image that the network sees (default: the model's)",
    )
    group.add_argument(
        "--look",
        choices=LOOKS,
        help="faithful: the least error, as in the paper; vivid: livelier where the hue is sure, grey "
        "where it is not (default: vivid, but faithful with --method, --hue or --no-fading, or where "
        "the model predicts no hue)",
    )
    group.add_argument(
        "--hue",
        choices=HUE_METHODS,
        help="how a hue is taken from its histogram (default: sample or mode where --method "
        "is, else expectation)",
    )
    group.add_argument(
        "--method",
        choices=METHODS,
        help="how a chroma, or a and b, is taken from its histogram (default: the median of chroma, "
        "the expectation of a and b)",
    )
    group.add_argument(
        "--no-fading",
        action="store_true",
        help="keep the chroma where the hue is uncertain (no chromatic fading)",
    )


def _add_old_photos(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("old photos")
    group.add_argument(
        "--grey",
        choices=MIXES,
        default=MIXES[0],
        help="how a photo is turned to grey: mean of red, green and blue, as the paper does; print "
        "mixes them so that a tinted print, such as sepia, has the least noise; auto does that for "
        "photos with a tint but no colours beside it (default: %(default)s)",
    )
    group.add_argument(
        "--restore",
        action="store_true",
        help="fill dust and scratches from around them and spread faded tones; fine detail that "
        "looks like dust may go with it",
    )


def _add_control(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("creative control of photos")
    group.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="N",
        help="colorizations of each photo: with --method sample random ones, otherwise diverse ones "
        "that lean towards N hues",
    )
    group.add_argument(
        "--seed", type=int, default=0, help="of random samples (default: %(default)s)"
    )
    group.add_argument(
        "--reference",
        type=Path,
        metavar="FILE",
        help="image whose colours to use, or .npz of histograms",
    )
    group.add_argument(
        "--transfer",
        choices=TRANSFERS,
        default=TRANSFERS[0],
        help="how to use them: energy minimisation or quantile matching (default: %(default)s)",
    )
    group.add_argument(
        "--hint",
        action="append",
        default=[],
        metavar="X,Y=COLOUR",
        help="colour of a place, spread to what is like it: pixels from the left and from the top, "
        "and #RRGGBB, #RGB or a colour's name in CSS; may be given several times, for one photo",
    )
    group.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write NAME_uncertainty.png, the entropy of the predicted colour",
    )
    group.add_argument(
        "--histograms", type=Path, metavar="OUT.npz", help="also write the histograms of one photo"
    )


class _PrintCompletion(argparse.Action):
    """Prints a shell's completion, of ``autocolor serve``, too, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        import shtab  # which nothing else need wait for

        self.choices = shtab.SUPPORTED_SHELLS
        if values not in self.choices:
            shells = ", ".join(self.choices)
            parser.error(f"{option_string}: expected {shells}, got {values}")
        complete = {
            "photos": _PHOTOS,
            "model": shtab.DIRECTORY,
            **dict.fromkeys(_FILES, shtab.FILE),
        }
        for action in parser._actions:
            if action.dest in complete:
                action.complete = complete[action.dest]  # type: ignore[attr-defined]
        commands = parser.add_subparsers()
        try:
            from autocolor.web.serve import build_parser
        except ModuleNotFoundError:  # the packages of the page are not installed
            pass
        else:
            serve = build_parser()
            commands.add_parser("serve", parents=[serve], add_help=False, help=serve.description)
        print(shtab.complete(parser, str(values), preamble=_PREAMBLE))
        parser.exit()
