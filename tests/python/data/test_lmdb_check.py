"""Pages of LMDBs that would end the process are refused; LMDBs of all shapes are not."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from autocolor.data.lmdb_check import check_lmdb
from autocolor.data.lmdb_io import open_lmdb, read_datums
from autocolor.imaging.images import ImageError
from fuzzing import Reader, mutations, try_inputs
from readers import make_readers

PAGE = 4096
PAGE_SIZE, ROOT, DEPTH, RECORDS, LAST_PAGE = 40, 128, 94, 120, 136  # places in a meta page
LOWER, UPPER, FLAGS = 12, 14, 10  # places in every page


def write(path: Path, records: dict[bytes, bytes], **options: object) -> Path:
    with lmdb.open(str(path), map_size=2**26, **options) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in records.items():
                transaction.put(key, value)
    return path


@pytest.mark.parametrize(
    "records",
    [
        {},
        {b"one": b"value"},
        {b"big": bytes(100_000), b"empty": b""},
        {b"%05d" % i: bytes(i % 3000) for i in range(3000)},
        {b"%0500d" % i: b"deep" for i in range(1000)},
    ],
    ids=["empty", "one", "big", "many", "deep"],
)
def test_sound_ones_pass(records: dict[bytes, bytes], tmp_path: Path) -> None:
    path = write(tmp_path / "db", records)
    check_lmdb(path)
    # Pages are freed and taken anew.
    with lmdb.open(str(path), map_size=2**26) as environment:
        with environment.begin(write=True) as transaction:
            for key in list(records)[::3]:
                transaction.delete(key)
    check_lmdb(path)
    check_lmdb(tmp_path / "missing")


def newest(content: bytes) -> tuple[int, int, int]:
    """Place of the meta page that counts, its root and its depth."""
    meta = max((0, PAGE), key=lambda place: struct.unpack_from("<Q", content, place + 144))
    (root,) = struct.unpack_from("<Q", content, meta + ROOT)
    (depth,) = struct.unpack_from("<H", content, meta + DEPTH)
    return meta, root, depth


def first_node(content: bytes, page: int) -> int:
    return page * PAGE + struct.unpack_from("<H", content, page * PAGE + 16)[0]


def leaf(content: bytes, root: int) -> int:
    """Page that the first node of the root leads to."""
    return int(struct.unpack_from("<H", content, first_node(content, root))[0])


def node_of_leaf(content: bytes, root: int) -> int:
    return first_node(content, leaf(content, root))


# Where to write what: given the content, the place of the meta page, and the root page.
DAMAGE = {
    "root is none": lambda c, meta, root: (meta + ROOT, "<Q", 10**6),
    "root is a meta page": lambda c, meta, root: (meta + ROOT, "<Q", 1),
    "file is short": lambda c, meta, root: (meta + LAST_PAGE, "<Q", 10**6),
    "pages of no size": lambda c, meta, root: (meta + PAGE_SIZE, "<I", 0),
    "pages of another size": lambda c, meta, root: (PAGE_SIZE, "<I", 8192),
    "pages of another size, once": lambda c, meta, root: (PAGE + PAGE_SIZE, "<I", 8192),
    "records are fewer": lambda c, meta, root: (meta + RECORDS, "<Q", 301),
    "magic": lambda c, meta, root: (meta + 16, "<I", 1),
    "page of zeros": lambda c, meta, root: (root * PAGE, "4096s", bytes(4096)),
    "kind": lambda c, meta, root: (root * PAGE + FLAGS, "<H", 4),
    "many nodes": lambda c, meta, root: (root * PAGE + LOWER, "<H", 60_000),
    "one node": lambda c, meta, root: (root * PAGE + LOWER, "<H", 18),
    "free space": lambda c, meta, root: (root * PAGE + UPPER, "<H", 60_000),
    "node outside": lambda c, meta, root: (root * PAGE + 16, "<H", 4094),
    "branch to none": lambda c, meta, root: (first_node(c, root), "<H", 65_000),
    "branch to itself": lambda c, meta, root: (first_node(c, root), "<H", root),
    "leaf with a branch": lambda c, meta, root: (leaf(c, root) * PAGE + FLAGS, "<H", 1),
    "leaf of many": lambda c, meta, root: (leaf(c, root) * PAGE + LOWER, "<H", 60_000),
    "leaf with a node outside": lambda c, meta, root: (leaf(c, root) * PAGE + 16, "<H", 65_534),
    "leaf with a long key": lambda c, meta, root: (node_of_leaf(c, root) + 6, "<H", 60_000),
    "leaf without nodes": lambda c, meta, root: (leaf(c, root) * PAGE + LOWER, "<H", 16),
    "value of many databases": lambda c, meta, root: (node_of_leaf(c, root) + 4, "<H", 6),
}
# What liblmdb does not look at.
HARMLESS = {
    "depth is wrong": lambda c, meta, root: (meta + DEPTH, "<H", 1),
    "depth is deep": lambda c, meta, root: (meta + DEPTH, "<H", 40),
    "duplicates": lambda c, meta, root: (meta + DEPTH - 2, "<H", 4),
    "long key": lambda c, meta, root: (first_node(c, root) + 6, "<H", 60_000),
}


def write_damaged(path: Path, damage: Callable[..., tuple[int, str, object]]) -> dict[bytes, bytes]:
    """Write an LMDB of two levels of pages and damage it; returns what was in it."""
    records = {b"%05d" % i: bytes(100) for i in range(300)}
    data = write(path, records) / "data.mdb"
    content = bytearray(data.read_bytes())
    meta, root, depth = newest(content)
    assert depth == 2
    place, form, value = damage(content, meta, root)
    struct.pack_into(form, content, place, value)
    data.write_bytes(content)
    return records


def read_records(path: Path) -> dict[bytes, bytes]:
    with open_lmdb(path) as transaction:
        return dict(transaction.cursor())


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_pages_are_refused(name: str, tmp_path: Path) -> None:
    write_damaged(tmp_path / "db", DAMAGE[name])
    with pytest.raises(ImageError, match=r"db(/data\.mdb: damaged|: mdb_cursor_get): .") as error:
        read_records(tmp_path / "db")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", HARMLESS)
def test_damage_that_does_not_matter(name: str, tmp_path: Path) -> None:
    records = write_damaged(tmp_path / "db", HARMLESS[name])
    assert read_records(tmp_path / "db") == records


@pytest.mark.parametrize(
    ("place", "form", "value"), [(0, "<H", 65_000), (4, "<H", 2), (8, "3s", b"")]
)
def test_damaged_leaves_are_refused(place: int, form: str, value: object, tmp_path: Path) -> None:
    """A long value that is none, a flag of several databases, and a value's page that is none."""
    path = write(tmp_path / "db", {b"key": bytes(10_000)})
    content = bytearray((path / "data.mdb").read_bytes())
    _, root, _ = newest(content)
    node = first_node(content, root)
    if place == 8:
        form, value, place = "<Q", 10**9, 8 + len(b"key")
    struct.pack_into("<H", content, node + 4, 0 if place == 0 else 1)
    struct.pack_into(form, content, node + place, value)
    (path / "data.mdb").write_bytes(content)
    with pytest.raises(ImageError, match="damaged: |CORRUPTED"):
        read_records(path)


