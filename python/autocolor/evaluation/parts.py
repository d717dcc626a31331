"""Evaluations in parts: any number of processes and machines, resumable, merged to those of one pass.

A part is a text file of JSON lines. The first says what is evaluated; each further one is a photo's
result, appended as soon as it is known. A run that was stopped goes on behind the last whole line.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, TextIO

from autocolor.core.errors import AutocolorError, InputError
from autocolor.core.processes import WorkerError
from autocolor.data.photo_lists import ListedPhoto
from autocolor.evaluation.evaluate import (
    Accumulator,
    Evaluation,
    EvaluationProtocol,
    PhotoResult,
    PhotoScorer,
    SceneMethod,
    Task,
    add_pictures,
    lightness_method,
    score_photos,
)
from autocolor.evaluation.image_errors import Measurement
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import model_identity

_FORMAT = 2


class PartError(AutocolorError):
    """A part that cannot be used; one line that names the file."""


class MethodSource(Protocol):
    """Where a method comes from; hashable and picklable, so that every process can load its own."""

    @property
    def name(self) -> str:
        """Shown in reports."""

    def identity(self) -> dict[str, Any]:
        """Return what tells the method apart from others, for JSON: hashes of weights, options."""

    def load(self) -> SceneMethod:
        """Return the method, ready to colorize."""


@dataclass(frozen=True)
class ModelSource:
    """A model folder."""

    name: str
    folder: Path
    device: str = "cpu"  #: ``cpu``, ``gpu`` or ``gpu:1``; no part of the identity

    def identity(self) -> dict[str, Any]:
        """Return the manifest and the hashes of the files it names."""
        return model_identity(self.folder)

    def load(self) -> SceneMethod:
        """Return the model's `colorize`; errors are those of `Colorizer`."""
        return lightness_method(Colorizer(self.folder, self.device).colorize)


@dataclass(frozen=True)
class Part:
    """Part `number` of `count`: the photos of the list at number - 1, number - 1 + count, ..."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(
                "part", f"expected 1 <= number <= count, got {self.number}/{self.count}"
            )


def score_part(
    sources: Sequence[MethodSource],
    photos: Sequence[ListedPhoto],
    file: Path,
    *,
    protocol: EvaluationProtocol,
    part: Part = Part(),
    processes: int = 1,
    progress: bool = True,
) -> None:
    """Score a part of a list of photos, or what an earlier run left of it, into a file.

    Parameters
    ----------
    sources : sequence of MethodSource
    photos : sequence of ListedPhoto
        The whole list.
    file : Path
        Is appended to; its folder is made if need be.
    protocol, part, processes, progress
        As of :func:`autocolor.evaluation.evaluate.score_photos`; each process loads the methods.

    Raises
    ------
    PartError
        If the file holds results of something else.
    autocolor.runtime.model_folder.ModelError, autocolor.runtime.caffe_runtime.CaffeError, OSError
        If a method cannot be loaded, or the file not written.
    """
    header = _header(sources, photos, protocol, part)
    file.parent.mkdir(parents=True, exist_ok=True)
    done = _resume(file, header)
    indices = range(part.number - 1, len(photos), part.count)
    remaining = [index for index in indices if index not in done]
    tasks = [Task(photos[index].path) for index in remaining]
    results = _score(sources, protocol, tasks, processes, len(indices) - len(remaining), progress)
    with file.open("a", encoding="utf-8") as lines:
        for index, result in zip(remaining, results, strict=True):
            _append(lines, {"index": index, **_to_json(photos[index], result)})


def merge_parts(
    files: Sequence[Path],
    *,
    sources: Sequence[MethodSource] = (),
    seed: int = 0,
    gallery_size: int = 12,
    worst_size: int = 4,
    processes: int = 1,
) -> tuple[Evaluation, dict[str, dict[str, Any]]]:
    """Put the parts of an evaluation together, in any order; the result is that of one pass.

    Photos are counted in the order of the list, so sums are rounded as in one pass.

    Parameters
    ----------
    files : sequence of Path
        All parts.
    sources : sequence of MethodSource
        Draw, in as many `processes`, the pictures of the gallery and the worst cases, of photos that
        are at their paths; without any, there are no pictures.
    seed, gallery_size, worst_size
        As of :func:`autocolor.evaluation.evaluate.score`.

    Returns
    -------
    evaluation : Evaluation
    methods : dict
        Identities of the methods, by name.

    Raises
    ------
    PartError
        If a file is no part, the parts are of different evaluations or methods, overlap, or miss
        photos.
    autocolor.imaging.images.ImageError
        If no photo could be scored.
    """
    headers = [_read_header(file) for file in files]
    first = headers[0]
    for file, header in zip(files, headers, strict=True):
        _check_header(file, header, {**first, "part": header["part"]}, f"as in {files[0]}")
    protocol = EvaluationProtocol(**first["protocol"])
    accumulator = Accumulator(tuple(first["methods"]), protocol, seed=seed)
    seen: dict[int, Path] = {}
    for index, file, line in heapq.merge(*map(_result_lines, files), key=itemgetter(0)):
        if index in seen:
            raise PartError(f"{file}: photo {line['photo']} is also in {seen[index]}")
        seen[index] = file
        accumulator.add(index, Path(line["photo"]), _from_json(line), line["class"])
    if len(seen) != first["photos"]:
        lost = min(set(range(first["photos"])) - seen.keys())
        raise PartError(
            f"parts: expected all {first['photos']} photos, got {len(seen)}; number "
            f"{lost + 1} of the list is missing: run its part again, or merge all parts"
        )
    if sources:
        _check_header(files[0], first, {"methods": _identities(sources)}, "in this run")
        wanted = accumulator.missing_pictures(gallery_size, worst_size)
        tasks = [Task(photo.path, draw=True) for photo in wanted]
        results = _score(sources, protocol, tasks, processes, 0, progress=False)
        for photo, result in zip(wanted, results, strict=True):
            add_pictures(photo, result)
    return accumulator.finish(gallery_size, worst_size), first["methods"]


def _score(
    sources: Sequence[MethodSource],
    protocol: EvaluationProtocol,
    tasks: Sequence[Task],
    processes: int,
    done: int,
    progress: bool,
) -> Iterator[PhotoResult | str]:
    scorer = partial(_score_photo, tuple(sources), protocol)
    if processes == 1 and tasks:
        _scorer(tuple(sources), protocol)  # what methods learn first is no part of a photo's time
    try:
        yield from score_photos(scorer, tasks, processes=processes, done=done, progress=progress)
    except WorkerError as error:
        raise PartError(f"{error} Run again to go on, with fewer processes") from None


def _score_photo(
    sources: tuple[MethodSource, ...], protocol: EvaluationProtocol, task: Task
) -> PhotoResult | str:
    return _scorer(sources, protocol)(task)


@lru_cache(maxsize=1)
def _scorer(sources: tuple[MethodSource, ...], protocol: EvaluationProtocol) -> PhotoScorer:
    """Return the process's own scorer: models are loaded once."""
    return PhotoScorer({source.name: source.load() for source in sources}, protocol)


