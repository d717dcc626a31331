"""The tools from photos to a scored model, run as a user runs them, on a few small photos."""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import caffe
import numpy as np
import pytest
import skimage.data
from PIL import Image

from autocolor.data.lmdb_io import decode_datum, read_datums
from autocolor.data.photo_lists import list_photos
from autocolor.data.photos import PhotoEntry
from autocolor.imaging.images import find_photos
from autocolor.runtime.caffemodel import read_caffemodel
from helpers.programs import ROOT, run_main, run_tool

pytestmark = pytest.mark.slow

TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
REPRODUCE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of photos as fetch_photos.py leaves it, and its list; one photo is broken."""
    folder = tmp_path_factory.mktemp("photos")
    images = {
        "coffee": skimage.data.coffee(),
        "chelsea": skimage.data.chelsea(),
        "astronaut": skimage.data.astronaut(),
        "rocket": skimage.data.rocket(),
        "grey": skimage.data.camera(),
    }
    entries = []
    for number, (name, pixels) in enumerate(images.items()):
        image = Image.fromarray(pixels)
        for index, crop in enumerate([(0, 0, 260, 240), (100, 20, 400, 280), (50, 50, 200, 170)]):
            path = folder / "part.png"
            image.crop(crop).save(path)
            content = path.read_bytes()
            if (name, index) == ("rocket", 2):
                content = b"not an image"
            split = "test" if name == "astronaut" else "train"
            entry = PhotoEntry(
                split,
                "apt",
                "skimage",
                f"{name}{index}.png",
                "",
                f"g{number}",
                hashlib.sha256(content).hexdigest(),
            )
            (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            path.rename(folder / entry.path)
            (folder / entry.path).write_bytes(content)
            entries.append(entry)
    with (folder / "list.tsv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(PhotoEntry.__annotations__), delimiter="\t")
        writer.writeheader()
        writer.writerows(vars(entry) for entry in entries)
    return folder


@pytest.fixture(scope="module")
def data(photos, tmp_path_factory):
    """Prepared data: LMDBs, VGG-16-gray and its re-balanced form."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "photos").symlink_to(photos)
    run_tool(
        "data_prep/build_lmdb.py",
        "--photos",
        photos / "train",
        "--list",
        photos / "list.tsv",
        "--validation",
        0.3,
        "--out",
        folder / "train_lmdb",
        "--validation-out",
        folder / "validation_lmdb",
    )
    run_tool("tools/convert_vgg16.py", "--out", folder / "vgg16_gray.caffemodel")
    run_tool(
        "tools/rebalance.py",
        "--weights",
        folder / "vgg16_gray.caffemodel",
        "--lmdb",
        folder / "train_lmdb",
        "--images",
        4,
        "--report",
        folder / "report",
        "--out",
        folder / "vgg16_gray_balanced.caffemodel",
    )
    return folder


def test_lmdb_is_what_caffe_reads(data):
    skipped = "".join((data / f"{n}_lmdb.skipped.tsv").read_text() for n in ("train", "validation"))
    assert skipped.count("no colour to learn from") == 3
    assert skipped.count("not an image") == 1
    datums = [datum for _, datum in read_datums(data / "train_lmdb")]
    assert datums
    for datum in datums:
        assert 224 <= min(datum.height, datum.width) <= 256
    (data / "net.prototxt").write_text(
        f"""layer {{ name: "image" type: "Data" top: "image"
            data_param {{ source: "{data}/train_lmdb" backend: LMDB batch_size: {len(datums)} }}
            transform_param {{ crop_size: 100 scale: 0.00392156862745098 }} }}"""
    )
    net = caffe.Net(str(data / "net.prototxt"), caffe.TEST)
    net.forward()
    for image, datum in zip(net.blobs["image"].data, datums, strict=True):
        rgb = decode_datum(datum).astype(float) / 255
        y, x = (rgb.shape[0] - 100) // 2, (rgb.shape[1] - 100) // 2  # the centre crop
        difference = image[::-1].transpose(1, 2, 0) - rgb[y : y + 100, x : x + 100]
        # Pillow's and OpenCV's JPEG decoders may round a step or two apart.
        assert np.abs(difference).max() <= 3 / 255


