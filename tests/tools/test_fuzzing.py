"""Damaged files: every reader refuses them or reads them; what was found stays found."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import time
import zipfile
from pathlib import Path

import h5py
import lmdb
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from autocolor.data.lmdb_check import check_lmdb
from autocolor.data.photos import PhotoEntry, PhotoError, extract, read_list
from autocolor.data.qt_resource import ResourceError, read_members
from autocolor.imaging.images import ImageError, count_pages, read_image
from autocolor.nets.weights_io import WeightsError, read_weights
from autocolor.runtime.caffe_net import CaffeNet
from autocolor.runtime.model_folder import Manifest, ModelError
from fuzzing import Limits, Reader, mutate, mutations, read_once, try_inputs
from helpers.our_layers import our_layers
from readers import DEPLOY, make_readers, qt_resource

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "fuzz"
INPUTS = 100  # a reader; tools/checks/fuzz.py tries more


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return make_readers(tmp_path_factory.mktemp("readers"))


def test_every_layer_of_ours_is_fuzzed() -> None:
    assert set(our_layers()) <= set(re.findall(r'type: "(\w+)"', DEPLOY))


def test_every_reader_accepts_its_seeds(readers: dict[str, Reader], tmp_path: Path) -> None:
    for reader in readers.values():
        for seed in reader.seeds:
            (tmp_path / reader.file_name).write_bytes(seed)
            assert read_once(reader, tmp_path / reader.file_name) == "accepted", reader.name


@pytest.mark.slow
def test_damaged_files_are_refused_or_read(readers: dict[str, Reader]) -> None:
    for reader in readers.values():
        # Each of these starts a process in which Caffe tries the file.
        count = INPUTS // 10 if reader.name.startswith("deploy") else INPUTS
        outcomes = list(try_inputs(reader, mutations(reader, count, 0)))
        assert len(outcomes) == count
        assert not {o.result for o in outcomes if o.is_fault}, reader.name
        assert any(o.result == "refused" for o in outcomes), reader.name


@pytest.mark.parametrize("path", sorted(FIXTURES.iterdir()), ids=lambda path: path.name)
def test_what_was_found_once(readers: dict[str, Reader], path: Path) -> None:
    """Each of these made its reader crash, hang or raise what it does not document."""
    reader = readers[path.name.rsplit("-", 1)[0]]
    (outcome,) = try_inputs(reader, iter([path.read_bytes()]))
    assert not outcome.is_fault, outcome.result


def test_faults_are_seen() -> None:
    """A reader that does each of the things that are forbidden."""

    def misbehave(path: Path) -> None:
        content = path.read_bytes()
        if content == b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif content == b"hang":
            time.sleep(60)
        elif content == b"exit":
            os._exit(3)
        elif content == b"memory":
            bytearray(2**30)
        elif content == b"error":
            raise KeyError("unexpected")
        elif content == b"refuse":
            raise ValueError("as documented")

    reader = Reader("bad", "file", misbehave, (ValueError,), [b"seed"])
    limits = Limits(seconds=1, memory=2**28)
    contents = [b"crash", b"hang", b"exit", b"memory", b"error", b"refuse", b"fine"]
    results = [outcome.result for outcome in try_inputs(reader, iter(contents), limits)]
    assert results == [
        "signal 11",
        "hang",
        "exit status 3",
        "MemoryError: ",
        "KeyError: 'unexpected'",
        "refused",
        "accepted",
    ]

    def litter(path: Path) -> None:
        path.with_name("litter").write_bytes(b"")

    (outcome,) = try_inputs(Reader("litters", "file", litter, (), [b"seed"]), iter([b"", b""]))
    assert outcome.result == "left litter"


def test_damage_follows_from_the_seed() -> None:
    reader = Reader("any", "file", Path.read_bytes, (), [b"some text 12", bytes(range(256))])
    first, second, other = (list(mutations(reader, 50, seed)) for seed in (3, 3, 4))
    assert first == second != other
    assert sum(content not in reader.seeds for content in first) > 40
    assert mutate(b"", [b"x"], np.random.default_rng(0)) == b""


# ---- bombs, links and odd names


def test_images_that_are_huge_or_thin(tmp_path: Path) -> None:
    Image.new("L", (65_535, 1), 7).save(tmp_path / "thin.png")
    assert read_image(tmp_path / "thin.png").rgb.shape == (1, 65_535, 3)
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")  # 50 kB, 4.8 GB as floats
    with pytest.raises(ImageError, match="bomb.*exceeds limit"):
        read_image(tmp_path / "bomb.png")


def test_names_with_newlines_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    for name in (b"new\nline.png", b"not\xffutf8.png", b"-o.png"):
        path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
        Image.new("RGB", (4, 4)).save(path)
        assert read_image(path).rgb.shape == (4, 4, 3)


def test_postscript_is_no_photo(tmp_path: Path) -> None:
    """Pillow would have Ghostscript run it."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="not an image that can be read"):
        read_image(tmp_path / "a.jpg")
    assert count_pages(tmp_path / "a.jpg") == 1


