"""Reading Qt resource files."""

import contextlib
import random
import struct
import zlib

import pytest

from autocolor.data.qt_resource import ResourceError, read_members


def make_resource(version=2, compressed=False):
    """A resource with photos/a.txt and b.txt, written by hand from the format's description."""
    contents = [b"first file", b"second"]
    if compressed:
        contents = [struct.pack(">I", len(c)) + zlib.compress(c) for c in contents]
    data, offsets = b"", []
    for content in contents:
        offsets.append(len(data))
        data += struct.pack(">I", len(content)) + content
    names, name_offsets = b"", []
    for name in ("photos", "a.txt", "b.txt"):
        name_offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    flag = 1 if compressed else 0
    time = b"" if version == 1 else bytes(8)
    tree = b"".join(
        entry + time
        for entry in (
            struct.pack(">IHII", 0, 2, 2, 1),  # root: entries 1 and 2
            struct.pack(">IHII", name_offsets[0], 2, 1, 3),  # photos: entry 3
            struct.pack(">IHHHI", name_offsets[2], flag, 0, 1, offsets[1]),
            struct.pack(">IHHHI", name_offsets[1], flag, 0, 1, offsets[0]),
        )
    )
    start = 20 if version < 3 else 24
    header = struct.pack(
        ">4sIIII", b"qres", version, start, start + len(tree), start + len(tree) + len(data)
    )
    return header + (b"" if version < 3 else bytes(4)) + tree + data + names


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("compressed", [False, True])
def test_members(version, compressed):
    members = read_members(make_resource(version, compressed))
    assert {path: bytes(content) for path, content in members.items()} == {
        "photos/a.txt": b"first file",
        "b.txt": b"second",
    }


def test_other_files_are_refused():
    for content in (b"", b"PK\3\4" + bytes(40), make_resource()[:30]):
        with pytest.raises(ResourceError):
            read_members(content)


def test_damaged_resources_never_escape_as_other_errors():
    good = make_resource(compressed=True)
    generator = random.Random(0)
    for _ in range(2000):
        damaged = bytearray(good)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        with contextlib.suppress(ResourceError):
            read_members(bytes(damaged[: generator.randrange(len(damaged)) or None]))