def test_lmdb_is_resumed_kept_and_not_overwritten(photos, tmp_path):
    command = ("data_prep/build_lmdb.py", "--photos", photos / "train", "--out", tmp_path / "lmdb")
    run_tool(*command)
    before = (tmp_path / "lmdb" / "data.mdb").read_bytes()
    assert "complete already" in run_tool(*command).stdout
    refused = run_main(*command, "--encoding", "raw", status=2)
    assert "holds something else" in refused.stderr
    assert (tmp_path / "lmdb" / "data.mdb").read_bytes() == before
    run_tool(*command, "--encoding", "raw", "--force")
    assert not any(datum.encoded for _, datum in read_datums(tmp_path / "lmdb"))
    missing = run_main(
        "data_prep/build_lmdb.py", "--photos", tmp_path / "none", "--out", tmp_path / "x", status=1
    )
    assert missing.stderr.startswith("build_lmdb: error:")


def test_rebalanced_levels_have_unit_second_moment(data):
    rows = list(csv.DictReader((data / "report" / "second_moments.csv").open()))
    assert [row["layer"] for row in rows][::12] == ["conv1_1", "conv5_3"]
    for row in rows:  # measured on other photos than estimated, and on four of each only
        assert 0.3 < float(row["after"]) < 3
    assert (data / "report" / "second_moments.png").stat().st_size > 5000
    assert read_caffemodel(data / "vgg16_gray_balanced.caffemodel")["conv1_1"][0].shape == (
        64,
        1,
        3,
        3,
    )


def test_the_colorizers_output_is_kept(data, tmp_path):
    """tools/rebalance.py --keep-output on the whole deploy net, judged by Caffe on a real photo."""
    prototxt = ROOT / "prototxt/hue_chroma_data-conv5_3/deploy.prototxt"
    net = caffe.Net(str(prototxt), caffe.TEST)
    net.copy_from(str(data / "vgg16_gray.caffemodel"))
    rng = np.random.default_rng(0)
    for name in ("h_fc1", "prediction_h", "prediction_c"):  # a head that sees every level
        weight, bias = net.params[name]
        weight.data[...] = rng.normal(size=weight.data.shape) / weight.data.shape[1]
        bias.data[...] = rng.normal(size=bias.data.shape)
    net.save(str(tmp_path / "start.caffemodel"))
    run_tool(
        "tools/rebalance.py",
        "--net",
        prototxt,
        "--keep-output",
        "--images",
        2,
        "--weights",
        tmp_path / "start.caffemodel",
        "--lmdb",
        data / "train_lmdb",
        "--out",
        tmp_path / "balanced.caffemodel.h5",
    )
    image = skimage.data.astronaut()[:64, 200:296].mean(axis=2, dtype=np.float32) / 255
    outputs = []
    for weights in ("start.caffemodel", "balanced.caffemodel.h5"):
        net.copy_from(str(tmp_path / weights))
        net.blobs["data"].reshape(1, 1, *image.shape)
        net.blobs["data"].data[0, 0] = image
        net.forward()
        names = ("conv5_3", "h_fc1", "prediction_h", "hue", "chroma")
        outputs.append({name: net.blobs[name].data.copy() for name in names})
    before, after = outputs
    for name in names[1:]:
        np.testing.assert_allclose(
            after[name], before[name], rtol=0, atol=1e-4 * np.abs(before[name]).max(), err_msg=name
        )
    # The level itself is scaled, from about 30 to about 1.
    assert (after["conv5_3"] ** 2).mean() < 0.2 * (before["conv5_3"] ** 2).mean()


def test_caffe_train_and_resume(data, tmp_path):
    options = (
        "--source",
        data / "train_lmdb",
        "--validation-source",
        data / "validation_lmdb",
        "--batch",
        1,
        "--crop",
        64,
        "--locations",
        16,
        "--frozen",
    )
    run_tool("tools/generate_prototxt.py", "--out", tmp_path, *options, "--iterations", 3)

    def train(*arguments):
        command = ["caffe", "train", f"-solver={tmp_path}/solver.prototxt", *arguments]
        environment = {**os.environ, "GLOG_minloglevel": "0"}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    first = train(f"-weights={data}/vgg16_gray_balanced.caffemodel")
    assert "Optimization Done" in first.stderr
    frozen = read_caffemodel(data / "vgg16_gray_balanced.caffemodel")
    trained = read_caffemodel(tmp_path / "snapshot_iter_3.caffemodel")
    np.testing.assert_array_equal(trained["conv5_3"][0], frozen["conv5_3"][0])

    run_tool("tools/generate_prototxt.py", "--out", tmp_path, *options, "--iterations", 5)
    second = train(f"-snapshot={tmp_path}/snapshot_iter_3.solverstate")
    assert "SGDSolver: restoring history" in second.stderr
    assert "Iteration 0 (" in first.stderr
    assert "Iteration 0 (" not in second.stderr
    resumed = read_caffemodel(tmp_path / "snapshot_iter_5.caffemodel")
    assert not np.array_equal(resumed["h_fc1"][0], trained["h_fc1"][0])


