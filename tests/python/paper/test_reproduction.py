"""The experiments with fc6 and fc7 and with end-to-end training, on a slim network."""

import json
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
from google.protobuf import text_format
from PIL import Image

from autocolor.data.lmdb_io import LmdbOptions
from autocolor.data.lmdb_writer import LmdbContent, write_lmdb
from autocolor.nets.vgg16 import vgg16_gray_features
from autocolor.paper.published import TABLE_2
from autocolor.paper.reproduction import Reproduction, ReproductionConfig
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.training.feature_cache import FeatureOptions
from autocolor.training.head import HeadOptions

WIDTH = 1 / 32


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Eight photos to train on, four to validate and two others, and weights up to fc7."""
    folder = tmp_path_factory.mktemp("data")
    paths = []
    for number, pixels in enumerate(
        [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()] * 5
    ):
        top, left = 5 * number, 9 * number
        paths.append(folder / f"photo{number}.png")
        Image.fromarray(pixels[top : top + 228, left : left + 240]).save(paths[-1])
    for name, part in (("train_lmdb", paths[:8]), ("validation_lmdb", paths[8:12])):
        make_lmdb(folder / name, part)
        (folder / f"{name}.txt").write_text("".join(f"{path}\n" for path in part))
    caffe = import_caffe()
    caffe.set_random_seed(1)
    (folder / "net.prototxt").write_text(
        text_format.MessageToString(vgg16_gray_features("fc7", WIDTH))
    )
    net = caffe.Net(str(folder / "net.prototxt"), caffe.TEST)
    net.save(str(folder / "vgg16.caffemodel"))
    return ReproductionConfig(
        folder,
        paths[12:14],
        folder / "vgg16.caffemodel",
        folder / "out",
        HeadOptions(minutes=0.01, batch=32),
        FeatureOptions(width=WIDTH, locations=16),
    )


def make_lmdb(folder, photos):
    content = LmdbContent(photos, LmdbOptions())
    write_lmdb(content, folder)


@pytest.mark.slow
def test_with_fc7_all_rows_of_table_2_are_there(config):
    reproduction = Reproduction(config)
    results = reproduction.results(["table2"])
    (table,) = results.tables
    assert [row.name for row in table.rows[1:7]] == list(TABLE_2)
    assert [row.published for row in table.rows[1:7]] == list(TABLE_2.values())
    assert table.missing == ""
    assert len(results.scores) == 13 and results.images == 2
    for scored in results.scores.values():
        assert np.isfinite(scored.metrics.scores().rmse)
    costs = reproduction.stages.costs
    assert costs["features"].seconds > 0 and costs["training hue_chroma_fc7"].peak_mb > 0


@pytest.mark.slow
def test_end_to_end(config):
    config = replace(config, end_to_end=True, out=config.out / "end_to_end")
    reproduction = Reproduction(config)
    results = reproduction.results(["table1"], ["lab_l2@1"])
    assert list(results.scores) == ["no colorization", "lab_l2@1"]
    stamp = config.out / "models" / "lab_l2" / "trained.json"
    assert json.loads(stamp.read_text())["iterations"] > 0  # in an instant
    # VGG-16 has learnt, and nothing was computed once.
    from autocolor.nets.weights_io import read_weights

    trained = read_weights(config.out / "models" / "lab_l2" / "weights.caffemodel")
    before = read_weights(config.weights)
    assert not np.array_equal(trained["conv5_3"][0], before["conv5_3"][0])
    assert not (config.out / "features").exists()
    # Again: trained and scored already.
    modified = stamp.stat().st_mtime_ns
    Reproduction(config).results(["table1"], ["lab_l2@1"])
    assert stamp.stat().st_mtime_ns == modified


def test_unknown_rows_are_refused(config):
    with pytest.raises(ValueError, match="rows: expected some of no colorization, .*got nothing"):
        Reproduction(config).results(["table1"], ["nothing"])
