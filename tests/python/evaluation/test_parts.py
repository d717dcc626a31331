"""Evaluations in parts: equal to one pass, resumed after a kill, refused where they do not fit."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocolor.data.photo_lists import ListedPhoto
from autocolor.evaluation.evaluate import (
    GREY,
    EvaluationProtocol,
    SceneMethod,
    lightness_method,
)
from autocolor.evaluation.evaluate import (
    score as score_scenes,
)
from autocolor.evaluation.parts import (
    ModelSource,
    Part,
    PartError,
    merge_parts,
    score_part,
)
from autocolor.evaluation.report import write_report
from autocolor.imaging.color import compose_rgb
from autocolor.imaging.images import find_photos, read_image, write_image
from autocolor.runtime.model_folder import Manifest

PROTOCOL = EvaluationProtocol(side=40)

WHOLE = Part()


@dataclass(frozen=True)
class Tint:
    """A method that every process can load."""

    hue: float
    name: str = "tint"

    def identity(self) -> dict[str, Any]:
        return {"hue": self.hue}

    def load(self) -> SceneMethod:
        def colorize(light: np.ndarray) -> np.ndarray:
            return compose_rgb(np.full_like(light, self.hue), np.full_like(light, 0.1), light)

        return lightness_method(colorize)


SOURCES = (Tint(0.1), Tint(0.6, "cold"))


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> list[ListedPhoto]:
    """Return seven photos, one of which is broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        rgb = read_image(find_photos(photo_folder)[number % 3]).rgb
        write_image(folder / f"{number}.png", rgb[:: number + 1])
    (folder / "3b.png").write_text("no photo")
    return [ListedPhoto(path, number) for number, path in enumerate(find_photos(folder))]


def states(files: list[Path], **options: Any) -> dict[str, Any]:
    """Return everything that an evaluation says, for comparison."""
    evaluation, methods = merge_parts(files, **options)
    return {
        "metrics": {name: metrics.to_dict() for name, metrics in evaluation.metrics.items()},
        "photos": evaluation.photos,
        "skipped": evaluation.skipped,
        "sha256": evaluation.photos_sha256,
        "worst": evaluation.worst,
        "methods": methods,
    }


def score(
    photos: list[ListedPhoto],
    file: Path,
    part: Part = WHOLE,
    processes: int = 1,
) -> Path:
    score_part(
        SOURCES, photos, file, protocol=PROTOCOL, part=part, processes=processes, progress=False
    )
    return file


def test_parts_equal_one_pass_exactly(photos: list[ListedPhoto], tmp_path: Path) -> None:
    whole = score(photos, tmp_path / "new" / "whole.jsonl")
    expected = states([whole])
    plain = score_scenes(
        {source.name: source.load() for source in SOURCES},
        [photo.path for photo in photos],
        protocol=PROTOCOL,
        worst_size=4,
        progress=False,
    )
    assert expected["metrics"] == {n: metrics.to_dict() for n, metrics in plain.metrics.items()}
    assert (expected["skipped"], expected["sha256"]) == (plain.skipped, plain.photos_sha256)
    assert [photo.label for photo in expected["photos"]] == [0, 1, 2, 3, 5, 6]
    for count in (2, 3, 9):
        files = [
            score(photos, tmp_path / f"{number}_{count}.jsonl", Part(number, count))
            for number in range(1, count + 1)
        ]
        assert states(files) == states(files[::-1]) == expected


@pytest.mark.slow
def test_processes_equal_one(photos: list[ListedPhoto], tmp_path: Path) -> None:
    one = score(photos, tmp_path / "one.jsonl")
    two = score(photos, tmp_path / "two.jsonl", processes=2)
    assert one.read_bytes() == two.read_bytes()


@dataclass(frozen=True)
class Deadly(Tint):
    """Ends its process, as the kernel does when memory runs out."""

    def load(self) -> SceneMethod:
        os._exit(9)


def test_a_process_that_dies(photos: list[ListedPhoto], tmp_path: Path) -> None:
    file = tmp_path / "part.jsonl"
    with pytest.raises(PartError, match="a worker is lost .* Run again to go on, with fewer"):
        score_part([Deadly(0.1)], photos, file, protocol=PROTOCOL, processes=2, progress=False)
    assert file.read_text().count("\n") == 1


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.999])
def test_resume(photos: list[ListedPhoto], tmp_path: Path, keep: float) -> None:
    whole = score(photos, tmp_path / "whole.jsonl")
    content = whole.read_bytes()
    cut = tmp_path / "cut.jsonl"
    kept = content[: int(keep * len(content))]  # within a line, as a kill leaves it
    cut.write_bytes(kept)
    done = max(kept.count(b"\n") - 1, 0)
    calls = []

    @dataclass(frozen=True)
    class Counting(Tint):
        def load(self) -> SceneMethod:
            method = super().load()
            return lambda scene: calls.append(scene) or method(scene)

    sources = [Counting(source.hue, source.name) for source in SOURCES]
    score_part(sources, photos, cut, protocol=PROTOCOL, progress=False)
    assert cut.read_bytes() == content
    broken = photos[4].path.name == "3b.png" and done < 5
    assert len(calls) == 2 * (len(photos) - done - broken)
    score(photos, cut)
    assert cut.read_bytes() == content


