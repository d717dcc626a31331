"""Which files a batch reads, and under which names it writes.

A folder is searched with its subfolders, and results keep the tree. Results of an earlier run are left
out, as are the folder of the results, contact sheets, and what is neither photo nor video by its suffix;
all are counted. Where two results would have one name, the photos' suffixes are added to it, `scan.jpg`
and `scan.tif` becoming `scan_jpg` and `scan_tif`, and where they would still have one, a number.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from autocolor.batch.contact_sheet import is_contact_sheet
from autocolor.core.errors import InputError
from autocolor.core.files import file_name, name_digest
from autocolor.imaging.images import OUTPUT_SUFFIXES, PHOTO_SUFFIXES
from autocolor.video.formats import (
    VIDEO_OUTPUT_SUFFIXES,
    VIDEO_SUFFIXES,
    is_video,
    result_suffix,
)

_EARLIER, _RESULTS, _SHEETS = "result of an earlier run", "folder of results", "contact sheet"
_ENDING = r"(_page_\d+)?(_\d+)?(_uncertainty)?"
_RESULT = re.compile(rf"(?P<stem>.+?)(?P<number>_\d+)?_color{_ENDING}")
_ENDINGS = len("_page_9999_9999_uncertainty")
_CUT_RESULT = re.compile(rf".*(?P<digest>~[0-9a-f]{{8}})(_color)?{_ENDING}")


@dataclass
class Plan:
    """What there is to do."""

    jobs: list[tuple[Path, Path]] = field(default_factory=list)  #: list of (photo, output)
    is_named: bool = False  #: Whether the name of the result was given
    #: How many files were passed over, by what they are
    left_out: Counter[str] = field(default_factory=Counter)
    unread: list[OSError] = field(default_factory=list)  #: Subfolders that cannot be searched


def plan_outputs(given: Sequence[str], output: str | None, sheet: Path | None = None) -> Plan:
    """Find the photos and videos that are meant, and pair each with the file to write.

    Parameters
    ----------
    given : sequence of str
        Files (which may be missing: that is reported later), folders and glob patterns.
    output : str, optional
        File for one photo, or folder; without it, results are written beside the photos.
    sheet : Path, optional
        Where a contact sheet goes; it replaces no photo or result, and those of an earlier run are
        no photos.
    """
    plan = Plan()
    # Each with its place below the folder that was given, which is that of its result below `output`.
    found: dict[Path, Path] = {}
    for text in given:
        # As the shell expands a pattern.
        if len(given) > 1 and Path(text).is_dir() and _same_folder(Path(text), output):
            plan.left_out[_RESULTS] += 1
            continue
        for path, place in _expand(text, output, plan):
            found.setdefault(path, place)
    photos = _without_sheets(_without_results(found, plan), sheet, plan)
    if not photos:
        # All were results of others: of what is given alone, none is left out.
        raise InputError(" ".join(given), "no photos")
    if output is not None and _is_file_name(output):
        _check_folder(output, Path(output).parent)
        if len(photos) > 1:
            raise InputError(f"-o {output}", f"expected a folder for {len(photos)} photos")
        if is_video(Path(output)) != is_video(photos[0]):
            raise InputError(f"-o {output}", "expected a photo for a photo and a video for a video")
        plan.jobs, plan.is_named = [(photos[0], Path(output))], True
    else:
        if output is not None:
            _check_folder(output, Path(output))
        folders = [path.parent if output is None else Path(output) / found[path] for path in photos]
        plan.jobs = _named(photos, folders)
    sources = {path.resolve() for path in photos}
    targets = [target for _, target in plan.jobs]
    for target in targets:
        if target.resolve() in sources:
            raise InputError(f"{target}", "is one of the photos; choose another output with -o")
    if sheet is not None and sheet.resolve() in {*sources, *(path.resolve() for path in targets)}:
        raise InputError("contact_sheet", f"{sheet} is one of the photos or results")
    return plan


def _expand(given: str, output: str | None, plan: Plan) -> Iterator[tuple[Path, Path]]:
    path = Path(given)
    if path.is_dir():
        found = list(_search(path, None if output is None else Path(output), plan))
        if not found:
            if plan.unread:
                raise plan.unread[0]
            suffixes = ", ".join((*PHOTO_SUFFIXES, *VIDEO_SUFFIXES))
            raise InputError(given, f"no photos ({suffixes}) in this folder")
        yield from found
    elif not path.exists() and glob.has_magic(given):
        matches = [Path(name) for name in sorted(glob.glob(given, recursive=True))]
        files = [match for match in matches if not match.is_dir()]
        if not files:
            raise InputError(given, "no file matches")
        plan.left_out["folder"] += len(matches) - len(files)
        if output is not None and (below := _below_pattern(Path(output), given)) is not None:
            results = [file for file in files if below in file.resolve().parents]
            plan.left_out[_EARLIER] += len(results)
            files = [file for file in files if file not in results]
        yield from ((file, Path()) for file in files)
    else:
        yield path, Path()


def _below_pattern(output: Path, pattern: str) -> Path | None:
    """Return the folder of results if a pattern such as `album/**/*` reaches into it from above."""
    steps = takewhile(lambda part: not glob.has_magic(part), Path(pattern).parent.parts)
    results = output.resolve()
    return results if Path(*steps).resolve() in results.parents else None


def _search(folder: Path, output: Path | None, plan: Plan) -> Iterator[tuple[Path, Path]]:
    """Yield the photos and videos below a folder; hidden ones count for nothing."""
    results = output.resolve() if output is not None else None
    for root, folders, names in os.walk(folder, onerror=plan.unread.append):
        here = Path(root)
        links = [name for name in folders if (here / name).is_symlink()]
        plan.left_out["link to a folder"] += len(links)
        own = [name for name in folders if (here / name).resolve() == results]
        plan.left_out[_RESULTS] += len(own)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in (*links, *own)
        )
        for name in sorted(names):
            path = here / name
            if name.startswith("."):
                continue
            if path.suffix.lower() in (*PHOTO_SUFFIXES, *VIDEO_SUFFIXES):
                yield path, here.relative_to(folder)
            else:
                plan.left_out[path.suffix.lower() or "file without an ending"] += 1


def _without_results(found: Iterable[Path], plan: Plan) -> list[Path]:
    """Leave out what has the name of a result of another one, from an earlier run."""
    found = list(found)
    sources = {
        path.parent / name
        for path in found
        for stem in (path.stem, _with_suffix(path))
        for name in (stem, name_digest(stem), name_digest(f"{stem}_color"))
    }
    photos = []
    for path in found:
        names = []
        if path.suffix == ".png" or is_video(path):
            if match := _CUT_RESULT.fullmatch(path.stem):
                names.append(match["digest"])
            if match := _RESULT.fullmatch(path.stem):
                names += [match["stem"], match["stem"] + (match["number"] or "")]
        if any(path.parent / name in sources for name in names):
            plan.left_out[_EARLIER] += 1
        else:
            photos.append(path)
    return photos


def _with_suffix(path: Path) -> str:
    return f"{path.stem}_{path.suffix[1:]}" if path.suffix else path.stem


def _check_folder(output: str, folder: Path) -> None:
    """Refuse a folder that cannot be made, as a file lies there."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"-o {output}", f"expected a folder, but {there} is a file")


