"""Check an LMDB before liblmdb reads it here.

liblmdb maps the file into memory and trusts what is in it: a damaged page ends the process with
SIGSEGV, SIGBUS or SIGABRT. So a process of its own goes through all records first, with the library
that Caffe uses; the Python package ``lmdb`` would read all values, too.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import ClassVar

from autocolor.core.isolation import Runner, run_isolated
from autocolor.imaging.images import ImageError

_LIBRARY = "liblmdb.so.0"
# From lmdb.h.
_READ_ONLY, _NO_LOCK = 0x20000, 0x400000
_NEXT = 8
_NOT_FOUND = -30798

_PAGE_SIZE = 40  # place in each of the first two pages, which liblmdb does not compare

# Mapped beyond the end of the file, where reading raises SIGBUS: further than any length in a page
# reaches, so that a damaged one cannot lead into memory that only the child has.
_BEYOND = 2**33


class _Value(ctypes.Structure):
    _fields_: ClassVar = [("size", ctypes.c_size_t), ("data", ctypes.c_void_p)]


class _Statistics(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_uint) for name in ("page_size", "depth")),
        *((name, ctypes.c_size_t) for name in ("branches", "leaves", "overflow", "records")),
    ]


class _Information(ctypes.Structure):
    _fields_: ClassVar = [
        ("address", ctypes.c_void_p),
        *((name, ctypes.c_size_t) for name in ("map_size", "last_page", "transaction")),
        *((name, ctypes.c_uint) for name in ("most_readers", "readers")),
    ]


def check_lmdb(path: Path, run: Runner = run_isolated) -> None:
    """Refuse an LMDB that would end the process.

    Values are not read, so that an LMDB of a million images takes a few seconds. They may be
    damaged, but lie within the file.

    Parameters
    ----------
    path : Path
        Folder of an LMDB; one that does not exist is left to liblmdb, which says so.
    run : callable
        How the child is started.

    Raises
    ------
    ImageError
        If it is cut short, or has a damaged page.
    """
    file = path / "data.mdb"
    if file.is_file() and (failure := run(_read_pages, [str(path)])):
        raise ImageError(f"{file}: damaged: {failure.reason}")


def _read_pages(path: str) -> None:
    """In the child: go through the keys, find each again, and see where its value lies."""
    library = ctypes.CDLL(_LIBRARY)
    library.mdb_strerror.restype = ctypes.c_char_p

    def check(status: int) -> None:
        if status:
            raise ImageError(library.mdb_strerror(status).decode())

    size = Path(path, "data.mdb").stat().st_size
    environment, transaction, cursor = (ctypes.c_void_p() for _ in range(3))
    database = ctypes.c_uint()
    statistics, information = _Statistics(), _Information()
    check(library.mdb_env_create(ctypes.byref(environment)))
    check(library.mdb_env_set_mapsize(environment, ctypes.c_size_t(size + _BEYOND)))
    check(library.mdb_env_open(environment, os.fsencode(path), _READ_ONLY | _NO_LOCK, 0))
    check(library.mdb_env_stat(environment, ctypes.byref(statistics)))
    check(library.mdb_env_info(environment, ctypes.byref(information)))
    with Path(path, "data.mdb").open("rb") as file:
        for start in (0, statistics.page_size):
            file.seek(start + _PAGE_SIZE)
            if int.from_bytes(file.read(4), "little") != statistics.page_size:
                raise ImageError("its first two pages differ in how large pages are")
    expected = (information.last_page + 1) * statistics.page_size
    if size < expected:
        raise ImageError(f"expected {expected} bytes, got {size}")
    check(library.mdb_txn_begin(environment, None, _READ_ONLY, ctypes.byref(transaction)))
    check(library.mdb_dbi_open(transaction, None, 0, ctypes.byref(database)))
    check(library.mdb_cursor_open(transaction, database, ctypes.byref(cursor)))

    key, value, again = _Value(), _Value(), _Value()
    key_pointer, value_pointer, again_pointer = map(ctypes.byref, (key, value, again))
    end = count = 0
    # Two branches to one page may lead round and round.
    while count <= statistics.records:
        status = library.mdb_cursor_get(cursor, key_pointer, value_pointer, _NEXT)
        if status == _NOT_FOUND:
            break
        check(status)
        count += 1
        check(library.mdb_get(transaction, database, key_pointer, again_pointer))
        end = end or _mapping_start(value.data) + size
        if value.data + value.size > end:
            raise ImageError(f"record {count} goes beyond the end of the file")
    if count != statistics.records:
        raise ImageError(f"expected {statistics.records} records, got {count}")


def _mapping_start(address: int) -> int:
    """Return where in memory the file begins that is mapped to an address."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        low, high = (int(place, 16) for place in line.partition(" ")[0].split("-"))
        if low <= address < high:
            return low
    raise ImageError(f"address {address} is not mapped")
