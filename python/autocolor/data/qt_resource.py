"""Read Qt resource files (``.rcc``), in which some of the training photos are packed."""

from __future__ import annotations

import struct
import zlib

from autocolor.core.errors import AutocolorError

_HEADER = struct.Struct(">4sIIII")
_DIRECTORY_ENTRY = struct.Struct(">IHII")
_FILE_ENTRY = struct.Struct(">IHHHI")
_ZLIB, _DIRECTORY, _ZSTANDARD = 1, 2, 4
# A few bytes may name or inflate to a lot, and entries may share them.
_LARGEST_MEMBER = 256 * 2**20
_LARGEST_TOTAL = 4 * _LARGEST_MEMBER
_LONGEST_PATH = 4096


class ResourceError(AutocolorError):
    """The bytes are not a Qt resource file this module can read."""


def read_members(resource: bytes) -> dict[str, memoryview | bytes]:
    """List the files of a Qt resource.

    Parameters
    ----------
    resource : bytes
        Content of an ``.rcc`` file, format version 1, 2 or 3.

    Returns
    -------
    dict
        Path inside the resource, such as ``photos/cat.webp``, to content.

    Raises
    ------
    ResourceError
        If the content is truncated, inconsistent, compressed with Zstandard, or inflates to more
        than a gibibyte.
    """
    try:
        magic, version, tree, data, names = _HEADER.unpack_from(resource)
    except struct.error:
        raise ResourceError(f"expected a Qt resource header, got {len(resource)} bytes") from None
    if magic != b"qres" or version not in (1, 2, 3):
        raise ResourceError(
            f"expected 'qres' of version 1 to 3, got {magic!r} of version {version}"
        )
    entry_size = 14 if version == 1 else 22
    members: dict[str, memoryview | bytes] = {}
    pending = [(0, "")]  # (entry, path of its parent)
    listed = {0}
    total = 0
    try:
        while pending:
            index, parent = pending.pop()
            at = tree + index * entry_size
            name_offset, flags, *_ = _DIRECTORY_ENTRY.unpack_from(resource, at)
            name = "" if index == 0 else _name(resource, names + name_offset)
            path = f"{parent}/{name}" if parent else name
            if len(path) > _LONGEST_PATH:
                raise ResourceError(f"entry {index} has a path of over {_LONGEST_PATH} characters")
            if flags & _DIRECTORY:
                _, _, count, first = _DIRECTORY_ENTRY.unpack_from(resource, at)
                if (first + count) * entry_size > len(resource):
                    raise ResourceError(f"folder {path!r} lists {count} entries past the end")
                for child in range(first, first + count):
                    if child in listed:
                        raise ResourceError(f"entry {child} is listed twice")
                    listed.add(child)
                    pending.append((child, path))
            else:
                *_, offset = _FILE_ENTRY.unpack_from(resource, at)
                members[path] = content = _content(resource, data + offset, flags, path)
                total += len(content)
                if total > _LARGEST_TOTAL:
                    raise ResourceError(f"inflates to more than {_LARGEST_TOTAL} bytes")
    except struct.error as error:
        raise ResourceError(f"truncated: {error}") from None
    return members


def _name(resource: bytes, at: int) -> str:
    (length,) = struct.unpack_from(">H", resource, at)
    start = at + 6  # a hash of four bytes follows the length
    if start + 2 * length > len(resource):
        raise ResourceError(f"name at byte {at} runs past the end")
    return resource[start : start + 2 * length].decode("utf-16-be", "replace")


def _content(resource: bytes, at: int, flags: int, path: str) -> memoryview | bytes:
    (size,) = struct.unpack_from(">I", resource, at)
    if at + 4 + size > len(resource):
        raise ResourceError(f"{path}: {size} bytes run past the end")
    content = memoryview(resource)[at + 4 : at + 4 + size]
    if flags & _ZSTANDARD:
        raise ResourceError(f"{path}: compressed with Zstandard, which is not supported")
    if not flags & _ZLIB:
        return content
    inflate = zlib.decompressobj()
    try:  # Qt puts the inflated size, four bytes, in front
        inflated = inflate.decompress(content[4:], _LARGEST_MEMBER)
    except zlib.error as error:
        raise ResourceError(f"{path}: {error}") from None
    if inflate.unconsumed_tail:
        raise ResourceError(f"{path}: inflates to more than {_LARGEST_MEMBER} bytes")
    return inflated
