"""The tools of data_prep/ on small trees of ImageNet's and SUN's shape, run as a user runs them."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import caffe
import numpy as np
import pytest

from autocolor.data.lmdb_io import decode_datum, read_datums
from autocolor.data.photo_lists import read_photo_list
from helpers.photo_tree import SYNSETS, small_photo, write_odd_files, write_tree
from helpers.programs import (
    PATIENCE,
    ROOT,
    run_main,
    run_tool,
    tool_command,
    wait_until,
    wait_until_gone,
)

pytestmark = pytest.mark.slow

SMALL = ("--side", 48, "--minimum-side", 32)
# People supply their own copy; beside the repository unless the variable says where.
PUBLISHED = Path(os.environ.get("AUTOCOLOR_BENCHMARK_LISTS", ROOT.parent / "shared" / "data"))


def records(path):
    return [(key, datum.SerializeToString()) for key, datum in read_datums(path)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """450 photos in folders of three classes."""
    folder = tmp_path_factory.mktemp("tree") / "train"
    write_tree(folder, 450)
    return folder


@pytest.fixture(scope="module")
def whole(tree, tmp_path_factory):
    """The LMDB that one run with one process makes of them."""
    path = tmp_path_factory.mktemp("whole") / "lmdb"
    run_tool(
        "data_prep/build_lmdb.py",
        "--photos",
        tree,
        "--labels",
        *SMALL,
        "--processes",
        1,
        "--out",
        path,
    )
    return path


def test_odd_files_and_names(tmp_path):
    good, bad = write_odd_files(tmp_path / "train")
    ran = run_tool(
        "data_prep/build_lmdb.py",
        "--photos",
        tmp_path / "train",
        "--labels",
        *SMALL,
        "--out",
        tmp_path / "lmdb",
        "--seed",
        5,
    )
    assert f"{len(good)} photos, {len(bad)} skipped" in ran.stdout
    skipped = {}
    for line in (tmp_path / "lmdb.skipped.tsv").read_text().splitlines():
        path, reason = line.split("\t")
        skipped[Path(path)] = reason
    assert set(skipped) == set(bad)
    for path, reason in bad.items():
        assert reason in skipped[path]
    listed = read_photo_list(tmp_path / "lmdb.txt")
    assert {path for path, _ in listed} == good | set(bad)
    for path, label in listed:
        assert label == SYNSETS.index(path.parent.name)
    assert (tmp_path / "lmdb.classes.txt").read_text().splitlines() == list(SYNSETS)
    datums = dict(read_datums(tmp_path / "lmdb"))
    assert len(datums) == len(good)
    for datum in datums.values():
        image = decode_datum(datum)
        assert min(image.shape[:2]) == 48
        assert np.ptp(image.astype(int), axis=2).max() > 20  # in colour
    # From the list that it wrote, in the same order: the same LMDB.
    run_tool(
        "data_prep/build_lmdb.py",
        "--photos",
        tmp_path / "lmdb.txt",
        "--labels",
        *SMALL,
        "--out",
        tmp_path / "again",
        "--seed",
        5,
    )
    assert (tmp_path / "again/data.mdb").read_bytes() == (tmp_path / "lmdb/data.mdb").read_bytes()


def test_a_classifier_may_have_grey_photos(tmp_path):
    good, _ = write_odd_files(tmp_path / "train")
    run_tool(
        "data_prep/build_lmdb.py",
        "--photos",
        tmp_path / "train",
        "--labels",
        "--keep-grey",
        *SMALL,
        "--out",
        tmp_path / "lmdb",
    )
    assert len(records(tmp_path / "lmdb")) == len(good) + 2
    assert "grey" not in (tmp_path / "lmdb.skipped.tsv").read_text()


def test_views(photo_folder, tmp_path):
    command = ("data_prep/build_lmdb.py", "--photos", photo_folder, "--views", 12, *SMALL)
    run_tool(*command, "--out", tmp_path / "lmdb")
    found = list(read_datums(tmp_path / "lmdb"))
    names = [key.partition("_")[2] for key, _ in found]
    # All photos once, then all again, in another order.
    passes = [names[start : start + 3] for start in range(0, 36, 3)]
    assert all(sorted(names) == sorted(passes[0]) for names in passes)
    assert len(set(map(tuple, passes))) > 2
    sides = {min(datum.height, datum.width) for _, datum in found}
    assert min(sides) >= 32 and max(sides) <= 48 and len(sides) > 8
    other = tmp_path / "undamaged"
    run_tool(*command, "--undamaged", "--out", other)
    same = [a == b for a, b in zip(records(tmp_path / "lmdb"), records(other), strict=True)]
    assert 10 < sum(same) < 34
    error = run_main(
        "data_prep/build_lmdb.py", "--photos", photo_folder, "--undamaged", "--out", other, status=2
    ).stderr
    assert "--undamaged: expected --views" in error


def test_labels_that_are_missing_are_named(tree, tmp_path):
    (tmp_path / "list.txt").write_text(f"{next(tree.rglob('*.JPEG'))}\n")
    for photos, status, message in [
        (tmp_path / "list.txt", 2, "--labels: expected a class behind"),
        (tree / SYNSETS[0], 1, "expected it in the folder of a class"),
    ]:
        refused = run_main(
            "data_prep/build_lmdb.py",
            "--photos",
            photos,
            "--labels",
            "--out",
            tmp_path / "lmdb",
            status=status,
        )
        assert message in refused.stderr.splitlines()[-1]
    run_tool(
        "data_prep/build_lmdb.py",
        "--photos",
        tmp_path / "list.txt",
        *SMALL,
        "--out",
        tmp_path / "lmdb",
    )
    assert [datum.label for _, datum in read_datums(tmp_path / "lmdb")] == [0]


def test_shards_are_the_whole_and_caffe_reads_them_as_one_batch(tree, whole, tmp_path):
    options = ("--photos", tree, "--labels", *SMALL, "--shards", 3, "--out", tmp_path / "lmdb")
    run_tool("data_prep/build_lmdb.py", *options, "--only-shard", 1)
    assert os.listdir(tmp_path / "lmdb") == ["shard-00001-of-00003"]
    assert "complete already" in run_tool("data_prep/build_lmdb.py", *options).stdout
    shards = sorted((tmp_path / "lmdb").iterdir())
    assert [path.name for path in shards] == [f"shard-0000{i}-of-00003" for i in range(3)]
    assert [record for shard in shards for record in records(shard)] == records(whole)
    run_tool(
        "data_prep/build_lmdb.py", *options[:-3], 1, *options[-2:], status=2
    )  # not into shards
    # As docs/data.md says: a layer a shard, and Concat.
    layer = """layer {{ name: "data{0}" type: "Data" top: "data{0}" top: "label{0}"
        transform_param {{ crop_size: 32 }}
        data_param {{ source: "{1}" backend: LMDB batch_size: 2 }} }}\n"""
    names = ("data", "label")
    net = "".join(layer.format(i, shard) for i, shard in enumerate(shards)) + "".join(
        f'layer {{ name: "{n}" type: "Concat" concat_param {{ axis: 0 }} top: "{n}" '
        + " ".join(f'bottom: "{n}{i}"' for i in range(3))
        + " }\n"
        for n in names
    )
    (tmp_path / "net.prototxt").write_text(net)
    blobs = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    blobs.forward()
    assert blobs.blobs["data"].data.shape == (6, 3, 32, 32)
    expected = [d.label for shard in shards for _, d in list(read_datums(shard))[:2]]
    assert blobs.blobs["label"].data.tolist() == expected
    assert len(set(expected)) > 1


def has_grown(data, size, done):
    return done.exists() or (data.exists() and data.stat().st_size > size)


def children_of(process):
    """Return the numbers of the processes that one has started."""
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def has_workers(process, done):
    return done.exists() or len(children_of(process)) >= 2


def test_killed_processes_leave_no_workers_and_resume(tree, whole, tmp_path):
    """SIGKILL as soon as something is stored; Ctrl-C is told in a line."""
    arguments = (
        "data_prep/build_lmdb.py",
        "--photos",
        tree,
        "--labels",
        *SMALL,
        "--processes",
        2,
        "--out",
        tmp_path / "lmdb",
    )
    left = [(signal.SIGKILL, -9), (signal.SIGINT, 130)]
    for _ in range(20):
        kind, status = left[0]
        process = subprocess.Popen(tool_command(*arguments), stderr=subprocess.PIPE, text=True)
        data = tmp_path / "lmdb.part" / "data.mdb"
        size = data.stat().st_size if data.exists() else 0
        wait_until(partial(has_grown, data, size, tmp_path / "lmdb"), step=0.005)
        # The database may be made before the workers are, and the tool may end before both are seen.
        wait_until(partial(has_workers, process, tmp_path / "lmdb"), step=0.005)
        children = children_of(process)
        process.send_signal(kind)
        _, errors = process.communicate(timeout=PATIENCE)
        if process.returncode == 0:  # it was done before the signal came
            shutil.rmtree(tmp_path / "lmdb")
            continue
        assert len(children) >= 2
        assert process.returncode == status
        if kind == signal.SIGINT:
            assert (
                errors.splitlines()[-1] == "build_lmdb: stopped; the same command goes on from here"
            )
            assert "Traceback" not in errors
        wait_until_gone(children)  # no worker outlives the tool
        left.pop(0)
        if not left:
            break
    assert not left, "the tool was done before every signal"
    run_tool(*arguments)
    assert (tmp_path / "lmdb/data.mdb").read_bytes() == (whole / "data.mdb").read_bytes()


def _complete_json(file):
    try:
        json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return True


def test_a_dask_cluster_writes_the_same_bytes(tree, whole, tmp_path):
    """With a scheduler and two workers as a user starts them; one of these is killed on the way."""
    started = []

    def start(*words):
        program = [sys.executable, "-m", "dask", *map(str, words)]
        with (tmp_path / "dask.log").open("a") as log:
            started.append(subprocess.Popen(program, cwd=tmp_path, stdout=log, stderr=log))
        return started[-1]

    try:
        start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            0,
            "--no-dashboard",
            "--scheduler-file",
            tmp_path / "scheduler.json",
        )
        workers = [
            start(
                "worker",
                "--scheduler-file",
                tmp_path / "scheduler.json",
                "--no-nanny",
                "--no-dashboard",
                "--nthreads",
                1,
            )
            for _ in range(2)
        ]
        # The scheduler writes its file in place: it is there before its text is.
        wait_until(lambda: _complete_json(tmp_path / "scheduler.json"), started[0])
        address = json.loads((tmp_path / "scheduler.json").read_text())["address"]
        building = subprocess.Popen(
            tool_command(
                "data_prep/build_lmdb.py",
                "--photos",
                os.path.relpath(tree),
                "--labels",
                *SMALL,
                "--scheduler",
                address,
                "--out",
                tmp_path / "lmdb",
            ),
            stderr=subprocess.PIPE,
            text=True,
        )
        while not (tmp_path / "lmdb.part" / "data.mdb").exists() and building.poll() is None:
            time.sleep(0.01)
        workers[0].kill()
        _, errors = building.communicate(timeout=PATIENCE)
        assert building.returncode == 0, errors[-3000:]
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
    assert (tmp_path / "lmdb/data.mdb").read_bytes() == (whole / "data.mdb").read_bytes()


def _check_full_disk(out, tree, whole, free, **options):
    """Run on a disk that is full before the end; see what is there; `free` it and go on."""
    arguments = (
        "data_prep/build_lmdb.py",
        "--photos",
        tree,
        "--labels",
        *SMALL,
        "--processes",
        2,
        "--out",
        out,
    )
    refused = run_tool(*arguments, status=1, **options)
    lines = [line for line in refused.stderr.split("\n") if line.startswith("build_lmdb: error:")]
    assert len(lines) == 1
    assert f"{out}.part: cannot be written" in lines[0]
    assert "of 450 photos are done; run again to go on from there" in lines[0]
    assert "Traceback" not in refused.stderr
    stored = records(out.with_name(out.name + ".part"))
    assert 100 <= len(stored) < 450
    assert stored == records(whole)[: len(stored)]
    free()
    run_tool(*arguments)
    assert (out / "data.mdb").read_bytes() == (whole / "data.mdb").read_bytes()
    return lines[0]


def test_a_file_that_may_not_grow(tree, whole, tmp_path):
    limit = (whole / "data.mdb").stat().st_size // 2

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    message = _check_full_disk(tmp_path / "lmdb", tree, whole, lambda: None, preexec_fn=limited)
    assert "(ulimit -f)" in message


def test_a_full_disk(tree, whole, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    size = (whole / "data.mdb").stat().st_size
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size // 2}", "tmpfs", disk],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")

    def free():
        subprocess.run(["mount", "-o", f"remount,size={2 * size}", disk], check=True)

    try:
        message = _check_full_disk(disk / "lmdb", tree, whole, free)
        assert "its disk is full" in message
    finally:
        subprocess.run(["umount", disk], check=True)


def test_commands_of_the_documentation_run(tmp_path):
    """As they stand in docs/data.md, but for the sizes of sets; Dask has a test of its own."""
    validation_tree(tmp_path / "ILSVRC2012" / "val")
    write_tree(tmp_path / "ILSVRC2012" / "train", 6)
    write_tree(tmp_path / "SUN-A", 12)
    rng = np.random.default_rng(0)
    for category in ("beach", "castle", "outdoor", "kitchen", "living_room", "bedroom"):
        (tmp_path / "SUN-6" / category).mkdir(parents=True)
        small_photo(rng).save(tmp_path / "SUN-6" / category / "1.jpg")
    for name, numbers in (("cval1k", (11,)), ("ctest10k", (12, 13))):
        lines = (
            f"n0000000{(n - 1) % 5}/ILSVRC2012_val_{n:08d}.JPEG {(n - 1) % 5}\n" for n in numbers
        )
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    for folder in ("data_prep", "tools"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    sizes = {
        "imagenet_splits.py": ["--cval-images", "5", "--ctest-images", "10"],
        "sun-a": ["--test-images", "4"],
        "sun-6": ["--test-images", "6"],
    }
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [line for line in lines if line.startswith("python") and "--scheduler" not in line]
    assert len(commands) == 5
    (tmp_path / "build").mkdir()
    for line in commands:
        words = line.split()
        for name, extra in sizes.items():
            if any(word.endswith(name) for word in words):
                words += extra
        subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True)
    assert len(records(tmp_path / "build" / "imagenet_lmdb")) == 6
    assert len(list((tmp_path / "build" / "lists").glob("*.txt"))) == 13


def test_the_measurement_of_building_runs():
    """240 generated JPEGs: a plain loop, the tool, the tool killed twice; all must agree."""
    ran = run_tool("tools/bench/lmdb_building.py", "--images", 240, "--kills", 2)
    print(ran.stdout)
    assert "ratio:" in ran.stdout
    assert "killed with" in ran.stdout
    assert ran.stdout.count(": yes\n") == 4


def validation_tree(folder):
    """Five classes of 13 photos; one of each is encoded as greyscale, one is cut short."""
    rng = np.random.default_rng(0)
    for number in range(65):
        path = folder / f"n0000000{number % 5}" / f"ILSVRC2012_val_{number + 1:08d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        small_photo(rng, (20, 16)).convert("L" if number < 5 else "RGB").save(path)
        if 5 <= number < 10:
            path.write_bytes(path.read_bytes()[:500])


def test_imagenet_splits(tmp_path):
    validation_tree(tmp_path / "val")
    arguments = ("--images", tmp_path / "val", "--cval-images", 5, "--ctest-images", 50)
    ran = run_tool("data_prep/imagenet_splits.py", *arguments, "--out", tmp_path / "lists")
    assert "5 photos; classes by photos: 5 with 1\n" in ran.stdout
    assert "50 photos; classes by photos: 5 with 10\n" in ran.stdout
    assert "10 left out" in ran.stdout
    lists = {name: (tmp_path / "lists" / f"{name}.txt") for name in ("cval1k", "ctest10k")}
    contents = {name: path.read_bytes() for name, path in lists.items()}
    for path in lists.values():
        entries = read_photo_list(path)
        assert len(set(Counter(label for _, label in entries).values())) == 1
        assert all(photo.is_file() for photo, _ in entries)
    run_main("data_prep/imagenet_splits.py", *arguments, "--out", tmp_path / "lists")
    assert {name: path.read_bytes() for name, path in lists.items()} == contents
    # build_lmdb reads them, and they serve as published lists for another copy.
    run_tool(
        "data_prep/build_lmdb.py",
        "--photos",
        lists["cval1k"],
        "--labels",
        "--side",
        16,
        "--minimum-side",
        16,
        "--out",
        tmp_path / "lmdb",
    )
    assert sorted(datum.label for _, datum in read_datums(tmp_path / "lmdb")) == [0, 1, 2, 3, 4]
    (tmp_path / "flat").mkdir()
    for path in (tmp_path / "val").rglob("*.JPEG"):
        (tmp_path / "flat" / path.name).symlink_to(path)
    ran = run_tool(
        "data_prep/imagenet_splits.py",
        "--images",
        tmp_path / "flat",
        "--published",
        *lists.values(),
        "--out",
        tmp_path / "other",
    )
    assert "a list of unknown origin" in ran.stdout
    records = [
        json.loads((tmp_path / name / "imagenet.json").read_text())["lists"]
        for name in ("lists", "other")
    ]
    for name in lists:
        assert records[0][name]["names_sha256"] == records[1][name]["names_sha256"]
    for extra, message in [
        (("--images", tmp_path / "flat"), "expected a folder a synset, or --labels"),
        (("--cval-images", 6), "cval1k: expected a multiple of the 5 classes, got 6"),
        (("--cval-images", 10), "expected 12 photos that are not greyscale, got 11 of 13"),
        (("--published", lists["cval1k"], lists["cval1k"]), "5 photos are in both lists"),
        (("--images", tmp_path / "nowhere"), "expected photos, got none"),
    ]:
        refused = run_main(
            "data_prep/imagenet_splits.py", *arguments, "--out", tmp_path / "x", *extra, status=1
        )
        assert message in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "x").exists()


def test_published_lists_of_the_authors(tmp_path):
    paths = [PUBLISHED / "cval1k.txt", PUBLISHED / "ctest10k.txt"]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"the published lists are not in {PUBLISHED} (AUTOCOLOR_BENCHMARK_LISTS)")
    for path in paths:
        for photo, _ in read_photo_list(path, tmp_path / "val"):
            photo.parent.mkdir(parents=True, exist_ok=True)
            photo.touch()
    ran = run_tool(
        "data_prep/imagenet_splits.py",
        "--images",
        tmp_path / "val",
        "--published",
        *paths,
        "--out",
        tmp_path / "lists",
    )
    assert "cval1k.txt: 1000 photos; classes by photos: 958 with 1, 21 with 2\n" in ran.stdout
    assert "ctest10k.txt: 10000 photos; classes by photos: 1 with 6, 2 with 7, " in ran.stdout
    assert "the authors' cval1k" in ran.stdout
    assert "the authors' ctest10k" in ran.stdout
    for path in paths:
        ours, theirs = (
            [(photo.name, label) for photo, label in read_photo_list(folder / path.name)]
            for folder in (tmp_path / "lists", PUBLISHED)
        )
        assert ours == theirs
    (synset, *_) = sorted((tmp_path / "val").iterdir())
    for photo in synset.iterdir():
        photo.rename(tmp_path / "val" / "n01443537" / photo.name)
    synset.rmdir()  # now every class is one less
    refused = run_main(
        "data_prep/imagenet_splits.py",
        "--images",
        tmp_path / "val",
        "--published",
        *paths,
        "--out",
        tmp_path / "lists",
        status=1,
    )
    assert "is a folder missing?" in refused.stderr


def test_sun_splits(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(30):
        path = tmp_path / "sun_a" / f"c{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small_photo(rng, (20, 16)).save(path)
    for category in ("beach", "castle", "somewhere", "kitchen", "living_room", "bedroom"):
        for number in range(4):
            path = tmp_path / "sun_6" / category / f"{category}{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            small_photo(rng, (20, 16)).save(path)
    options = (
        "--images",
        tmp_path / "sun_a",
        "--out",
        tmp_path / "lists",
        "--test-images",
        10,
        "--train-images",
        20,
    )
    run_tool("data_prep/sun_splits.py", "sun-a", *options)
    lists = sorted((tmp_path / "lists").glob("sun_a_*.txt"))
    assert len(lists) == 10
    before = [path.read_bytes() for path in lists]
    run_main("data_prep/sun_splits.py", "sun-a", *options)
    assert [path.read_bytes() for path in lists] == before
    for number in range(1, 6):
        test, train = (
            {path for path, _ in read_photo_list(tmp_path / "lists" / f"sun_a_{kind}_{number}.txt")}
            for kind in ("test", "train")
        )
        assert (len(test), len(train), len(test & train)) == (10, 20, 0)
    assert len({path.read_bytes() for path in lists}) == 10

    options = ("sun-6", "--images", tmp_path / "sun_6", "--out", tmp_path / "lists")
    refused = run_main("data_prep/sun_splits.py", *options, "--test-images", 12, status=1)
    assert "category 'outdoor': expected one folder below" in refused.stderr
    run_main(
        "data_prep/sun_splits.py", *options, "--test-images", 12, "--category", "outdoor=somewhere"
    )
    chosen = read_photo_list(tmp_path / "lists" / "sun_6_test.txt")
    assert Counter(label for _, label in chosen) == dict.fromkeys(range(6), 2)
    (tmp_path / "published.txt").write_text("kitchen/kitchen2.jpg\nwrong/bedroom1.jpg\n")
    run_main("data_prep/sun_splits.py", *options, "--published", tmp_path / "published.txt")
    chosen = read_photo_list(tmp_path / "lists" / "sun_6_test.txt")
    assert [path.name for path, _ in chosen] == ["kitchen2.jpg", "bedroom1.jpg"]
