"""Lines of text files."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocolor.core.files import read_lines


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_without_their_ends_and_without_a_byte_order_mark(
    mark: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(mark + "a b\r\n\n\u2028é\n".encode() + b"caf\xe9")
    assert read_lines(path) == ["a b", "", "\u2028é", "caf\udce9"]
    path.write_bytes(mark)
    assert read_lines(path) == []
