"""The remaining command-line tools and the shell scripts."""

import hashlib
import re
from dataclasses import astuple, fields

import pytest

from autocolor.data.photos import PhotoEntry
from helpers.programs import ROOT, TOOLS, call_main, run, run_tool

SCRIPTS = [
    "tools/setup.sh",
    "tools/coverage.sh",
    "tools/demo.sh",
    "tools/docs.sh",
    "tools/fetch_caffe.sh",
    "tools/test.sh",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_explain_themselves_and_refuse_unknown_arguments(script):
    explained = run("bash", script, "--help")
    assert f"usage: {script}" in explained.stdout
    refused = run("bash", script, "--nonsense", status=2)
    assert "unknown argument '--nonsense'" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_tools_explain_themselves(tool, capsys):
    assert call_main(tool, "--help") == 0
    assert "usage:" in capsys.readouterr().out


def test_every_tool_is_tested():
    found = [
        path
        for pattern in ("tools/**/*.py", "data_prep/*.py")
        for path in ROOT.glob(pattern)
        if re.search(r"(ArgumentParser|command_parser)\(", path.read_text(encoding="utf-8"))
    ]
    assert sorted(str(path.relative_to(ROOT)) for path in found) == TOOLS


@pytest.mark.slow
def test_generate_prototxt(tmp_path):
    def generate(*arguments):
        return run_tool("tools/generate_prototxt.py", *arguments, status=None)

    assert generate("--check").returncode == 0
    stale = generate("--check", "--out", tmp_path)
    assert stale.returncode == 1
    assert "train.prototxt differs" in stale.stderr
    assert (
        generate("--out", tmp_path, "--model", "edges_data-conv3_3", "--batch", "2").returncode == 0
    )
    assert "batch_size: 2" in (tmp_path / "train.prototxt").read_text()
    example = generate(
        "--variant",
        "lab_joint",
        "--levels",
        "conv3_1..conv5_3",
        "--bins",
        "10",
        "--width",
        "0.5",
        "--out",
        tmp_path,
    )
    assert example.returncode == 0
    deploy = (tmp_path / "deploy.prototxt").read_text()
    assert "num_output: 100" in deploy
    assert "fc6" not in deploy
    for arguments, message in [
        (("--batch", "0"), "--batch: expected at least 1"),
        (("--batch", "4"), "--batch: expected --out beside it"),
        (
            ("--out", tmp_path, "--model", "edges_data-conv3_3", "--frozen"),
            "--frozen: not an option of edges_data-conv3_3",
        ),
        (("--out", tmp_path, "--levels", "fc7..data"), "levels: expected FIRST..LAST"),
        (("--out", tmp_path, "--width", "0"), "width: expected a positive number, got 0.0"),
        (
            ("--out", tmp_path, "--model", "vgg16_gray_classifier", "--crop", "200"),
            "crop: expected at least 224, got 200",
        ),
    ]:
        refused = generate(*arguments)
        assert refused.returncode == 2
        assert message in refused.stderr


@pytest.mark.slow
def test_fetch_photos_of_one_package(tmp_path):
    """From the registry, or from the cache where an earlier run left the package."""
    command = ("data_prep/fetch_photos.py", "--out", tmp_path, "--package", "palapeli-data")
    fetched = run_tool(*command)
    assert "5 photos in" in fetched.stdout
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 5
    assert "5 are there already" in run_tool(*command).stdout


@pytest.mark.slow
def test_fetch_photos_leaves_those_of_the_shipped_model_alone_unless_asked(tmp_path):
    def listed(*arguments):
        command = ("data_prep/fetch_photos.py", "--out", tmp_path, *arguments)
        fetched = run_tool(*command, "--package", "palapeli-data")
        return fetched.stdout.splitlines()[0]

    rows = ["\t".join(field.name for field in fields(PhotoEntry))]
    for split in ("train", "test", "extra"):
        digest = hashlib.sha256(split.encode()).hexdigest()
        entry = PhotoEntry(split, "apt", "palapeli-data", "a.jpg", "", "g", digest)
        (tmp_path / entry.path).parent.mkdir(parents=True)
        (tmp_path / entry.path).write_bytes(split.encode())
        rows.append("\t".join(astuple(entry)))
    (tmp_path / "list.tsv").write_text("\n".join(rows) + "\n")
    photos = ("--list", tmp_path / "list.tsv")
    assert listed(*photos) == "2 photos listed, 2 are there already"
    assert listed(*photos, "--split", "extra") == "1 photos listed, 1 are there already"
    assert listed(*photos, "--split", "train", "--split", "extra").startswith("2 photos")
    assert listed(*photos, "--split", "all") == "3 photos listed, 3 are there already"


@pytest.mark.parametrize("source", ["nowhere", "."])
def test_a_wrong_caffe_source_is_refused(source, tmp_path):
    environment = {
        "PATH": "/usr/bin:/bin",
        "CAFFE_SOURCE": source,
        "AUTOCOLOR_CACHE": str(tmp_path),
    }
    refused = run("bash", "tools/fetch_caffe.sh", env=environment, status=1)
    assert f"CAFFE_SOURCE={source}: expected a" in refused.stderr
