"""The layers put into a pristine copy of Caffe's own source, as a user does it."""

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from helpers.programs import ROOT, run, run_tool

pytestmark = pytest.mark.slow

LAYERS = ROOT / "caffe_layers"
CACHE = dict(
    re.findall(r"^(\w+):\w+=(.*)$", (ROOT / "build/CMakeCache.txt").read_text(), re.MULTILINE)
)
SOURCE = Path(CACHE["CAFFE_SOURCE_DIR"])
PROTO = "src/caffe/proto/caffe.proto"
OVERLAY = sorted(
    str(path.relative_to(LAYERS))
    for folder in ("include", "src")
    for path in (LAYERS / folder).rglob("*")
    if path.is_file() and path.parent != LAYERS / "src/caffe/test/onednn"
)

# The parts of Caffe that a layer needs, in one piece for speed, and a program that makes every one
# of our layers from text and runs one: (y, x) = (0.5, 0) of the map 1 2 / 3 4 is 2.
PROGRAM = """
#include "src/caffe/blob.cpp"
#include "src/caffe/common.cpp"
#include "src/caffe/syncedmem.cpp"
#include "src/caffe/layers/loss_layer.cpp"
#include "src/caffe/util/math_functions.cpp"

#include <google/protobuf/text_format.h>
#include "caffe/layer_factory.hpp"

int main() {
  caffe::NetParameter net;
  CHECK(google::protobuf::TextFormat::ParseFromString(R"(
    layer { type: "SparseHypercolumn" sparse_hypercolumn_param { scale: 1 } }
    layer { type: "HypercolumnInnerProduct" hypercolumn_inner_product_param { num_output: 2 } }
    layer { type: "ColorSpace" color_space_param { color_space: LAB } }
    layer { type: "ColorHistogram" color_histogram_param { bins: 4 } }
    layer { type: "SoftmaxKLDivergenceLoss"
            softmax_kl_divergence_loss_param { divergence: KL } })", &net));
  for (const caffe::LayerParameter& layer : net.layer()) {
    std::cout << caffe::LayerRegistry<float>::CreateLayer(layer)->type() << "\\n";
    caffe::LayerRegistry<double>::CreateLayer(layer);
  }
  caffe::Blob<float> locations(std::vector<int>{1, 1, 2}), map(1, 1, 2, 2), top;
  locations.mutable_cpu_data()[0] = 0.5;
  locations.mutable_cpu_data()[1] = 0;
  for (int i = 0; i < 4; ++i) map.mutable_cpu_data()[i] = i + 1;
  const std::vector<caffe::Blob<float>*> bottoms{&locations, &map}, tops{&top};
  const auto layer = caffe::LayerRegistry<float>::CreateLayer(net.layer(0));
  layer->SetUp(bottoms, tops);
  layer->Forward(bottoms, tops);
  std::cout << top.cpu_data()[0] << "\\n";
}
"""


install = partial(run_tool, "tools/caffe_tree/install_into_caffe.py", status=None)


def contents(root):
    return {
        str(path.relative_to(root)): (
            path.is_symlink(),
            path.stat().st_mode,
            path.is_file() and path.read_bytes(),
        )
        for path in root.rglob("*")
    }


