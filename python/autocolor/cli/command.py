"""The ``autocolor`` command itself: what is asked for is checked, done and reported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from autocolor.batch.colorize import FileOptions, FileResult, colorize_files
from autocolor.batch.contact_sheet import ContactSheet
from autocolor.batch.files import Plan, plan_outputs
from autocolor.cli.arguments import build_parser
from autocolor.control.edits import Edits, load_reference
from autocolor.control.hints import parse_hint
from autocolor.control.targets import check_variant
from autocolor.core.errors import AutocolorError, InputError, exit_status
from autocolor.core.files import one_line
from autocolor.core.programs import printable
from autocolor.core.progress import tqdm
from autocolor.histograms.decode import LOOKS, DecodeOptions, default_look
from autocolor.imaging.images import ImageError, check_output_suffix
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.options import chosen_model
from autocolor.video.smoothing import check_smoothing


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["serve"]:  # a photo of that name is ./serve
        return _serve(argv[1:])
    arguments = build_parser().parse_args(argv)
    try:
        plan = plan_outputs(arguments.photos, arguments.output, arguments.contact_sheet)
        decoding = DecodeOptions(
            arguments.method,
            arguments.hue,
            not arguments.no_fading,
            arguments.strength,
            look=arguments.look or LOOKS[0],
        )
        _check_photos(arguments, [photo for photo, _ in plan.jobs])
        colorizer = Colorizer(
            chosen_model(arguments.model),
            arguments.device,
            working_side=arguments.size,
            backend=arguments.backend,
        )
        manifest = colorizer.manifest
        # Who chooses how a histogram is read gets that alone, unless a look is asked for as well.
        if arguments.look is None and decoding == DecodeOptions(strength=arguments.strength):
            decoding = replace(decoding, look=default_look(manifest.variant))
        decoding.methods(manifest.variant)
        edits = _edits(arguments, manifest)
        if arguments.uncertainty or arguments.histograms:
            check_variant(manifest.variant)
        same = ("seed", "compare", "uncertainty", "histograms", "grey", "restore", "smoothing")
        options = FileOptions(decoding, edits, **{name: getattr(arguments, name) for name in same})
    except (AutocolorError, OSError) as error:
        return _fail(error, arguments)
    results = colorize_files(
        colorizer, plan.jobs, options, resume=arguments.resume, replace=plan.is_named
    )
    sheet = None
    if arguments.contact_sheet is not None:
        sheet = ContactSheet(arguments.contact_sheet, options)
    return _report(plan, results, sheet, arguments)


def _report(
    plan: Plan,
    results: Iterable[FileResult],
    sheet: ContactSheet | None,
    arguments: argparse.Namespace,
) -> int:
    """Do the work, with a line for each photo and a bar for all; return the exit status."""
    done = there = failures = others = 0
    for error in plan.unread:
        _say(f"error: {error.filename}: cannot be searched: {error.strerror}")
        others += 1
    left_out = [f"{count} × {what}" for what, count in sorted(plan.left_out.items()) if count]
    if left_out:
        _say(f"left out: {', '.join(left_out)}")
    total = len(plan.jobs)
    for result in tqdm(results, total=total, unit="photo", disable=total == 1):
        if result.wrong_option is not None and total == 1:  # a hint outside its photo, say
            return _fail(result.wrong_option, arguments)
        if result.error:
            _say(f"error: {result.error}")
            failures += 1
            continue
        if result.note:
            _say(result.note)
        written = printable(", ".join(map(str, result.colorized + result.beside)))
        done += 1
        there += result.was_there
        is_there = " (was there)" if result.was_there else ""
        tqdm.write(f"{printable(result.photo)} -> {written}{is_there}", file=sys.stdout)
        if sheet is not None:
            others += _reported(sheet.add, result)
    if sheet is not None:
        others += _reported(sheet.close)
        if sheet.written:
            print(f"contact sheet: {printable(', '.join(map(str, sheet.written)))}")
    if total > 1:
        before = f" ({there} of them before)" if there else ""
        print(f"{done} colorized{before}, {failures} failed")
    return 1 if failures or others else 0


def _reported(work: Callable[..., None], *arguments: object) -> int:
    """Do something for which no photo is lost; return 1 with a line if it fails."""
    try:
        work(*arguments)
    except (AutocolorError, OSError) as error:
        _say(f"error: {one_line(error)}")
        return 1
    return 0


def _serve(argv: Sequence[str]) -> int:
    try:
        from autocolor.web import serve
    except ModuleNotFoundError as error:
        if error.name not in ("prometheus_client", "python_multipart", "starlette", "uvicorn"):
            raise
        print(
            f"autocolor serve: error: there is no {error.name}; `pip install starlette uvicorn "
            "python-multipart prometheus-client` brings what the web page needs",
            file=sys.stderr,
        )
        return 1
    return serve.main(argv)


def _check_photos(arguments: argparse.Namespace, photos: Sequence[Path]) -> None:
    """Refuse options that do not fit the number of photos, or each other."""
    for name in ("hint", "histograms"):
        if getattr(arguments, name) and len(photos) > 1:
            raise InputError(name, f"expected one photo, got {len(photos)}")
    if arguments.contact_sheet is not None:
        try:
            check_output_suffix(arguments.contact_sheet)
        except ImageError as error:
            raise InputError("contact_sheet", str(error)) from None
    check_smoothing(arguments.smoothing)


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
    text = one_line(error)
    if isinstance(error, InputError):
        option = "size" if error.argument == "working_side" else error.argument
        if hasattr(arguments, option):
            text = f"--{option.replace('_', '-')}: {error.problem}"
    _say(f"error: {text}")
    return exit_status(error)


def _say(text: str) -> None:
    tqdm.write(f"autocolor: {printable(text)}", file=sys.stderr)