def test_values_lie_within_the_file(tmp_path: Path) -> None:
    """The last value is said to be longer than the file: it is mapped, and reading it is SIGBUS."""
    path = write(tmp_path / "db", {b"key": bytes(10_000)})
    content = bytearray((path / "data.mdb").read_bytes())
    _, root, _ = newest(content)
    struct.pack_into("<I", content, first_node(content, root), 10**6)
    (path / "data.mdb").write_bytes(content)
    with pytest.raises(ImageError, match="record 1 goes beyond the end of the file"):
        check_lmdb(path)


def test_records_of_several_databases_are_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "db"), map_size=2**20, max_dbs=2) as environment:
        environment.open_db(b"named")
    with pytest.raises(ImageError, match="expected a Datum"):
        list(read_datums(tmp_path / "db"))


def damaged_headers(reader: Reader) -> list[bytes]:
    """Return files with each half of each page's header, and of its first node, at its largest."""
    contents = []
    for seed in reader.seeds:
        for page in range(len(seed) // PAGE):
            start = page * PAGE
            node = start + min(struct.unpack_from("<H", seed, start + 16)[0], PAGE - 8)
            for place in (
                *range(start, start + 40, 2),
                *range(node, min(node + 8, len(seed) - 1), 2),
            ):
                content = bytearray(seed)
                content[place : place + 2] = b"\xff\xff"
                contents.append(bytes(content))
    return contents


@pytest.mark.slow
def test_no_damaged_header_ends_the_process(tmp_path: Path) -> None:
    reader = make_readers(tmp_path)["lmdb"]
    contents = [*damaged_headers(reader)[::3], *mutations(reader, 60, seed=0)]
    outcomes = list(try_inputs(reader, iter(contents)))
    assert len(outcomes) == len(contents) > 200
    assert not {outcome.result for outcome in outcomes if outcome.is_fault}
    assert sum(outcome.result == "refused" for outcome in outcomes) > 50


@pytest.mark.slow
def test_without_the_check_they_would(tmp_path: Path) -> None:
    """So that the test above can fail: liblmdb alone dies of one of these files."""

    def read(path: Path) -> None:
        with lmdb.open(str(path.parent), readonly=True, lock=False) as environment:
            with environment.begin() as transaction:
                list(transaction.cursor())

    seeds = make_readers(tmp_path)["lmdb"].seeds
    reader = Reader("unchecked", "data.mdb", read, (lmdb.Error,), seeds)
    outcomes = try_inputs(reader, iter(damaged_headers(reader)))
    assert any(outcome.result.startswith("signal") for outcome in outcomes)
