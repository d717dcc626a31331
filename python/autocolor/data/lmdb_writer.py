"""Write photos into an LMDB: in parallel, and so that a job that was cut off can be resumed.

One process writes, in the order of the keys; others read, resize and encode. Each transaction holds
`TRANSACTION` photos, always the same ones, in an environment that is opened for it: what a run has
in memory leaves no trace in the file. So whatever the number of processes, and however often a run
was killed, the result is the same to the byte.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import lmdb
import numpy as np

from autocolor.core.errors import AutocolorError
from autocolor.core.files import LockedError, exclusive, one_line, write_atomically
from autocolor.core.processes import INLINE, Workers
from autocolor.data.lmdb_check import check_lmdb
from autocolor.data.lmdb_io import LmdbOptions, make_datum
from autocolor.imaging.images import ImageError

_Item = TypeVar("_Item")

TRANSACTION = 100
"""Photos in one; on a fast machine, a fraction of a second's work is what a kill can cost."""

_CALL = 20  # photos that a worker takes at once; divides TRANSACTION
_MANIFEST = "autocolor.json"
_SKIPPED = "skipped.jsonl"
_LARGEST_LMDB = 2**40  # of address space; the file grows as needed
_LEAST_LMDB = 2 * 4096  # bytes: the two pages that LMDB begins a file with


class LmdbWriteError(AutocolorError):
    """An LMDB could not be written; one line. What is there is valid, and can be resumed."""