def times(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


@pytest.fixture(scope="module")
def pristine():
    return contents(SOURCE)


@pytest.fixture
def tree(tmp_path):
    # A space in the path, and reached by a link.
    shutil.copytree(SOURCE, tmp_path / "my caffe", symlinks=True)
    (tmp_path / "caffe").symlink_to("my caffe")
    return tmp_path / "caffe"


def build(tree, out):
    """Compile our layers in the tree, with nothing but its own headers and proto; link and run."""
    generated = out / "caffe" / "proto"
    generated.mkdir(parents=True)
    made = run(
        CACHE["Protobuf_PROTOC_EXECUTABLE"],
        f"--proto_path={(tree / PROTO).parent}",
        f"--cpp_out={generated}",
        tree / PROTO,
    )
    assert made.returncode == 0, made.stderr
    program = out / "program.cpp"
    program.write_text(PROGRAM)
    ours = [name for name in OVERLAY if re.fullmatch(r"src/caffe/(layers|util)/.*\.cpp", name)]
    sources = [generated / "caffe.pb.cc", program, *(tree / name for name in ours)]
    assert len(ours) >= 5
    compiler = CACHE["CMAKE_CXX_COMPILER"]
    # Of CMakeLists.txt's caffe_options; the tree's own headers alone, and no compat.
    options = [
        "-std=c++17",
        "-O0",
        "-fopenmp",
        "-w",
        "-DCPU_ONLY",
        f"-I{tree}",
        f"-I{tree}/include",
        f"-I{out}",
        f"-I{CACHE['CBLAS_INCLUDE_DIR']}",
    ]

    def compile_one(source):
        return run(compiler, *options, "-c", source, "-o", out / f"{source.stem}.o")

    with ThreadPoolExecutor(2) as pool:
        for compiled in pool.map(compile_one, sources):
            assert compiled.returncode == 0, compiled.stderr
    linked = run(
        compiler,
        "-fopenmp",
        *(out / f"{source.stem}.o" for source in sources),
        "-o",
        out / "program",
        CACHE["OPENBLAS_LIBRARY"],
        CACHE["GLOG_LIBRARY"],
        CACHE["GFLAGS_LIBRARY"],
        "-lprotobuf",
        "-lboost_thread",
        "-lboost_system",
        "-pthread",
    )
    assert linked.returncode == 0, linked.stderr
    return run(out / "program")


def test_install_build_and_uninstall(tree, pristine, tmp_path):
    dry = install(tree, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    copies = [f"copy    {name}" for name in OVERLAY]
    assert dry.stdout.splitlines()[:-1] == [*copies, f"insert  {PROTO}"]
    assert contents(tree) == pristine

    installed = install(tree)
    assert installed.returncode == 0, installed.stderr
    for name in OVERLAY:
        assert (tree / name).read_bytes() == (LAYERS / name).read_bytes()
    assert not list(tree.rglob("caffe_compat.hpp"))
    assert not list(tree.rglob("*onednn*"))

    before = times(tree)
    again = install(tree)
    assert (again.returncode, again.stdout) == (0, f"{tree}: everything is up to date\n")
    assert times(tree) == before

    program = build(tree, tmp_path / "out")
    assert program.returncode == 0, program.stderr
    assert program.stdout.split() == [
        "SparseHypercolumn",
        "HypercolumnInnerProduct",
        "ColorSpace",
        "ColorHistogram",
        "SoftmaxKLDivergenceLoss",
        "2",
    ]

    removed = install(tree, "--uninstall")
    assert removed.returncode == 0, removed.stderr
    assert contents(tree) == pristine


def taken_id(tree):
    text = (tree / PROTO).read_text()
    heading = "message LayerParameter {\n"
    field = "  optional int32 theirs\n    = 7102;\n"
    (tree / PROTO).write_text(text.replace(heading, heading + field))


def foreign_file(tree):
    (tree / "include/caffe/util/bilinear.hpp").write_text("// theirs\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (taken_id, "caffe.proto: LayerParameter's id 7102 of color_space_param is taken by 'opt"),
        (foreign_file, "include/caffe/util/bilinear.hpp: exists and is not autocolor's"),
    ],
)
def test_conflicts_are_refused(change, words, tree):
    change(tree)
    before = contents(tree)
    refused = install(tree)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"install_into_caffe: error: {words}")
    assert refused.stderr.count("\n") == 1
    assert contents(tree) == before


@pytest.mark.parametrize("options", [[], ["--uninstall"], ["--dry-run"]])
@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_another_folder_is_refused(folder, options, tmp_path):
    refused = install(tmp_path / folder, *options)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"install_into_caffe: error: {tmp_path / folder}: expected a Caffe "
        f"source tree, found no {PROTO}\n"
    )
    assert not list(tmp_path.iterdir())


def test_help_teaches():
    explained = install("--help")
    assert explained.returncode == 0
    for words in ("7100  sparse_hypercolumn_param", "--uninstall", "cmake", "make all", "compat"):
        assert words in explained.stdout
    assert install().returncode == 2


def test_it_needs_python_alone():
    """No set-up: the standard library and this repository's python folder."""
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT / "python")}
    explained = run(
        sys.executable,
        "-S",
        ROOT / "tools/caffe_tree/install_into_caffe.py",
        "--help",
        env=environment,
    )
    assert explained.returncode == 0, explained.stderr