def test_weights_in_other_files_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.h5"
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["0"] = np.ones((4, 4), np.float32)
    with h5py.File(path, "w") as file:
        file.create_group("data/fc")["0"] = h5py.ExternalLink("other.h5", "/0")
    with pytest.raises(WeightsError, match="layer fc: '0' is a link to another place"):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("data/fc/0", (4, 4), "f4", external=[(tmp_path / "secret", 0, 64)])
    with pytest.raises(WeightsError, match="layer fc: has its values in another file"):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("data/fc/0", (2**15, 2**14), "f4", chunks=(2**10, 2**10))
    with pytest.raises(WeightsError, match=r"2,147,483,648 bytes of weights are stored in 0"):
        read_weights(path)
    monkeypatch.setattr("autocolor.nets.weights_io._ANY_RATIO", 2**20)  # a gigabyte takes its time
    np.savez_compressed(tmp_path / "w.npz", **{"fc/weight": np.zeros((2**11, 2**11), np.float32)})
    with pytest.raises(WeightsError, match="w.npz: 16,777,344 bytes of weights are stored in"):
        read_weights(tmp_path / "w.npz")
    tensor = numpy_helper.from_array(
        np.ones((2, 1, 3, 3), np.float32), "f/block1_conv1_1/convolution/ReadVariableOp:0"
    )
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="layer conv1_1: has its values in another file"):
        read_weights(tmp_path / "w.onnx")


@pytest.mark.slow
@pytest.mark.alone
def test_qt_resources_take_linear_memory() -> None:
    bomb = qt_resource({"zeros": bytes(300 * 2**20)}, compressed=True)
    with pytest.raises(ResourceError, match="zeros: inflates to more than"):
        read_members(bomb)
    # Folder i lists all before it: 10,000 entries would make 50 million pending ones.
    entries = 10_000
    tree = b"".join(
        struct.pack(">IHIIQ", 0, 2, max(0, entries - i - 1), i + 1, 0) for i in range(entries)
    )
    header = struct.pack(">4sIIII", b"qres", 2, 20, 20, 20 + len(tree))
    started = time.process_time()
    with pytest.raises(ResourceError, match="is listed twice"):
        read_members(header + tree + bytes(16))
    assert time.process_time() - started < 1


def entry(**change: str) -> PhotoEntry:
    values = dict(
        split="train",
        source="pypi",
        package="p",
        file="a.jpg",
        member="",
        group="g",
        sha256="0" * 64,
    )
    return PhotoEntry(**{**values, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"package": "-oAPT::Update::Pre-Invoke=x"},
        {"package": "p @ file:///etc"},
        {"package": "../p"},
        {"group": ".."},
        {"group": "a/b"},
        {"sha256": "/../../x"},
        {"file": "/usr/../../etc/passwd"},
        {"file": ""},
        {"member": "a/.."},
    ],
)
def test_photo_lists_that_lead_astray(change: dict[str, str], tmp_path: Path) -> None:
    row = vars(entry(**change))
    path = tmp_path / "photos.tsv"
    path.write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    with pytest.raises(PhotoError, match=r"photos\.tsv:2: expected"):
        read_list(path)


def test_packages_with_links_out_of_them_and_bombs(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n"
    )
    (tree / "link.jpg").symlink_to("/etc/passwd")
    (tree / "folder").symlink_to("/etc")
    (tree / "good.jpg").write_bytes(b"good")
    subprocess.run(["dpkg-deb", "-b", tree, tmp_path / "p.deb"], check=True, capture_output=True)
    entries = [
        entry(source="apt", file=f"/{name}") for name in ("link.jpg", "folder/passwd", "good.jpg")
    ]
    found = [content for _, content in extract("apt", tmp_path / "p.deb", entries)]
    assert found == ["not in p.deb", "not in p.deb", b"good"]

    with zipfile.ZipFile(tmp_path / "p.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(2**28 + 1))
        archive.writestr("../out.jpg", b"traversal")
    ((_, said),) = extract("pypi", tmp_path / "p.whl", [entry()])
    assert said == "expected at most 268,435,456 bytes, got 268,435,457"
    assert not (tmp_path.parent / "out.jpg").exists()


@pytest.mark.slow
def test_lmdbs_that_are_cut_short(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "db"), map_size=2**20) as environment:
        with environment.begin(write=True) as transaction:
            for index in range(50):
                transaction.put(b"%d" % index, bytes(500))
    check_lmdb(tmp_path / "db")
    data = tmp_path / "db" / "data.mdb"
    content = data.read_bytes()
    for size in (0, 100, 4096, 8192, len(content) - 1):
        data.write_bytes(content[:size])
        with pytest.raises(ImageError, match=r"data\.mdb: "):
            check_lmdb(tmp_path / "db")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ('type: "Python" python_param { module: "os" layer: "x" }', "'Python' has no place"),
        ('type: "HDF5Output" bottom: "data" hdf5_output_param { file_name: "x" }', "no place"),
        (
            'type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 1 }',
            "Caffe refuses it: .*kernel",
        ),
        (
            'type: "InnerProduct" bottom: "data" top: "c" inner_product_param { num_output: 2000000000 }',
            "Caffe refuses it: ",
        ),
    ],
)
def test_deploy_nets_that_caffe_would_die_of(
    layer: str, message: str, model_folder: Path, tmp_path: Path
) -> None:
    deploy = tmp_path / "deploy.prototxt"
    text = (model_folder / "deploy.prototxt").read_text()
    deploy.write_text(f'{text}\nlayer {{ name: "bad" {layer} }}')
    with pytest.raises(ModelError, match=message):
        CaffeNet(deploy, model_folder / "weights.caffemodel")


def test_models_stay_in_their_folder(model_folder: Path) -> None:
    for name in ("../deploy.prototxt", "/etc/passwd", "a/b", ".", "new\nline"):
        with pytest.raises(ValueError, match="deploy: expected the name of a file in this folder"):
            Manifest("m", deploy=name)
