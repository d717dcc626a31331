"""Which files a batch reads, and under which names it writes.

A folder is searched with its subfolders, and results keep the tree. Results of an earlier run are left
out, as is what is neither photo nor video by its suffix; both are counted. Where two results would have
one name, the photos' suffixes are added to it, `scan.jpg` and `scan.tif` becoming `scan_jpg` and
`scan_tif`, and where they would still have one, a number.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autocolor.core.errors import InputError
from autocolor.core.files import file_name, name_digest
from autocolor.imaging.images import OUTPUT_SUFFIXES, PHOTO_SUFFIXES
from autocolor.video.result import VIDEO_OUTPUT_SUFFIXES, result_suffix
from autocolor.video.source import VIDEO_SUFFIXES, is_video

_ENDING = r"(_page_\d+)?(_\d+)?(_uncertainty)?"
_RESULT = re.compile(rf"(?P<stem>.+?)(?P<number>_\d+)?_color{_ENDING}")
_ENDINGS = len("_page_9999_9999_uncertainty")
_CUT_RESULT = re.compile(rf".*(?P<digest>~[0-9a-f]{{8}})(_color)?{_ENDING}")


@dataclass
class Plan:
    """What there is to do."""

    jobs: list[tuple[Path, Path]] = field(default_factory=list)  #: list of (photo, output)
    #: How many files were passed over, by what they are
    left_out: Counter[str] = field(default_factory=Counter)
    unread: list[OSError] = field(default_factory=list)  #: Subfolders that cannot be searched


def plan_outputs(given: Sequence[str], output: str | None) -> Plan:
    """Find the photos and videos that are meant, and pair each with the file to write.

    Parameters
    ----------
    given : sequence of str
        Files (which may be missing: that is reported later), folders and glob patterns.
    output : str, optional
        File for one photo, or folder; without it, results are written beside the photos.
    """
    plan = Plan()
    # Each with its place below the folder that was given, which is that of its result below `output`.
    found: dict[Path, Path] = {}
    for text in given:
        for path, place in _expand(text, output, plan):
            found.setdefault(path, place)
    photos = _without_results(found, plan)
    if not photos:
        # All were results of others: of what is given alone, none is left out.
        raise InputError(" ".join(given), "no photos")
    if output is not None and _is_file_name(output):
        if len(photos) > 1:
            raise InputError(f"-o {output}", f"expected a folder for {len(photos)} photos")
        if is_video(Path(output)) != is_video(photos[0]):
            raise InputError(f"-o {output}", "expected a photo for a photo and a video for a video")
        plan.jobs = [(photos[0], Path(output))]
    else:
        folders = [path.parent if output is None else Path(output) / found[path] for path in photos]
        plan.jobs = _named(photos, folders, "_color" if output is None else "")
    sources = {path.resolve() for path in photos}
    for _, target in plan.jobs:
        if target.resolve() in sources:
            raise InputError(f"{target}", "is one of the photos; choose another output with -o")
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
        yield from ((file, Path()) for file in files)
    else:
        yield path, Path()


def _search(folder: Path, output: Path | None, plan: Plan) -> Iterator[tuple[Path, Path]]:
    """Yield the photos and videos below a folder; hidden ones count for nothing."""
    results = output.resolve() if output is not None else None
    for root, folders, names in os.walk(folder, onerror=plan.unread.append):
        here = Path(root)
        links = [name for name in folders if (here / name).is_symlink()]
        plan.left_out["link to a folder"] += len(links)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in links and (here / name).resolve() != results
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
            plan.left_out["result of an earlier run"] += 1
        else:
            photos.append(path)
    return photos


def _with_suffix(path: Path) -> str:
    return f"{path.stem}_{path.suffix[1:]}" if path.suffix else path.stem


def _named(photos: Sequence[Path], folders: Sequence[Path], ending: str) -> list[tuple[Path, Path]]:
    """Give each photo a result's name of its own."""
    plain = [
        folder / (path.stem + _suffix(path)) for path, folder in zip(photos, folders, strict=True)
    ]
    count = Counter(plain)
    taken: set[Path] = set()
    jobs = []
    for path, folder, name in zip(photos, folders, plain, strict=True):
        stem = path.stem if count[name] == 1 else _with_suffix(path)
        number, target = 1, folder / file_name(stem, ending + _suffix(path), _ENDINGS)
        while target in taken:
            number += 1
            target = folder / file_name(f"{stem}_{number}", ending + _suffix(path), _ENDINGS)
        taken.add(target)
        jobs.append((path, target))
    return jobs


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