def test_pictures_are_drawn_where_the_methods_are(
    photos: list[ListedPhoto], tmp_path: Path
) -> None:
    file = score(photos, tmp_path / "part.jsonl")
    options = {"gallery_size": 2, "worst_size": 1}
    without, _ = merge_parts([file], **options)
    assert not any(photo.pictures for photo in without.photos)
    assert not without.gallery and len(without.worst) == 4
    drawn, _ = merge_parts([file], sources=SOURCES, **options)
    assert len(drawn.gallery) == 2
    assert list(drawn.gallery[0].pictures) == [GREY, "tint", "cold", "original"]
    for case in drawn.worst:
        assert all(photo.pictures for photo in case.photos)
    with pytest.raises(PartError, match=r"part\.jsonl: holds .*: methods: expected .* in this run"):
        merge_parts([file], sources=[Tint(0.3), SOURCES[1]])
    # A photo that is gone has no picture, but its scores stay.
    drawn.gallery[0].path.unlink()
    assert len(merge_parts([file], sources=SOURCES, **options)[0].gallery) == 1


def test_names_that_are_not_utf8(photo_folder: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(bytes(tmp_path / "caf") + b"\xe9.png"))
    odd.write_bytes((photo_folder / "coffee.png").read_bytes())
    broken = Path(os.fsdecode(bytes(tmp_path / "bad") + b"\xe9.png"))
    broken.write_text("no photo")
    file = score([ListedPhoto(odd), ListedPhoto(broken)], tmp_path / "part.jsonl")
    evaluation, methods = merge_parts([file], sources=SOURCES)
    assert evaluation.photos[0].path == odd and evaluation.skipped[0][0] == broken
    write_report(evaluation, tmp_path / "report", methods=methods)
    for name in ("metrics.csv", "metrics.md"):
        assert "caf\\udce9.png" in (tmp_path / "report" / name).read_text(encoding="utf-8")
    assert (tmp_path / "report" / "worst.png").is_file()


def test_results_of_something_else_are_refused(photos: list[ListedPhoto], tmp_path: Path) -> None:
    file = score(photos, tmp_path / "part.jsonl")
    before = file.read_bytes()
    others = {
        "methods": ((Tint(0.2), SOURCES[1]), photos, PROTOCOL, Part()),
        "photos": (SOURCES, photos[1:], PROTOCOL, Part()),
        "list_sha256": (SOURCES, photos[::-1], PROTOCOL, Part()),
        "protocol": (SOURCES, photos, replace(PROTOCOL, eight_bit=True), Part()),
        "part": (SOURCES, photos, PROTOCOL, Part(1, 2)),
    }
    for key, (sources, listed, protocol, part) in others.items():
        with pytest.raises(PartError, match=rf"part\.jsonl: holds .*another evaluation: {key}:"):
            score_part(sources, listed, file, protocol=protocol, part=part, progress=False)
    assert file.read_bytes() == before
    with pytest.raises(ValueError, match="expected different names, got tint, tint"):
        score_part((Tint(0), Tint(1)), photos, tmp_path / "x", protocol=PROTOCOL)
    with pytest.raises(ValueError, match="processes: expected at least 1, got 0"):
        score_part(SOURCES, photos, tmp_path / "x", protocol=PROTOCOL, processes=0)


def test_parts_that_do_not_fit_together(photos: list[ListedPhoto], tmp_path: Path) -> None:
    first = score(photos, tmp_path / "1.jsonl", Part(1, 2))
    second = score(photos, tmp_path / "2.jsonl", Part(2, 2))
    with pytest.raises(PartError, match=r"1\.jsonl: photo .*0\.png is also in .*1\.jsonl"):
        merge_parts([first, second, first])
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(first.read_bytes())
    with pytest.raises(PartError, match=r"copy\.jsonl: photo .*0\.png is also in .*1\.jsonl"):
        merge_parts([first, copy, second])
    with pytest.raises(PartError, match=r"expected all 7 photos, got 4; number 2 of the list"):
        merge_parts([first])
    other = tmp_path / "other.jsonl"
    score_part(
        SOURCES, photos, other, protocol=replace(PROTOCOL, side=30), part=Part(2, 2), progress=False
    )
    with pytest.raises(PartError, match=r"other\.jsonl: holds .*protocol: expected .*1\.jsonl"):
        merge_parts([first, other])
    damaged = tmp_path / "damaged.jsonl"
    lines = second.read_text().splitlines(keepends=True)
    damaged.write_text("".join([lines[0], lines[1][:40] + "\n", *lines[2:]]))
    with pytest.raises(PartError, match=r"damaged\.jsonl: line 2 is damaged"):
        merge_parts([first, damaged])


@pytest.mark.parametrize("content", ["", "photo.jpg\n", "{}\n", "[1]\n"])
def test_files_that_are_no_parts(content: str, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(content)
    with pytest.raises(PartError, match=r"list\.txt: expected a part of an evaluation"):
        merge_parts([file])


def test_another_format_is_refused(photos: list[ListedPhoto], tmp_path: Path) -> None:
    file = score(photos[:1], tmp_path / "part.jsonl")
    header, *lines = file.read_text().splitlines()
    older = json.dumps({**json.loads(header), "format": 1})
    file.write_text("\n".join([older, *lines, ""]))
    with pytest.raises(PartError, match="expected format 2, got 1"):
        merge_parts([file])


@pytest.mark.parametrize(("number", "count"), [(0, 1), (3, 2), (1, 0)])
def test_part_numbers(number: int, count: int) -> None:
    with pytest.raises(ValueError, match="part: expected 1 <= number <= count"):
        Part(number, count)


def test_models_are_told_apart(model_folder: Path, tmp_path: Path) -> None:
    source = ModelSource("tiny", model_folder)
    identity = source.identity()
    assert set(identity["sha256"]) == {"model.json", "deploy.prototxt", "weights.caffemodel"}
    assert identity == replace(source, device="gpu").identity()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model_folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    other = ModelSource("other", copy)
    assert other.identity() == identity
    replace(Manifest.load(copy), strength=0.5).save(copy)
    assert other.identity() != identity