def _header(
    sources: Sequence[MethodSource],
    photos: Sequence[ListedPhoto],
    protocol: EvaluationProtocol,
    part: Part,
) -> dict[str, Any]:
    # Of the names alone: the folder may be another on the next machine. The bytes of each photo
    # are hashed when it is scored.
    digest = hashlib.sha256(os.fsencode("".join(f"{photo.path.name}\n" for photo in photos)))
    return {
        "format": _FORMAT,
        "photos": len(photos),
        "list_sha256": digest.hexdigest(),
        "part": [part.number, part.count],
        "protocol": asdict(protocol),
        "methods": _identities(sources),
    }


def _identities(sources: Sequence[MethodSource]) -> dict[str, dict[str, Any]]:
    names = [source.name for source in sources]
    if len(set(names)) != len(names):
        raise InputError("sources", f"expected different names, got {', '.join(names)}")
    return {source.name: source.identity() for source in sources}


def _resume(file: Path, header: Mapping[str, Any]) -> set[int]:
    """Start a file, or cut off the line that a stopped run left half; return what is done."""
    content = file.read_bytes() if file.exists() else b""
    whole = content.rfind(b"\n") + 1
    if not whole:
        with file.open("w", encoding="utf-8") as lines:
            _append(lines, header)
        return set()
    _check_header(file, _read_header(file), header, "in this run")
    os.truncate(file, whole)
    return {index for index, _, _ in _result_lines(file)}


def _append(lines: TextIO, content: Mapping[str, Any]) -> None:
    lines.write(json.dumps(content, separators=(",", ":")) + "\n")
    lines.flush()


def _read_header(file: Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8") as lines:
            header = json.loads(lines.readline())
    except ValueError as error:
        raise PartError(f"{file}: expected a part of an evaluation: {error}") from error
    keys = ("format", "photos", "list_sha256", "part", "protocol", "methods")
    if not isinstance(header, dict) or any(key not in header for key in keys):
        raise PartError(f"{file}: expected a part of an evaluation, with {', '.join(keys)}")
    if header["format"] != _FORMAT:
        raise PartError(f"{file}: expected format {_FORMAT}, got {header['format']}")
    return header


def _check_header(
    file: Path, header: Mapping[str, Any], expected: Mapping[str, Any], where: str
) -> None:
    for key, value in expected.items():
        if header[key] != value:
            raise PartError(
                f"{file}: holds results of another evaluation: {key}: expected {value} {where}, "
                f"got {header[key]}"
            )


def _result_lines(file: Path) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    """Yield each result's place in the list, its file and its line, which are in that order."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if number == 1 or not line.endswith("\n"):
                continue
            try:
                content = json.loads(line)
            except ValueError as error:
                raise PartError(f"{file}: line {number} is damaged: {error}") from error
            yield content["index"], file, content


def _to_json(photo: ListedPhoto, result: PhotoResult | str) -> dict[str, Any]:
    content: dict[str, Any] = {"photo": str(photo.path), "class": photo.label}
    if isinstance(result, str):
        return {**content, "skipped": result}
    return {
        **content,
        "sha256": result.key,
        "height": result.height,
        "width": result.width,
        "methods": {name: found.to_dict() for name, found in result.measurements.items()},
    }


def _from_json(line: Mapping[str, Any]) -> PhotoResult | str:
    if "skipped" in line:
        return str(line["skipped"])
    measurements = {name: Measurement.from_dict(found) for name, found in line["methods"].items()}
    return PhotoResult(line["sha256"], line["height"], line["width"], measurements)