def test_training_commands_of_the_page_run(photos, tmp_path):
    """As they stand, but for the folders and for a net that is small enough to iterate twice."""
    (block,) = (
        block
        for block in re.findall(r"```bash\n(.*?)```", TRAINING, re.DOTALL)
        if "tools/train_model.py" not in block  # test_train_model.py runs those
    )
    commands = [line for line in block.splitlines() if not line.startswith("source")]
    assert len(commands) == 5
    (tmp_path / "build").mkdir()
    for folder in ("data_prep", "tools"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    # Six, of which a tenth is one photo: it has to be a usable one.
    (tmp_path / "my_photos").mkdir()
    for photo in (photos / "train").rglob("*.png"):
        if not photo.name.startswith(("grey", "rocket")):
            shutil.copy(photo, tmp_path / "my_photos")
    for command in commands:
        if "generate_prototxt" in command:
            command += " --batch 1 --crop 64 --locations 16 --iterations 2"
        process = subprocess.run(
            command.split(), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, f"{command}\n{process.stderr[-2000:]}"
    (command,) = re.findall(
        r"^python tools/train\.py .*?[^\\]$", TRAINING, re.MULTILINE | re.DOTALL
    )
    command = command.replace("\\\n", " ") + " --force"  # of the earlier training
    process = subprocess.run(
        command.split(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, f"{command}\n{process.stderr[-2000:]}"
    assert (tmp_path / "build/mine/net/snapshot_preview_iter_2.png").is_file()
    before = read_caffemodel(tmp_path / "build/mine/balanced.caffemodel")
    after = read_caffemodel(tmp_path / "build/mine/net/snapshot_iter_2.caffemodel")
    for name in ("conv1_1", "conv5_3"):  # trained end to end
        assert np.isfinite(after[name][0]).all()
        assert not np.array_equal(after[name][0], before[name][0])


def test_demo_writes_everything(data, tmp_path):
    process = run_tool(
        "tools/demo.py", "--minutes", 0.1, "--data", data, "--out", tmp_path / "demo"
    )
    trained, shipped = process.stdout.splitlines()[-2:]
    assert trained.startswith("trained here, ")
    assert shipped.startswith("the model that comes with autocolor: αβ RMSE ")
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert metrics["images"] == 3
    assert set(metrics["methods"]) == {"no colorization", "shipped model", "trained here"}
    for method in metrics["methods"].values():
        assert 0 < method["scores"]["rmse"] < 3
        assert 5 < method["scores"]["psnr"] < 60
    page = (tmp_path / "demo" / "index.html").read_text()
    for summary in (trained, shipped):
        assert f"<li>{summary}</li>" in page
    for picture in ("gallery.png", "loss.png", "errors.png", "psnr.png", "worst.png"):
        assert picture in page
        assert (tmp_path / "demo" / picture).read_bytes().startswith(b"\x89PNG")
    # The model that was written colorizes.
    photo = next((data / "photos" / "test").rglob("*.png"))
    subprocess.run(
        ["autocolor", photo, "-o", tmp_path / "out.png", "--model", tmp_path / "demo" / "model"],
        check=True,
        capture_output=True,
    )
    with Image.open(photo) as original, Image.open(tmp_path / "out.png") as colorized:
        assert colorized.size == original.size


def test_reproduce_makes_every_table_and_figure(data, tmp_path):
    """All models and baselines, trained for an instant; the command of the page."""
    assert "\npython tools/paper/reproduce.py all\n" in REPRODUCE
    out = tmp_path / "reproduction"
    common = ("--data", data, "--out", out, "--minutes", 0.02, "--passes", 1, "--locations", 64)
    process = run_tool(
        "tools/paper/reproduce.py", "all", *common, "--page", tmp_path / "results.md"
    )
    assert f"written to {out / 'results.md'}" in process.stdout
    content = json.loads((out / "results.json").read_text())
    assert content["provenance"]["command"].startswith("python tools/paper/reproduce.py all --data")
    expected = {
        "no colorization",
        "lab_l2@1",
        "lab_joint@chosen",
        "hue_chroma/sample@1",
        "hue_chroma_conv5_3@1",
        "mean",
        "welsh",
        "cheng",
        "nearest_neighbour",
        "C",
        "Q",
        "E",
    }
    assert expected <= set(content["methods"])
    for key, method in content["methods"].items():
        interval = method["intervals"]["rmse"]
        assert 0 < interval["low"] <= interval["high"] < 5, key
        assert 3 < method["scores"]["psnr"] < 60, key
    page = (tmp_path / "results.md").read_text()
    assert (
        page.count("| 0.343 | 22.98 | `no colorization` |") == 3
    )  # the paper's numbers of Tables 1, 2, 5
    for plot in re.findall(r"\]\((results/\w+\.\w+)\)", page):
        assert (tmp_path / plot).stat().st_size > 3000
    assert len(list((tmp_path / "results").iterdir())) == 8

    # One row again: nothing is trained or scored anew, and the numbers are the same.
    models = {path: path.stat().st_mtime_ns for path in out.glob("models/*/weights.caffemodel")}
    assert len(models) == 7
    again = run_tool("tools/paper/reproduce.py", "table1", *common, "--rows", "lab_l2@1")
    assert {path: path.stat().st_mtime_ns for path in models} == models
    row = next(line for line in page.splitlines() if line.endswith("`lab_l2@1` |"))
    assert row in again.stdout
    assert "lab_joint@1" not in again.stdout


def test_reproduce_trains_on_a_collection(data, tmp_path):
    """The photos of the table's split are trained on and scored, and none of DATA."""
    folder = data / "photos"
    found = find_photos(folder / "train", recursive=True)
    train = [path for path in found if path.name.startswith(("chelsea", "coffee"))]
    test = find_photos(folder / "test", recursive=True)
    lines = ["path\tsplit"]
    for split, photos in (("train", train), ("validation", test)):
        lines += [f"{path.relative_to(folder)}\t{split}" for path in photos]
    collection = tmp_path / "collection"
    shutil.copytree(folder, collection)
    (collection / "photos.tsv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    command = ("tools/paper/reproduce.py", "table1", "--data", data, "--photos", collection)
    options = ("--train", 2, "--score", 1, "--minutes", 0.02, "--locations", 64, "--out", out)
    done = run_tool(*command, *options, "--rows", "lab_l2@1")
    assert f"2 of the collection's {len(train)} photos to train on are taken" in done.stdout
    listed = {
        path
        for name in ("train", "validation")
        for path in list_photos(out / f"data/{name}_lmdb.txt")
    }
    assert len(listed) == 2 and listed < {collection / path.relative_to(folder) for path in train}
    content = json.loads((out / "results.json").read_text())
    assert content["images"] == 1
    # So has the model that is compared with others on scenes.
    scenes = tmp_path / "scenes"
    (scenes / "people").mkdir(parents=True)
    for photo in test:
        shutil.copy(photo, scenes / "people")
    rows = ("--rows", "mean", "hue_chroma@chosen")
    run_tool(*command[:1], "table3", *command[2:], *options, "--scenes", scenes, *rows)
    page = (out / "scenes.md").read_text()
    assert "**Table 3.** 1 photos are scored" in page and "2 of the collection's" in page
    for stage in ("LMDBs", "looking for duplicates", "features", "training lab_l2", "scoring"):
        assert content["stages"][stage]["peak_mb"] > 50, stage
        assert f"{stage}: " in done.stderr


def test_reproduce_refuses_photos_that_are_trained_on(data, tmp_path):
    photo = next((data / "photos" / "train").rglob("chelsea0*"))
    (tmp_path / "photos").mkdir()
    with Image.open(photo) as image:
        image.save(tmp_path / "photos" / "copy.jpg", quality=70)
    command = ("tools/paper/reproduce.py", "table1", "--data", data, "--out", tmp_path / "out")
    refused = run_tool(*command, "--photos", tmp_path / "photos", status=2)
    assert f"copy.jpg is {photo.resolve()} (nearly: " in refused.stderr
    unknown = run_main(*command, "--rows", "nothing", status=2)
    assert "rows: expected some of no colorization, lab_l2@1, " in unknown.stderr


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("tools/paper/reproduce.py", ("all", "--data", "nowhere")),
        ("tools/convert_vgg16.py", ("--source", "nowhere.onnx", "--out", "x.caffemodel")),
        ("tools/convert_weights.py", ("inspect", "nowhere")),
        ("tools/migrate_prototxt.py", ("nowhere", "--out", "x")),
        ("tools/rebalance.py", ("--weights", "nowhere", "--lmdb", "nowhere", "--out", "x")),
        ("tools/demo.py", ("--data", "nowhere", "--out", "demo_out")),
    ],
)
def test_errors_are_one_line(tool, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = run_main(tool, *arguments, status=1).stderr.strip().splitlines()[-1]
    assert line.startswith(f"{Path(tool).stem}: error:")
    assert "nowhere" in line