@dataclass(frozen=True)
class LmdbContent:
    """What an LMDB is made of."""

    photos: Sequence[Path]  #: In the order of the records; a photo may come several times
    options: LmdbOptions
    labels: Sequence[int] | None = None  #: One a photo; without them they are 0
    #: Number of the first photo, with which its key begins: of a shard, its place in the whole
    first: int = 0

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the names and sizes of the photos and of all else."""
        digest = hashlib.sha256(json.dumps([asdict(self.options), self.first]).encode())
        labels = self.labels if self.labels is not None else [0] * len(self.photos)
        for photo, label in zip(self.photos, labels, strict=True):
            try:
                size = os.stat(photo).st_size
            except OSError:
                size = -1
            digest.update(json.dumps([os.path.abspath(photo), size, label]).encode())
        return digest.hexdigest()

    def calls(self, start: int) -> Iterator[tuple[list[tuple[Path, int, int]], LmdbOptions]]:
        """Yield the arguments of `encode_photos`, from the photo at `start` on."""
        for begin in range(start, len(self.photos), _CALL):
            photos = [Path(os.path.abspath(p)) for p in self.photos[begin : begin + _CALL]]
            labels = [0] * len(photos)
            if self.labels is not None:
                labels = list(self.labels[begin : begin + _CALL])
            numbers = range(self.first + begin, self.first + begin + len(photos))
            yield list(zip(photos, labels, numbers, strict=True)), self.options


def shuffled_passes(items: Sequence[_Item], passes: int, seed: int) -> list[_Item]:
    """Return all items in random order, `passes` times, each time in another order.

    Neighbours in an LMDB share a batch, so they should not share an origin.
    """
    rng = np.random.default_rng(seed)
    return [items[index] for _ in range(passes) for index in rng.permutation(len(items))]


def encode_photos(call: tuple[list[tuple[Path, int, int]], LmdbOptions]) -> list[bytes | str]:
    """Return for each photo its serialized Datum, or the reason why it has to be skipped."""
    photos, options = call
    results: list[bytes | str] = []
    for path, label, number in photos:
        try:
            datum = make_datum(options.prepare(path, number), options, label)
            results.append(datum.SerializeToString())
        except ImageError as error:
            results.append(one_line(error))
        # Whatever else is odd about one photo must not end the job.
        except (OSError, ValueError, MemoryError) as error:
            results.append(f"{path}: cannot be stored: {one_line(error)}")
    return results


def is_complete(path: Path, content: LmdbContent) -> bool:
    """Whether `path` holds an LMDB with exactly this content."""
    return _read_fingerprint(path) == content.fingerprint


def read_skipped(path: Path) -> list[tuple[Path, str]]:
    """Return the photos that were skipped when an LMDB was written, and why."""
    return [(Path(name), reason) for _, name, reason in _read_journal(path / _SKIPPED)]


def write_lmdb(
    content: LmdbContent,
    path: Path,
    progress: Callable[[int], object] = lambda done: None,
    workers: Workers = INLINE,
) -> list[tuple[Path, str]]:
    """Write photos into a new LMDB, which replaces `path` once it is complete.

    A run that was cut off leaves its part in ``PATH.part``, a valid LMDB; the next one with the same
    content goes on from there, and discards it if the content is another.

    Parameters
    ----------
    content : LmdbContent
    path : Path
    progress : callable
        Called with the number of photos that are done since the last call.
    workers : Workers
        Who read and encode the photos.

    Returns
    -------
    list of (Path, str)
        Photos that were skipped, and why.

    Raises
    ------
    LmdbWriteError
        If another process is writing it, or it cannot be written, as on a full disk.
    WorkerError
        If a worker is lost.
    """
    part = path.with_name(path.name + ".part")
    done = 0
    try:
        part.mkdir(parents=True, exist_ok=True)
        with exclusive(path.with_name(f".{path.name}.lock")):
            done = _resume(part, content)
            progress(done)
            encoded = workers.map_ordered(encode_photos, content.calls(done))
            results = itertools.chain.from_iterable(encoded)
            while batch := list(itertools.islice(results, TRANSACTION)):
                _write_batch(part, content, done, batch)
                done += len(batch)
                progress(len(batch))
            if path.exists():
                shutil.rmtree(path)
            part.replace(path)
    except LockedError as error:
        raise LmdbWriteError(str(error)) from None
    except (lmdb.Error, OSError) as error:
        raise LmdbWriteError(
            f"{part}: cannot be written: {one_line(error)}; {done} of "
            f"{len(content.photos)} photos are done; run again to go on from there"
        ) from error
    return read_skipped(path)


def _write_batch(part: Path, content: LmdbContent, done: int, batch: list[bytes | str]) -> None:
    records: list[tuple[bytes, bytes]] = []
    skipped: list[str] = []
    for position, result in enumerate(batch, start=done):
        photo = content.photos[position]
        if isinstance(result, str):
            skipped.append(json.dumps([position, str(photo), result]) + "\n")
        else:
            name = photo.name.encode("utf-8", "replace")
            records.append((f"{content.first + position:08d}_".encode() + name[:490], result))
    if skipped:
        # On disk before the records: these say how far the run has come.
        with (part / _SKIPPED).open("a", encoding="ascii") as stream:
            stream.writelines(skipped)
            stream.flush()
            os.fsync(stream.fileno())
    if not records:
        return
    try:
        with _environment(part) as environment, environment.begin(write=True) as transaction:
            for key, value in records:
                # With append, LMDB refuses a key that is not greater than all others.
                if not transaction.put(key, value, overwrite=False, append=True):
                    raise LmdbWriteError(f"{part}: key {key!r} is there already, or out of order")
    except lmdb.Error as error:
        needed = sum(len(value) for _, value in records)
        raise OSError(_lack_of_space(part / "data.mdb", needed) or str(error)) from error


def _lack_of_space(data: Path, needed: int) -> str | None:
    """Say what keeps a file from growing: LMDB calls that an input/output error."""
    free = shutil.disk_usage(data).free
    if free < needed:
        return f"its disk is full, {free} bytes are free"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and data.stat().st_size + needed > limit:
        return f"files may not be larger than {limit} bytes here (ulimit -f)"
    return None


def _resume(part: Path, content: LmdbContent) -> int:
    """Prepare `part` for writing; returns the number of photos that are done."""
    data = part / "data.mdb"
    fresh = data.exists() and data.stat().st_size < _LEAST_LMDB  # killed while it was created
    if fresh or _read_fingerprint(part) != content.fingerprint:
        for file in part.iterdir():
            file.unlink()
        write_atomically(part / _MANIFEST, json.dumps({"fingerprint": content.fingerprint}))
    try:
        check_lmdb(part)
    except ImageError as error:
        raise LmdbWriteError(f"{error}; remove {part} to begin anew") from None
    with _environment(part) as environment, environment.begin() as transaction:
        with transaction.cursor() as cursor:
            last = int(cursor.key().split(b"_")[0]) - content.first if cursor.last() else -1
    done = min((last // TRANSACTION + 1) * TRANSACTION, len(content.photos))
    known = [entry for entry in _read_journal(part / _SKIPPED) if entry[0] < done]
    write_atomically(part / _SKIPPED, "".join(json.dumps(entry) + "\n" for entry in known))
    return done


def _environment(part: Path) -> lmdb.Environment:
    # One process is at work here, so LMDB need not lock the file.
    return lmdb.open(str(part), map_size=_LARGEST_LMDB, lock=False)


def _read_fingerprint(path: Path) -> str | None:
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="ascii"))
        return str(manifest["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_journal(path: Path) -> list[tuple[int, str, str]]:
    entries: list[tuple[int, str, str]] = []
    if path.exists():
        for line in path.read_text(encoding="ascii").splitlines():
            try:
                position, name, reason = json.loads(line)
            except ValueError:
                break  # the end of a run that was killed while it wrote this line
            entries.append((position, name, reason))
    return entries
