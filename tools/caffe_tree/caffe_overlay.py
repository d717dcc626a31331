"""Lay autocolor's layers over a Caffe source tree, and take them away again.

A file there is ours if its sha256 is in the record of the installation, or if it equals the file
that would be installed. Everything else belongs to the user and is never changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypedDict

from autocolor.core.files import atomic_path
from caffe_source import CaffeSourceError, insert_layer_parameters

RECORD = ".autocolor_installed.json"
PROTO = "src/caffe/proto/caffe.proto"

_LANDMARKS = (PROTO, "include/caffe/layers/loss_layer.hpp")
_OWN_BUILD = "onednn"  # tests of what only autocolor's own build of Caffe has
_SUFFIXES = {".cpp", ".cu", ".cuh", ".h", ".hpp"}
_BEGIN = "// >>> autocolor: inserted by install_into_caffe.py, which also removes it\n"
_END = "// <<< autocolor\n"
# The fields are indented. The messages are not, and follow an empty line that is ours too.
_BLOCK = re.compile(
    r"^  // >>> autocolor.*?^  // <<< autocolor\r?\n"
    r"|\r?\n// >>> autocolor.*?^// <<< autocolor(?:\r?\n|\Z)",
    re.DOTALL | re.MULTILINE,
)


class Record(TypedDict):
    """What an installation put there; `proto` and each of `files` list sha256 sums.

    There is one sum each, and several only while an installation is under way.
    """

    files: dict[str, list[str]]
    proto: list[str]
    folders: list[str]


class Change(NamedTuple):
    """One file to write, or to remove if there is no content; `path` is relative to the tree."""

    action: str
    path: str
    content: bytes | None


class Plan(NamedTuple):
    """Changes in their order, and the record while they are made and after them."""

    changes: list[Change]
    during: Record
    after: Record | None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_record(root: Path) -> Record:
    path = root / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            files=dict(record["files"]),
            proto=list(record["proto"]),
            folders=list(record["folders"]),
        )
    except FileNotFoundError:
        return Record(files={}, proto=[], folders=[])
    except (ValueError, KeyError, TypeError):
        raise CaffeSourceError(
            f"{path}: expected the record of an installation; delete it and install again"
        ) from None


def _plan_files(
    root: Path,
    sources: Mapping[str, bytes],
    files: Mapping[str, Sequence[str]],
    known: Mapping[str, Sequence[str]],
    remove: bool,
) -> list[Change]:
    changes, edited, foreign = [], [], []
    for path in sorted(known):
        content = None if remove else sources.get(path)
        try:
            found = _sha256((root / path).read_bytes())
        except FileNotFoundError:
            if content is not None:
                changes.append(Change("copy", path, content))
            continue
        if found not in known[path]:
            if path in files:
                edited.append(path)
            elif not remove:
                foreign.append(path)
        elif content is None:
            changes.append(Change("remove", path, None))
        elif found != _sha256(content):
            changes.append(Change("update", path, content))
    if edited:
        raise CaffeSourceError(
            f"{', '.join(edited)}: changed since the installation; "
            "move it elsewhere to keep it and run this again"
        )
    if foreign:
        raise CaffeSourceError(
            f"{', '.join(foreign)}: exists and is not autocolor's; rename it and run this again"
        )
    return changes


def _plan_proto(
    root: Path, fields: str, messages: str, known: Sequence[str], remove: bool
) -> list[Change]:
    # Bytes that are not UTF-8 and line endings have to come out as they went in.
    text = (root / PROTO).read_bytes().decode("utf-8", "surrogateescape")
    block = "".join(match[0] for match in _BLOCK.finditer(text)).replace("\r", "")
    base = _BLOCK.sub("", text)
    if (block and _sha256(block.encode("utf-8", "surrogateescape")) not in known) or re.search(
        "// (>>>|<<<) autocolor", base
    ):
        raise CaffeSourceError(
            f"{PROTO}: the lines from '// >>> autocolor' to '// <<< autocolor' were changed since "
            "the installation; delete both blocks with their marks and run this again"
        )
    target = base if remove else insert_layer_parameters(base, fields, messages)
    # Up to date is also a block below which the user has added lines.
    if target == text or (not remove and block == f"{fields}\n{messages}"):
        return []
    action = "restore" if remove else "update" if block else "insert"
    return [Change(action, PROTO, target.encode("utf-8", "surrogateescape"))]


def plan_overlay(root: Path, layers: Path, *, remove: bool = False) -> Plan:
    """Check a Caffe tree and plan what to change in it, or to `remove`; nothing is changed yet.

    Of `layers`, a folder like ``caffe_layers``, ``include`` and ``src`` are copied but for folders named
    ``onednn``, ``proto/fields.proto`` and ``proto/messages.proto`` inserted into ``caffe.proto``. Without
    changes in the plan, the tree is up to date. A CaffeSourceError says that `root` is not a Caffe tree, a
    file is in the way, one of our files or our lines was changed since, or a name or id is taken.
    """
    for landmark in _LANDMARKS:
        if not (root / landmark).is_file():
            raise CaffeSourceError(f"{root}: expected a Caffe source tree, found no {landmark}")
    record = _read_record(root)
    sources = {
        path.relative_to(layers).as_posix(): path.read_bytes()
        for folder in ("include", "src")
        for path in (layers / folder).rglob("*")
        if path.suffix in _SUFFIXES
        and not path.name.startswith(".")
        and path.parent.name != _OWN_BUILD
    }
    files = {path: [_sha256(content)] for path, content in sources.items()}
    known = {
        path: sorted({*record["files"].get(path, ()), *files.get(path, ())})
        for path in {**record["files"], **files}
    }
    fields, messages = (
        (layers / "proto" / name).read_text(encoding="utf-8")
        for name in ("fields.proto", "messages.proto")
    )
    fields, messages = f"  {_BEGIN}{fields}  {_END}", f"{_BEGIN}{messages}{_END}"
    proto = [_sha256(f"{fields}\n{messages}".encode())]
    known_proto = sorted({*record["proto"], *proto})

    changes = _plan_files(root, sources, record["files"], known, remove)
    folders = sorted(
        {
            *record["folders"],
            *(
                str(folder)
                for change in changes
                for folder in PurePosixPath(change.path).parents
                if not (root / folder).exists()
            ),
        }
    )
    # caffe.proto comes last: a kill before it leaves a Caffe that says what is missing.
    changes += _plan_proto(root, fields, messages, known_proto, remove)
    for path in [RECORD, *(change.path for change in changes)] if changes else []:
        folder = (root / path).resolve().parent
        while not folder.exists():
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder}: no permission to write")
    after = None if remove else Record(files=files, proto=proto, folders=folders)
    return Plan(changes, Record(files=known, proto=known_proto, folders=folders), after)


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; links and permissions of the one there are kept."""
    path = path.resolve()
    exists = path.exists()
    if exists and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_bytes(content)
        if exists:
            shutil.copymode(path, partial)


def apply_plan(root: Path, plan: Plan) -> None:
    """Change the tree as planned.

    The record goes first, with the sums of the old and the new files: after a kill at any moment
    a second run knows which files are ours, and finishes.
    """
    for name in (*plan.during["files"], PROTO, RECORD):
        # A killed run may have left the partial file of `atomic_path`, which Caffe would compile.
        path = (root / name).resolve()
        for partial in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
            partial.unlink()
    if plan.changes:
        _write(root / RECORD, _to_json(plan.during))
    for change in plan.changes:
        if change.content is None:
            (root / change.path).unlink()
        else:
            _write(root / change.path, change.content)
    if plan.after is not None:
        _write(root / RECORD, _to_json(plan.after))
        return
    for folder in reversed(plan.during["folders"]):
        with suppress(OSError):  # the user has put files there
            (root / folder).rmdir()
    (root / RECORD).unlink(missing_ok=True)


def _to_json(record: Record) -> bytes:
    return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()