def _without_sheets(photos: list[Path], sheet: Path | None, plan: Plan) -> list[Path]:
    """Leave out contact sheets of an earlier run, which know what they are."""
    if sheet is None:
        return photos
    first = sheet.resolve()
    name = re.compile(rf"{re.escape(first.stem)}(_\d+)?")
    kept = []
    for path in photos:
        place = path.resolve()
        is_near = place.parent == first.parent and place.suffix == first.suffix
        if is_near and name.fullmatch(place.stem) and is_contact_sheet(path):
            plan.left_out[_SHEETS] += 1
        else:
            kept.append(path)
    return kept


def _named(photos: Sequence[Path], folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Give each photo a result's name of its own; beside the photo it ends in _color."""
    plain = [
        folder / (path.stem + _suffix(path)) for path, folder in zip(photos, folders, strict=True)
    ]
    count = Counter(plain)
    taken: set[Path] = set()
    jobs = []
    for path, folder, name in zip(photos, folders, plain, strict=True):
        ending = ("_color" if _same_folder(folder, path.parent) else "") + _suffix(path)
        stem = path.stem if count[name] == 1 else _with_suffix(path)
        number, target = 1, folder / file_name(stem, ending, _ENDINGS)
        while target in taken:
            number += 1
            target = folder / file_name(f"{stem}_{number}", ending, _ENDINGS)
        taken.add(target)
        jobs.append((path, target))
    return jobs


def _same_folder(one: Path, other: Path | str | None) -> bool:
    return other is not None and one.resolve() == Path(other).resolve()


def _suffix(path: Path) -> str:
    """Return that of the output."""
    return result_suffix(path.suffix) if is_video(path) else ".png"


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
