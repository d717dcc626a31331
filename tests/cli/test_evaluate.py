"""tools/evaluate.py, end to end with real Caffe and a tiny model."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from autocolor.baselines.registry import BASELINES, SCENE_BASELINES
from autocolor.nets.vgg16 import vgg16_gray_features
from autocolor.runtime.caffe_runtime import import_caffe
from helpers.programs import PATIENCE, run_main, run_tool, tool_command, wait_until

pytestmark = pytest.mark.slow

run = partial(run_tool, "tools/evaluate.py", status=None)


def test_report(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = run("--model", model_folder, "--photos", photo_folder, "--out", out, "--gallery", "2")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["images"] == 3
    assert "weights.caffemodel" in metrics["methods"]["tiny"]["sha256"]
    for method in metrics["methods"].values():
        scores = method["scores"]
        assert 0 < scores["rmse"] < 3 and 5 < scores["psnr"] < 60 and 0 < scores["auc"] < 1
        assert method["intervals"]["psnr"]["low"] <= scores["psnr"]
        assert f"{scores['psnr']:.2f} [" in done.stdout
    assert len((out / "metrics.csv").read_text().splitlines()) == 1 + 2 * 3
    for name in ("gallery.png", "worst.png", "errors.png", "psnr.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert "Worst RMSE of tiny" in (out / "metrics.md").read_text()


def test_parts_processes_and_several_models(
    model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    """A published list with classes, scored in parts by two processes: the numbers of one pass."""
    other = tmp_path / "other"
    shutil.copytree(model_folder, other)
    manifest = json.loads((other / "model.json").read_text())
    manifest |= {"name": "faint", "strength": 0.3}
    (other / "model.json").write_text(json.dumps(manifest))
    same = run("--model", other, "--model", other, "--photos", photo_folder, "--out", tmp_path)
    assert same.returncode == 2
    assert "two are called 'faint'; name them, --model NAME=FOLDER" in same.stderr
    listed = tmp_path / "list.txt"
    listed.write_text("/coffee.png 5\n/none.png 6\n/astronaut.png 7\n/chelsea.jpg 8\n")
    common = (
        "--model",
        model_folder,
        "--model",
        f"pale={other}",
        "--photos",
        listed,
        "--root",
        photo_folder,
        "--side",
        "50",
        "--side-of",
        "smaller",
        "--round",
        "--paper-only",
    )
    whole, parts, merged = (tmp_path / name for name in ("whole", "parts", "merged"))
    assert run(*common, "--out", whole).returncode == 0
    for number, processes in ((1, "2"), (2, "1")):
        options = ("--part", f"{number}/2", "--processes", processes)
        done = run(*common, "--out", parts, *options)
        assert done.returncode == 0, done.stderr
        assert "is complete; --merge all 2 parts" in done.stdout
    files = sorted(parts.iterdir())
    assert [file.name for file in files] == ["part_1_of_2.jsonl", "part_2_of_2.jsonl"]
    done = run("--merge", *files, "--out", merged)
    assert done.returncode == 0, done.stderr
    assert "1 skipped, see metrics.md" in done.stdout
    for name in ("metrics.json", "metrics.csv", "metrics.md"):
        assert (merged / name).read_text() == (whole / name).read_text()
    assert not (merged / "gallery.png").exists()
    metrics = json.loads((merged / "metrics.json").read_text())
    assert list(metrics["methods"]) == ["no colorization", "tiny", "pale"]
    assert metrics["methods"]["pale"]["strength"] == 0.3
    assert metrics["protocol"]["resolution"] == "smaller side reduced to 50 pixels"
    assert metrics["protocol"]["prediction"] == "rounded to 8 bit"
    with (merged / "metrics.csv").open(encoding="utf-8") as file:
        assert [row["class"] for row in csv.DictReader(file)][::3] == ["5", "7", "8"]
    models = ("--model", model_folder, "--model", f"pale={other}")
    done = run("--merge", *files, *models, "--out", merged)
    assert done.returncode == 0, done.stderr
    assert (merged / "gallery.png").read_bytes() == (whole / "gallery.png").read_bytes()


def test_killed_and_run_again(model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(60):
        (photos / f"{number:02}.png").symlink_to(photo_folder / "coffee.png")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    common = (
        "--model",
        model_folder,
        "--photos",
        photos,
        "--gallery",
        "0",
        "--worst",
        "0",
        "--paper-only",
    )
    assert run(*common, "--out", whole).returncode == 0
    part = cut / "part_1_of_1.jsonl"
    command = tool_command("tools/evaluate.py", *common, "--out", cut)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: part.exists() and part.read_bytes().count(b"\n") >= 4, process, 0.01)
        process.send_signal(signal.SIGKILL)
    kept = part.read_bytes()
    assert 4 <= kept.count(b"\n") < 61
    assert not (cut / "metrics.json").exists()
    assert run(*common, "--out", cut).returncode == 0
    assert part.read_bytes() == (whole / part.name).read_bytes()
    assert part.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert (cut / "metrics.json").read_text() == (whole / "metrics.json").read_text()
    # Other options are refused, unless the earlier results may go.
    done = run(*common, "--out", cut, "--round")
    assert done.returncode == 1 and "holds results of another evaluation: protocol" in done.stderr
    assert run(*common, "--out", cut, "--round", "--force").returncode == 0


def test_example_in_help() -> None:
    assert "examples:" in run_main("tools/evaluate.py", "--help").stdout


@pytest.mark.parametrize(
    ("model", "photos", "message"),
    [
        ("none", "{photos}", "none: no such model folder"),
        ("{model}", "none", "none: no such folder or file"),
        ("{model}", "{empty}", "expected photos, got none"),
    ],
)
def test_wrong_folders(
    model: str, photos: str, message: str, model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    folders = {"model": model_folder, "photos": photo_folder, "empty": tmp_path}
    out = tmp_path / "out"
    given = ("--model", model.format(**folders), "--photos", photos.format(**folders))
    done = run_main("tools/evaluate.py", *given, "--out", out, status=1)
    assert done.stderr.splitlines()[-1].startswith("evaluate: error: ")
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_model_that_cannot_be_loaded(
    processes: str, model_folder: Path, photo_folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model_folder, broken)
    (broken / "weights.caffemodel").write_text("no weights")
    options = ("--out", tmp_path / "out", "--processes", processes)
    done = run("--model", broken, "--photos", photo_folder, *options)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("evaluate: error: ")
    assert "weights.caffemodel" in done.stderr.splitlines()[-1]


def test_the_shipped_model_is_the_default(photo_folder: Path, tmp_path: Path) -> None:
    options = ("--photos", photo_folder, "--side", "48", "--paper-only", "--gallery", "1")
    done = run(*options, "--out", tmp_path / "default")
    assert done.returncode == 0, done.stderr
    assert "| autocolor |" in done.stdout
    named = run(*options, "--out", tmp_path / "named", "--model", "ours=shipped")
    assert (
        named.stdout.replace("ours", "autocolor").split("report")[0]
        == done.stdout.split("report")[0]
    )


@pytest.mark.parametrize("processes", ["1", "2"])
def test_control_c(processes: str, model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(400):
        (photos / f"{number:03}.png").symlink_to(photo_folder / "coffee.png")
    out = tmp_path / "out"
    command = tool_command(
        "tools/evaluate.py",
        "--model",
        model_folder,
        "--photos",
        photos,
        "--out",
        out,
        "--processes",
        processes,
        "--paper-only",
    )
    part = out / "part_1_of_1.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        wait_until(lambda: part.exists() and part.read_bytes().count(b"\n") >= 4, process, 0.01)
        os.killpg(process.pid, signal.SIGINT)  # the whole group, as a terminal does
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "evaluate: stopped; the same command goes on from here"
    assert "Traceback" not in errors


def test_every_baseline(photo_folder: Path, tmp_path: Path) -> None:
    """All that there are learn in spite of bad references, with bars, and go on where a run was cut off."""
    references = tmp_path / "references"
    shutil.copytree(photo_folder, references)
    (references / "broken.jpg").write_bytes(b"no photo")
    Image.new("RGB", (40, 50), (90, 90, 90)).save(references / "grey.png")
    caffe = import_caffe()
    (tmp_path / "net.prototxt").write_text(str(vgg16_gray_features()))
    caffe.set_random_seed(0)
    caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST).save(str(tmp_path / "vgg.caffemodel"))
    names = (*BASELINES, *SCENE_BASELINES)
    common = (
        *(word for name in names for word in ("--baseline", name)),
        "--references",
        references,
        "--photos",
        photo_folder,
        "--side",
        "48",
        "--paper-only",
        *("--gallery", "0", "--worst", "0"),
        "--weights",
        tmp_path / "vgg.caffemodel",
        "--out",
        tmp_path / "out",
    )
    done = run(*common)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "out" / "metrics.json").read_text()
    methods = json.loads(written)["methods"]
    assert list(methods) == ["no colorization", *names]
    assert [methods[name]["baseline"] for name in names] == list(names)
    learning = ("mean colour", "describing references", "features of references", "caffe train")
    for bar in (*learning, "fitting descriptors", "features", "learning"):
        assert f"{bar}: 100%" in done.stderr
    # Without the last photo, as if it had been cut off: that one is scored, and nothing is learnt that is kept.
    part = tmp_path / "out" / "part_1_of_1.jsonl"
    scored = part.read_bytes()
    part.write_bytes(b"".join(scored.splitlines(keepends=True)[:-1]))
    again = run(*common)
    assert again.returncode == 0, again.stderr
    assert part.read_bytes() == scored
    assert (tmp_path / "out" / "metrics.json").read_text() == written
    for bar in ("caffe train", "fitting descriptors", "learning"):
        assert bar not in again.stderr


def test_baselines_that_lack_something(photo_folder: Path, tmp_path: Path) -> None:
    photos = ("--photos", photo_folder, "--out", tmp_path)
    refused = run("--baseline", "mean", *photos)
    assert refused.returncode == 2
    assert "--baseline: expected --references" in refused.stderr
    weights = tmp_path / "none.caffemodel"
    missing = run(
        "--baseline", "cheng", "--references", photo_folder, "--weights", weights, *photos
    )
    assert missing.returncode == 1
    assert "none.caffemodel" in missing.stderr.splitlines()[-1]


def test_methods_that_know_the_scene(photo_folder: Path, tmp_path: Path) -> None:
    """A photo whose folder is no class is skipped; references that cannot be read or are gone end nothing."""
    for name in ("animal", "still", "other"):
        (tmp_path / name).mkdir()
    for name, photo in (
        ("animal", "chelsea.jpg"),
        ("still", "coffee.png"),
        ("other", "coffee.png"),
    ):
        shutil.copy(photo_folder / photo, tmp_path / name / photo)
    (tmp_path / "animal" / "broken.jpg").write_bytes(b"no photo")
    (tmp_path / "references.txt").write_text(
        "animal/broken.jpg\nanimal/gone.jpg\nanimal/chelsea.jpg\nstill/coffee.png\n"
    )
    (tmp_path / "photos.txt").write_text("other/coffee.png\nanimal/chelsea.jpg\n")
    common = (
        "--baseline",
        "deshpande+scene",
        "--baseline",
        "deshpande (C)",
        "--baseline",
        "deshpande (Q)",
        "--references",
        tmp_path / "references.txt",
        "--photos",
        tmp_path / "photos.txt",
        "--side",
        "48",
        "--paper-only",
        "--out",
        tmp_path / "out",
    )
    done = run(*common)
    assert done.returncode == 0, done.stderr
    assert "learning: 100%" in done.stderr
    content = (tmp_path / "out" / "metrics.json").read_text()
    metrics = json.loads(content)
    assert metrics["images"] == 1
    assert "expected a photo in a folder called animal, still, got 'other'" in content
    scores = {name: found["scores"]["rmse"] for name, found in metrics["methods"].items()}
    assert scores["deshpande (Q)"] < scores["no colorization"]
    again = run(*common)
    assert again.returncode == 0 and "learning" not in again.stderr
