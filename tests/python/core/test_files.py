"""Lines of text files, checksums beside files, locks, and errors that name their file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from autocolor.core.downloads import DownloadError
from autocolor.core.files import (
    LockedError,
    atomic_path,
    check_undamaged,
    checked_path,
    checksum_of,
    exclusive,
    naming,
    read_lines,
    write_checksum,
)
from helpers.programs import lock_holder


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_without_their_ends_and_without_a_byte_order_mark(
    mark: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(mark + "a b\r\n\n\u2028é\n".encode() + b"caf\xe9")
    assert read_lines(path) == ["a b", "", "\u2028é", "caf\udce9"]
    path.write_bytes(mark)
    assert read_lines(path) == []


def test_one_flipped_bit_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with checked_path(path) as partial:
        partial.write_bytes(b"abc")
    # The published SHA-256 of "abc" (FIPS 180).
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksum_of(path).read_text() == f"{expected}  weights\n"
    check_undamaged(path, DownloadError)
    path.write_bytes(b"abb")
    with pytest.raises(DownloadError, match=f"{path}: is cut off or damaged"):
        check_undamaged(path, DownloadError)
    checksum_of(path).unlink()
    check_undamaged(path, DownloadError)
    write_checksum(path, note="a note")
    check_undamaged(path, DownloadError)
    assert checksum_of(path).read_text().startswith("# a note\n")
    checksum_of(path).write_bytes(b"\xff\x00")
    with pytest.raises(DownloadError):
        check_undamaged(path, DownloadError)


def test_the_lock_is_had_by_one_process_and_ends_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "out" / ".lock"
    with lock_holder(lock) as other:
        with pytest.raises(LockedError, match=f"out: process {other.pid} of .* is at work here"):
            with exclusive(lock):
                raise AssertionError
        other.kill()
        other.wait()
        assert lock.exists()  # and is nobody's
        with exclusive(lock):
            pass
        assert not lock.exists()


def test_errors_of_a_full_disk_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device: '.*result.png'"):
        with atomic_path(tmp_path / "result.png"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="^something else$"), naming(tmp_path):
        raise OSError("something else")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_file_on_a_full_device_is_named() -> None:
    with pytest.raises(OSError, match="'/dev/full'"):
        with naming(Path("/dev/full")), Path("/dev/full").open("w") as stream:
            stream.write("x")
