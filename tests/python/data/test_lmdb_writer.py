"""An LMDB is the same to the byte however often its writing is cut off."""

import os
import re

import lmdb
import numpy as np
import pytest
from PIL import Image

from autocolor.data import lmdb_writer
from autocolor.data.lmdb_io import LmdbOptions, decode_datum, read_datums, read_resized
from autocolor.data.lmdb_writer import (
    LmdbContent,
    LmdbWriteError,
    is_complete,
    read_skipped,
    write_lmdb,
)
from helpers.programs import lock_holder
from helpers.tiff_writer import Page, lay, write_tiff

COUNT = 330
OPTIONS = LmdbOptions(side=16, minimum_side=16, encoding="png")


class CutError(Exception):
    """The run ends here."""


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """330 photos of which 100 ... 199 and every tenth are not readable: a transaction is empty."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    photos = []
    for index in range(COUNT):
        path = folder / f"{index:03d}.png"
        if 100 <= index < 200 or index % 10 == 9:
            path.write_text("no image")
        else:
            Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(path)
        photos.append(path)
    return LmdbContent(photos, OPTIONS, labels=range(COUNT), first=7000)


@pytest.fixture(scope="module")
def whole(content, tmp_path_factory):
    """The LMDB that a single run writes."""
    path = tmp_path_factory.mktemp("whole") / "lmdb"
    write_lmdb(content, path)
    return path


def cut_after(calls):
    """Return a progress callback that raises `CutError` at one of its calls."""
    left = [calls]

    def progress(done):
        left[0] -= 1
        if left[0] < 0:
            raise CutError

    return progress


def test_records(content, whole):
    good = [index for index in range(COUNT) if not (100 <= index < 200 or index % 10 == 9)]
    records = list(read_datums(whole))
    assert [key for key, _ in records] == [f"{7000 + i:08d}_{i:03d}.png" for i in good]
    assert [datum.label for _, datum in records] == good
    pixels = np.asarray(Image.open(content.photos[good[-1]]))
    np.testing.assert_array_equal(decode_datum(records[-1][1]), pixels)
    skipped = read_skipped(whole)
    assert [path for path, _ in skipped] == [
        photo for index, photo in enumerate(content.photos) if index not in good
    ]
    assert all("not an image" in reason for _, reason in skipped)
    assert is_complete(whole, content)


@pytest.mark.parametrize("calls", [[0], [1], [2], [3], [4], [1, 1, 1, 1], [0, 2, 1]])
def test_cut_off_and_resumed(calls, content, whole, tmp_path):
    for call in calls:
        with pytest.raises(CutError):
            write_lmdb(content, tmp_path / "lmdb", cut_after(call))
        assert not (tmp_path / "lmdb").exists()
    done = []
    skipped = write_lmdb(content, tmp_path / "lmdb", done.append)
    assert sum(done) == COUNT
    assert skipped == read_skipped(whole)
    for name in ("data.mdb", "autocolor.json", "skipped.jsonl"):
        assert (tmp_path / "lmdb" / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["lmdb"]


def test_killed_at_the_least_convenient_moments(content, whole, tmp_path):
    part = tmp_path / "lmdb.part"
    # While LMDB created its file.
    part.mkdir()
    (part / "autocolor.json").write_bytes((whole / "autocolor.json").read_bytes())
    (part / "data.mdb").write_bytes(b"\0" * 4096)
    with pytest.raises(CutError):
        write_lmdb(content, tmp_path / "lmdb", cut_after(1))
    # Between the journal and its transaction, and in the middle of a line.
    with (part / "skipped.jsonl").open("a") as journal:
        journal.write('[209, "x.png", "no image"]\n[219, "y.p')
    # In the middle of writing a transaction's pages, before the page that makes them count.
    with (part / "data.mdb").open("ab") as data:
        data.write(os.urandom(100_000))
    write_lmdb(content, tmp_path / "lmdb")
    assert read_skipped(tmp_path / "lmdb") == read_skipped(whole)
    records = [
        [(key, value.SerializeToString()) for key, value in read_datums(path)]
        for path in (tmp_path / "lmdb", whole)
    ]
    assert records[0] == records[1]


def test_a_part_of_other_content_is_discarded(content, whole, tmp_path):
    with pytest.raises(CutError):
        write_lmdb(LmdbContent(content.photos[::-1], OPTIONS), tmp_path / "lmdb", cut_after(1))
    write_lmdb(content, tmp_path / "lmdb")
    assert (tmp_path / "lmdb" / "data.mdb").read_bytes() == (whole / "data.mdb").read_bytes()
    for other in (
        LmdbContent(content.photos, OPTIONS, first=7000),
        LmdbContent(content.photos, LmdbOptions(16, 16), range(COUNT), 7000),
        LmdbContent(content.photos, OPTIONS, range(COUNT), 0),
    ):
        assert not is_complete(whole, other)


def test_a_key_is_never_written_twice(content, tmp_path):
    lmdb_writer._write_batch(tmp_path, content, 3, [b"one", b"two"])
    for position in (3, 4, 0):  # there already, and before what is there
        with pytest.raises(LmdbWriteError, match="is there already, or out of order"):
            lmdb_writer._write_batch(tmp_path, content, position, [b"other"])
    with lmdb.open(str(tmp_path), lock=False) as environment, environment.begin() as transaction:
        assert list(transaction.cursor().iternext(keys=False)) == [b"one", b"two"]


def test_only_one_process_writes(content, tmp_path):
    with (
        lock_holder(tmp_path / ".lmdb.lock") as other,
        pytest.raises(LmdbWriteError, match=f"process {other.pid} of .* is at work here"),
    ):
        write_lmdb(content, tmp_path / "lmdb")
    write_lmdb(content, tmp_path / "lmdb")
    assert not (tmp_path / ".lmdb.lock").exists()


def test_what_cannot_be_opened_is_named(content, tmp_path):
    with pytest.raises(CutError):
        write_lmdb(content, tmp_path / "lmdb", cut_after(1))
    (tmp_path / "lmdb.part" / "data.mdb").write_bytes(b"\xff" * 20_000)
    with pytest.raises(
        LmdbWriteError, match=re.escape(f"{tmp_path}/lmdb.part/data.mdb: damaged: ")
    ):
        write_lmdb(content, tmp_path / "lmdb")


def test_large_jpegs_are_reduced_while_they_are_decoded(tmp_path):
    """Against the full decoder: within 2 levels root mean square (0.3 measured), of 255."""
    y, x = np.mgrid[:1200, :1600] / 1600
    smooth = np.stack([np.sin(9 * x) ** 2, np.cos(7 * y) ** 2, np.sin(5 * x * y) ** 2], axis=-1)
    image = Image.fromarray(np.rint(255 * smooth).astype(np.uint8))
    image.save(tmp_path / "a.jpg", quality=95)
    image.save(tmp_path / "a.png")
    jpeg, png = (read_resized(tmp_path / name, LmdbOptions()) for name in ("a.jpg", "a.png"))
    assert jpeg.size == png.size == (341, 256)
    difference = np.asarray(jpeg).astype(float) - np.asarray(png)
    assert np.sqrt((difference**2).mean()) < 2


def test_scans_enter_as_they_look(tmp_path):
    """Planar RGB of 16 bit that Pillow reads as noise, turned; and an RGB of 5, 6 and 5 bits."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (16, 20, 3)).astype(np.uint16)
    scan, other, lmdb_path = tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "lmdb"
    page = Page(lay(pixels, 8) * 257, 16, 2, orientation=8, planar=2, rows=100)
    scan.write_bytes(write_tiff([page]))
    other.write_bytes(write_tiff([Page(pixels, 8, 2, tags={258: (3, [5, 6, 5])})]))
    write_lmdb(LmdbContent([scan, other], OPTIONS), lmdb_path)
    ((_, datum),) = read_datums(lmdb_path)
    np.testing.assert_array_equal(decode_datum(datum), pixels)
    assert [path for path, _ in read_skipped(lmdb_path)] == [other]
