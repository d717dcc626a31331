"""Check the pages of an LMDB before liblmdb reads it.

liblmdb maps the file into memory and trusts what is in it: a damaged page ends the process with
SIGSEGV, SIGBUS or SIGABRT. Here, every branch and leaf page of the tree of records is looked at
first. What passes may have damaged values, but reading it stays within the file.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autocolor.imaging.images import ImageError

# A page starts with its number (8 bytes), 2 bytes without meaning here, flags, and where its table
# of nodes and its free space end (2 bytes each). All numbers are of a 64-bit little-endian machine.
_HEADER = 16
_BRANCH, _LEAF, _META = 1, 2, 8

# Behind it, a meta page has: magic number, version, address and size of the mapping; the tree of free
# pages (page size, flags, depth, counts of pages and records, root) and that of the records, last page
# and transaction. The newer of the two meta pages counts.
_META_FORM = struct.Struct("<16xIIQQ IHH5Q IHH5Q QQ")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NO_SUB_FOLDER, _INTEGER_KEY = 0x4000, 8
_PAGE_SIZES = [2**power for power in range(9, 17)]
_NO_PAGE = 2**64 - 1
_DEEPEST = 31  # the cursor of liblmdb has no place for more

# A node is two halves of a number, flags, and the length of its key, 2 bytes each, and the key. The
# number and the flags of a branch's node are the page below; those of a leaf's node are the length of
# its value, which follows, or of which the number of its first page follows.
_NODE = 8
_BIG = 1
_PAGES_AT_ONCE = 512  # bounds the memory


class _Meta(NamedTuple):
    page_size: int
    depth: int
    records: int
    root: int
    last_page: int
    transaction: int


def check_lmdb(path: Path) -> None:
    """Refuse an LMDB that liblmdb could not read safely.

    Values are not looked at, so that an LMDB of a million images takes about a second.

    Parameters
    ----------
    path : Path
        Folder of an LMDB; one that does not exist is left to liblmdb, which says so.

    Raises
    ------
    ImageError
        If it is cut short, has a damaged page, or is of a kind that Caffe does not write: with
        several databases, or several values for a key.
    """
    file = path / "data.mdb"
    if not file.is_file():
        return
    size = file.stat().st_size
    if size < _META_FORM.size:
        raise ImageError(f"{file}: cut short: {size} bytes")
    data = np.memmap(file, np.uint8, "r")
    meta = _read_meta(file, data)
    expected = (meta.last_page + 1) * meta.page_size
    if size < expected:
        raise ImageError(f"{file}: cut short: expected {expected} bytes, received {size}")
    if meta.root == _NO_PAGE:
        if meta.records:
            raise ImageError(f"{file}: damaged: {meta.records} records and no page of them")
        return
    _check_tree(file, data[:expected].reshape(-1, meta.page_size), meta)


def _read_meta(file: Path, data: npt.NDArray[np.uint8]) -> _Meta:
    """Return what the newer meta page says; both must be in order."""
    metas: list[_Meta] = []
    place = 0
    while len(metas) < 2:
        head = bytes(data[place : place + _META_FORM.size])
        if len(head) < _META_FORM.size:
            raise ImageError(f"{file}: cut short: {len(data)} bytes")
        (magic, version, _, _, page_size, free_flags, _, _, _, _, _, _,
         _, flags, depth, _, _, _, records, root, last_page, transaction) = _META_FORM.unpack(head)  # fmt: skip
        (page_flags,) = struct.unpack_from("<H", head, 10)
        if magic != _MAGIC or version != _VERSION or page_flags != _META:
            raise ImageError(f"{file}: expected an LMDB, received something else or damage")
        if page_size not in _PAGE_SIZES or (metas and page_size != metas[0].page_size):
            raise ImageError(f"{file}: damaged: pages of {page_size} bytes")
        if free_flags & ~_NO_SUB_FOLDER != _INTEGER_KEY or flags or depth > _DEEPEST:
            raise ImageError(
                f"{file}: expected an LMDB with one value a key, as Caffe writes it, received "
                f"flags {free_flags} and {flags}, {depth} levels"
            )
        metas.append(_Meta(page_size, depth, records, root, last_page, transaction))
        place = page_size
    return max(metas, key=lambda meta: meta.transaction)


def _check_tree(file: Path, pages: npt.NDArray[np.uint8], meta: _Meta) -> None:
    """Go down the tree, a level at a time; all leaves are on the lowest."""
    numbers = np.array([meta.root], np.uint64)
    seen = np.zeros(len(pages), bool)
    for level in range(1, meta.depth + 1):
        kind = _LEAF if level == meta.depth else _BRANCH
        below = []
        for start in range(0, len(numbers), _PAGES_AT_ONCE):
            part = numbers[start : start + _PAGES_AT_ONCE]
            if part.max() >= len(pages) or part.min() < 2:
                raise ImageError(f"{file}: damaged: a branch to page {part.max()}, which is none")
            chosen = part.astype(np.intp)
            if seen[chosen].any() or len(np.unique(chosen)) < len(chosen):
                raise ImageError(f"{file}: damaged: two branches to one page")
            seen[chosen] = True
            below.append(_check_nodes(file, pages, chosen, kind))
        numbers = np.concatenate(below)
    if meta.depth < 1 or len(numbers) != meta.records:
        raise ImageError(
            f"{file}: damaged: {len(numbers)} records on {meta.depth} levels, expected {meta.records}"
        )


def _check_nodes(
    file: Path, pages: npt.NDArray[np.uint8], numbers: npt.NDArray[np.intp], kind: int
) -> npt.NDArray[np.uint64]:
    """Check some pages of a level; returns, by node, the page below, or the length of the value."""
    bad = np.zeros(len(numbers), bool)

    def refuse() -> None:
        if bad.any():
            raise ImageError(f"{file}: damaged: page {numbers[bad][0]}")

    content = pages[numbers]
    page_size = content.shape[1]
    halves = content.view("<u2")
    own, flags = content[:, :8].copy().view("<u8")[:, 0], halves[:, 5]
    lower, upper = halves[:, 6].astype(int), halves[:, 7].astype(int)
    bad |= (own != numbers) | (flags != kind) | (lower % 2 == 1)
    bad |= (lower > upper) | (upper > page_size)
    # liblmdb asserts that a branch has two nodes at least.
    counts = (lower - _HEADER) // 2
    bad |= counts < (2 if kind == _BRANCH else 1)
    refuse()
    row, column = np.nonzero(np.arange(counts.max()) < counts[:, None])
    place = halves[row, _HEADER // 2 + column].astype(int)

    def mark(of_nodes: npt.NDArray[np.bool_]) -> None:
        bad[row[of_nodes]] = True
        refuse()

    mark((place % 2 == 1) | (place < upper[row]) | (place + _NODE > page_size))
    low, high, node_flags, key = (
        halves[row, place // 2 + index].astype(np.uint64) for index in range(4)
    )
    end = place + _NODE + key.astype(int)
    if kind == _BRANCH:
        mark(end > page_size)
        below: npt.NDArray[np.uint64] = low | high << np.uint64(16) | node_flags << np.uint64(32)
        return below
    length: npt.NDArray[np.uint64] = low | high << np.uint64(16)
    big = node_flags == _BIG
    mark(~big & (node_flags != 0))
    mark(end + np.where(big, 8, length.astype(np.int64)) > page_size)
    first = content[row[big, None], end[big, None] + np.arange(8)].view("<u8")[:, 0]
    # Of a value of its own pages, only the first has a header.
    taken = (length[big] + np.uint64(_HEADER + page_size - 1)) // np.uint64(page_size)
    last = np.uint64(len(pages))
    outside = np.zeros(len(row), bool)
    outside[big] = (first < 2) | (first >= last) | (taken > last - np.minimum(first, last))
    mark(outside)
    return length
