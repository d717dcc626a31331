"""Laying the layers over a Caffe tree and taking them away, on a tiny tree."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path

import pytest

from autocolor.core.files import atomic_path
from caffe_overlay import PROTO, RECORD, apply_plan, plan_overlay
from caffe_source import CaffeSourceError

CAFFE_PROTO = """syntax = "proto2";
package caffe;

message LayerParameter {
  optional string name = 1; // the layer's name
  optional ClipParameter clip_param = 148;
}

message ClipParameter {
  required float min = 1;
}
"""
TREE = {
    PROTO: CAFFE_PROTO,
    "include/caffe/layers/loss_layer.hpp": "// loss\n",
    "src/caffe/layers/clip_layer.cpp": "// clip\n",
}
LAYERS = {
    "include/caffe/layers/mine_layer.hpp": "// mine\n",
    "include/caffe/mine/mine.cuh": "// in a folder that Caffe has not\n",
    "src/caffe/layers/mine_layer.cpp": "// mine, 1\n",
    "src/caffe/layers/mine_layer.cu": "// mine, CUDA\n",
    "proto/fields.proto": "  optional MineParameter mine_param = 7100;\n",
    "proto/messages.proto": "message MineParameter {\n  optional bool a = 1;\n}\n",
    "compat/compat.hpp": "// not to be copied\n",
    "README.md": "not to be copied\n",
}
SOURCE = "src/caffe/layers/mine_layer.cpp"
INSTALLED = {name for name in LAYERS if name.startswith(("include/", "src/"))}


def fill(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def state(root):
    """Everything in a tree: kind, content, permissions and time of change."""
    return {
        str(path.relative_to(root)): (
            None if path.is_dir() else (path.read_bytes(), path.stat().st_mtime_ns),
            path.stat().st_mode,
        )
        for path in root.rglob("*")
    }


def contents(root):
    return {name: (file and file[0], mode) for name, (file, mode) in state(root).items()}


def files(root):
    return {name for name, (file, _) in state(root).items() if file}


def run(root, layers, **options):
    plan = plan_overlay(root, layers, **options)
    apply_plan(root, plan)
    return [(change.action, change.path) for change in plan.changes]


def refused(root, layers, words, **options):
    """Check that planning fails with these words, and leaves everything as it is."""
    before = state(root)
    with pytest.raises((CaffeSourceError, OSError), match=re.escape(words)):
        plan_overlay(root, layers, **options)
    assert state(root) == before


@pytest.fixture
def root(tmp_path):
    return fill(tmp_path / "my caffe", TREE)


@pytest.fixture
def layers(tmp_path):
    return fill(tmp_path / "layers", LAYERS)


def test_installation(root, layers):
    assert run(root, layers) == [
        *(("copy", name) for name in sorted(INSTALLED)),
        ("insert", PROTO),
    ]
    for name in INSTALLED:
        assert (root / name).read_text() == LAYERS[name]
    assert files(root) == {*TREE, *INSTALLED, RECORD}
    proto = (root / PROTO).read_text()
    assert proto.index("message LayerParameter") < proto.index("mine_param = 7100")
    assert proto.index("mine_param = 7100") < proto.index("string name = 1")
    assert proto.index("message ClipParameter") < proto.index("message MineParameter")


def test_a_second_run_changes_nothing(root, layers):
    run(root, layers)
    before = state(root)
    assert run(root, layers) == []
    assert state(root) == before


def test_uninstallation_restores_every_byte(root, layers):
    (root / PROTO).chmod(0o640)
    before = contents(root)
    run(root, layers)
    actions = run(root, layers, remove=True)
    assert actions == [*(("remove", name) for name in sorted(INSTALLED)), ("restore", PROTO)]
    assert contents(root) == before
    assert run(root, layers, remove=True) == []
    assert contents(root) == before


@pytest.mark.parametrize("remove", [False, True])
def test_planning_alone_changes_nothing(remove, root, layers):
    if remove:
        run(root, layers)
    before = state(root)
    assert plan_overlay(root, layers, remove=remove).changes
    assert state(root) == before


def test_an_older_installation_is_updated(root, layers):
    before = contents(root)
    run(root, layers)
    # A new version: a file changes, one comes, one goes, and the proto changes.
    fill(
        layers,
        {
            SOURCE: "// mine, 2\n",
            "src/caffe/layers/new_layer.cpp": "// new\n",
            "proto/fields.proto": LAYERS["proto/fields.proto"] + "  optional bool new = 7101;\n",
            "proto/messages.proto": "message MineParameter {\n}\n",
        },
    )
    (layers / "src/caffe/layers/mine_layer.cu").unlink()
    assert run(root, layers) == [
        ("update", SOURCE),
        ("remove", "src/caffe/layers/mine_layer.cu"),
        ("copy", "src/caffe/layers/new_layer.cpp"),
        ("update", PROTO),
    ]
    proto = (root / PROTO).read_text()
    assert proto.count("mine_param") == proto.count("new = 7101") == 1
    assert "optional bool a" not in proto
    assert run(root, layers) == []
    run(root, layers, remove=True)
    assert contents(root) == before


def test_the_users_own_changes_of_the_proto_survive(root, layers):
    run(root, layers)
    for old, new in (
        ("// the layer's name", "// what it is called"),
        ("<<< autocolor\n", "<<< autocolor\nmessage Theirs {\n}\n"),
    ):
        head, _, tail = (root / PROTO).read_text().rpartition(old)
        (root / PROTO).write_text(head + new + tail)
    assert run(root, layers) == []
    run(root, layers, remove=True)
    expected = CAFFE_PROTO.replace("the layer's name", "what it is called")
    assert (root / PROTO).read_text() == expected + "message Theirs {\n}\n"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["\n", ""])
def test_line_endings_and_foreign_bytes_are_kept(ending, last, root, layers):
    original = CAFFE_PROTO.rstrip() + last
    original = original.replace("\n", ending).encode() + b"// \xe9 in Latin-1" + last.encode()
    (root / PROTO).write_bytes(original)
    run(root, layers)
    proto = (root / PROTO).read_bytes()
    assert proto.count(b"\r\n") == (proto.count(b"\n") - last.count("\n") if "\r" in ending else 0)
    assert b"mine_param = 7100;" + ending.encode() in proto
    assert run(root, layers) == []
    run(root, layers, remove=True)
    assert (root / PROTO).read_bytes() == original


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        ("optional Theirs theirs = 7100;", "id 7100 of mine_param is taken by 'optional Theirs"),
        ("optional Theirs mine_param = 9;", "name mine_param is taken by 'optional Theirs"),
        ("enum MineParameter { A = 0; }", "enum MineParameter is defined already"),
    ],
)
def test_taken_names_and_ids_are_refused(addition, words, root, layers):
    text = CAFFE_PROTO.replace("clip_param = 148;", "clip_param = 148;\n" + addition)
    (root / PROTO).write_text(text)
    refused(root, layers, words)


def test_a_taken_message_is_refused(root, layers):
    (root / PROTO).write_text(CAFFE_PROTO + "message MineParameter {\n}\n")
    refused(root, layers, "message MineParameter is defined already")


def test_a_foreign_file_is_refused_and_never_removed(root, layers):
    (root / SOURCE).write_text("// theirs\n")
    refused(root, layers, f"{SOURCE}: exists and is not autocolor's")
    before = contents(root)
    assert run(root, layers, remove=True) == []
    assert contents(root) == before


@pytest.mark.parametrize("remove", [False, True])
def test_a_changed_file_is_protected(remove, root, layers):
    run(root, layers)
    (root / SOURCE).write_text("// tuned by the user\n")
    refused(root, layers, f"{SOURCE}: changed since the installation", remove=remove)
    # What the message says to do:
    (root / SOURCE).unlink()
    assert (("copy", SOURCE) in run(root, layers, remove=remove)) != remove


@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("optional bool a = 1", "optional bool b = 1"),
        ("  // <<< autocolor", ""),
        ("// >>> autocolor", "//"),
    ],
)
def test_changed_lines_of_the_proto_are_protected(old, new, remove, root, layers):
    run(root, layers)
    (root / PROTO).write_text((root / PROTO).read_text().replace(old, new, 1))
    refused(root, layers, f"{PROTO}: the lines from '// >>> autocolor'", remove=remove)
    (root / PROTO).write_text(CAFFE_PROTO)
    assert (("insert", PROTO) in run(root, layers, remove=remove)) != remove


@pytest.mark.parametrize("missing", [PROTO, "include/caffe/layers/loss_layer.hpp"])
def test_another_tree_is_refused(missing, root, layers):
    (root / missing).unlink()
    refused(root, layers, f"expected a Caffe source tree, found no {missing}")


def test_a_folder_without_write_permission_is_refused(root, layers, monkeypatch):
    # Tests may run as root, whom the system refuses nothing.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != root / "src/caffe/layers")
    refused(root, layers, f"{root}/src/caffe/layers: no permission to write")


@pytest.mark.parametrize("text", ["", "{}", '{"files": 1, "proto": [], "folders": []}', "[]"])
def test_a_broken_record_is_refused(text, root, layers):
    (root / RECORD).write_text(text)
    refused(root, layers, f"{RECORD}: expected the record of an installation")


def test_a_lost_record_is_written_again(root, layers):
    run(root, layers)
    expected = json.loads((root / RECORD).read_text())["files"]
    (root / RECORD).unlink()
    assert run(root, layers) == []
    assert json.loads((root / RECORD).read_text())["files"] == expected


class Killed(BaseException):
    """Stands for the end of the process: nothing in the program catches it."""


# A run makes at most 7 writes: the record, four files and the proto, the record again; each is a
# partial file that replaces the target. A removal has fewer.
@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize("writes", range(8))
@pytest.mark.parametrize("task", ["install", "update", "uninstall"])
def test_a_killed_run_is_repaired(task, writes, remove, root, layers, monkeypatch):
    before = contents(root)
    if task != "install":
        run(root, layers)
        messages = "message MineParameter {\n}\n"
        fill(layers, {SOURCE: "// mine, 2\n", "proto/messages.proto": messages})
    count = 0

    def killed_after_some(real):
        def function(*arguments, **options):
            nonlocal count
            count += 1
            if count > writes:
                raise Killed
            return real(*arguments, **options)

        return function

    with monkeypatch.context() as patch:
        if task == "uninstall":
            patch.setattr(Path, "unlink", killed_after_some(Path.unlink))
        else:
            patch.setattr(os, "replace", killed_after_some(os.replace))
            patch.setattr(Path, "unlink", lambda *_, **__: None)  # SIGKILL leaves partial files
        with suppress(Killed):
            run(root, layers, remove=task == "uninstall")
    assert count > 0

    # Whatever version comes next, it repairs.
    fill(layers, {SOURCE: "// mine, 3\n"})
    run(root, layers, remove=remove)
    if remove:
        assert contents(root) == before
    else:
        assert files(root) == {*TREE, *INSTALLED, RECORD}
        assert (root / SOURCE).read_text() == "// mine, 3\n"
        assert run(root, layers) == []
        run(root, layers, remove=True)
        assert contents(root) == before


def test_partial_files_of_a_killed_run_are_removed(root, layers):
    run(root, layers)
    before = contents(root)
    with atomic_path(root / SOURCE) as partial:
        partial.write_text("// mine, 1\n")
    partial.write_text("// half of")
    assert run(root, layers) == []
    assert contents(root) == before


def test_links_are_followed(root, layers, tmp_path):
    elsewhere = tmp_path / "shared.proto"
    (root / PROTO).rename(elsewhere)
    (root / PROTO).symlink_to(elsewhere)
    link = tmp_path / "link"
    link.symlink_to(root)
    before = contents(root)
    run(link, layers)
    assert "mine_param" in elsewhere.read_text()
    run(link, layers, remove=True)
    assert (root / PROTO).is_symlink()
    assert contents(root) == before


def test_a_folder_with_the_users_files_stays(root, layers):
    run(root, layers)
    (root / "include/caffe/mine/theirs.hpp").write_text("// theirs\n")
    run(root, layers, remove=True)
    assert [path.name for path in (root / "include/caffe/mine").iterdir()] == ["theirs.hpp"]


def test_the_record_names_what_was_installed(root, layers):
    run(root, layers)
    record = json.loads((root / RECORD).read_text())
    assert set(record["files"]) == INSTALLED
    assert all(re.fullmatch("[0-9a-f]{64}", sums[0]) for sums in record["files"].values())
    assert record["folders"] == ["include/caffe/mine"]
