"""Hypercolumns on disk, heads trained on them, and heads that share one backbone."""

import h5py
import lmdb
import numpy as np
import pytest
import skimage.data
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from PIL import Image

from autocolor.core.files import write_checksum
from autocolor.data.lmdb_io import LmdbOptions, make_datum
from autocolor.imaging.color import lightness, rgb_to_hue_chroma
from autocolor.nets.backbone import Backbone, HeadNet
from autocolor.nets.colorization import ColorizationNet, TrainingOptions
from autocolor.nets.vgg16 import vgg16_gray_features, vgg16_levels
from autocolor.runtime.caffe_net import CaffeNet
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.model_folder import Manifest, ModelError
from autocolor.training.feature_cache import (
    FeatureError,
    FeatureOptions,
    cache_features,
    count_rows,
    seconds_taken,
)

WIDTH = 1 / 32
LEVELS = "data..conv5_3"
SIDE = 64


def write_net(path, net):
    path.write_text(text_format.MessageToString(net))
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """An LMDB of five raw images, a little larger than the crop."""
    folder = tmp_path_factory.mktemp("images") / "lmdb"
    pixels = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee()]
    pixels += [pixels[0][200:], pixels[1][100:, 100:]]
    with lmdb.open(str(folder), map_size=2**24) as environment:
        with environment.begin(write=True) as transaction:
            for index, array in enumerate(pixels):
                image = Image.fromarray(array[: SIDE + 3 * index, : SIDE + 5])
                datum = make_datum(image, LmdbOptions(encoding="raw"))
                transaction.put(f"{index:03d}".encode(), datum.SerializeToString())
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """VGG-16-gray, a thirty-second as wide, of random weights."""
    caffe = import_caffe()
    folder = tmp_path_factory.mktemp("weights")
    caffe.set_random_seed(1)
    prototxt = write_net(folder / "net.prototxt", vgg16_gray_features("conv5_3", WIDTH))
    net = caffe.Net(str(prototxt), caffe.TEST)
    for blobs in net.params.values():
        blobs[1].data[...] = 0.01
    net.save(str(folder / "vgg16.caffemodel"))
    return folder / "vgg16.caffemodel"


def options(**changes):
    return FeatureOptions(
        **{
            "levels": LEVELS,
            "crop": SIDE,
            "locations": 6,
            "width": WIDTH,
            "images_per_file": 2,
            **changes,
        }
    )


def read_all(files):
    hypercolumns, images = [], []
    for line in files.read_text().splitlines():
        with h5py.File(line) as file:
            hypercolumns.append(file["cached_hypercolumn"][...])
            images.append(file["image"][...])
    return np.concatenate(hypercolumns), np.concatenate(images)


def test_each_row_is_a_pixel_of_the_network_s_maps(images, weights, tmp_path):
    """Level by level, against the maps themselves: locations are found by their colour."""
    files = cache_features(
        images, weights, tmp_path / "f", options(augment=False, images=1), progress=False
    )
    hypercolumns, colours = read_all(files)
    assert hypercolumns.shape == (6, sum(level.channels for level in vgg16_levels(LEVELS, WIDTH)))
    assert hypercolumns.dtype == np.float16 and colours.shape == (6, 3, 1, 1)
    rgb = skimage.data.astronaut()[:SIDE, 2 : SIDE + 2].astype(np.float32) / 255  # centre crop
    # Fully resolved levels hold the pixel's own value; the grey input is the first channel.
    maps = Backbone(weights, "conv5_3", width=WIDTH).features(lightness(rgb))
    for row, colour in zip(hypercolumns, colours[:, ::-1, 0, 0], strict=True):
        where = np.argwhere((rgb == colour).all(axis=-1))
        assert len(where)
        channels = [len(maps[name]) for name in ("data", "conv1_1", "conv1_2")]
        expected = [
            np.concatenate([maps[name][:, y, x] for name in ("data", "conv1_1", "conv1_2")])
            for y, x in where
        ]
        assert (
            min(np.abs(e - row[: sum(channels)]).max() for e in expected) < 2e-3
        )  # half precision


def test_all_images_in_every_pass_in_other_crops(images, weights, tmp_path):
    files = cache_features(images, weights, tmp_path / "f", options(passes=3), progress=False)
    assert count_rows(files) == 5 * 3 * 6
    assert 0 < seconds_taken(files) < 600
    assert len(files.read_text().splitlines()) == 8  # 15 crops, two a file
    _, colours = read_all(files)
    assert len(np.unique(colours.reshape(-1, 18), axis=0)) == 15


def test_an_interrupted_run_is_gone_on_with(images, weights, tmp_path):
    whole = cache_features(images, weights, tmp_path / "whole", options(), progress=False)
    files = cache_features(images, weights, tmp_path / "f", options(), progress=False)
    lost = files.read_text().splitlines()[1]
    kept = files.read_text().splitlines()[0]
    modified = (tmp_path / "f" / "features_00000.h5").stat().st_mtime_ns
    (tmp_path / "f" / "features_00001.h5").unlink()
    cache_features(images, weights, tmp_path / "f", options(), progress=False)
    assert (tmp_path / "f" / "features_00000.h5").stat().st_mtime_ns == modified
    assert lost != kept
    for one, other in zip(read_all(whole), read_all(files), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["features_00001.h5", "weights"])
def test_a_damaged_byte_is_named(images, weights, tmp_path, name):
    copy = tmp_path / "weights.caffemodel"
    copy.write_bytes(weights.read_bytes())
    write_checksum(copy)
    cache_features(images, copy, tmp_path / "f", options(), progress=False)
    path = copy if name == "weights" else tmp_path / "f" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FeatureError, match=f"{path}: is cut off or damaged"):
        cache_features(images, copy, tmp_path / "f", options(), progress=False)


@pytest.mark.slow
def test_processes_make_no_difference(images, weights, tmp_path):
    one = cache_features(images, weights, tmp_path / "one", options(), progress=False)
    two = cache_features(images, weights, tmp_path / "two", options(), processes=2, progress=False)
    for alone, together in zip(read_all(one), read_all(two), strict=True):
        np.testing.assert_array_equal(alone, together)


def test_features_of_something_else_are_refused(images, weights, tmp_path):
    cache_features(images, weights, tmp_path / "f", options(), progress=False)
    with pytest.raises(FeatureError, match="f: holds features of other images, weights or options"):
        cache_features(images, weights, tmp_path / "f", options(seed=1), progress=False)


def test_small_images_and_large_activations_are_refused(images, weights, tmp_path):
    with pytest.raises(
        FeatureError, match=r"image 00\d: expected sides of at least 96, got \d+ x 69"
    ):
        cache_features(
            images, weights, tmp_path / "small", options(crop=96, augment=False), progress=False
        )
    caffe = import_caffe()
    prototxt = write_net(tmp_path / "net.prototxt", vgg16_gray_features("conv5_3", WIDTH))
    net = caffe.Net(str(prototxt), str(weights), caffe.TEST)
    net.params["conv1_1"][1].data[...] = 1e6
    net.save(str(tmp_path / "large.caffemodel"))
    with pytest.raises(FeatureError, match="does not fit half precision; expected re-balanced"):
        cache_features(
            images, tmp_path / "large.caffemodel", tmp_path / "f", options(), progress=False
        )


@pytest.mark.parametrize("variant", ["hue_chroma", "lab_marginal", "lab_joint", "lab_l2"])
@pytest.mark.parametrize("levels", [LEVELS, "conv4_1..conv5_3", "conv1_1..conv3_3"])
def test_a_head_has_the_losses_of_the_whole_network(images, weights, tmp_path, variant, levels):
    """Same hypercolumns, same colours, same weights: the same numbers but for half precision."""
    caffe = import_caffe()
    files = cache_features(images, weights, tmp_path / "f", options(augment=False), progress=False)
    hypercolumns, colours = read_all(files)
    network = ColorizationNet(variant, levels, width=WIDTH)
    rows = len(hypercolumns)
    head = network.head_training_net(TrainingOptions(str(files), batch=rows), LEVELS, "test")
    caffe.set_random_seed(2)
    net = caffe.Net(str(write_net(tmp_path / "head.prototxt", head)), caffe.TEST)
    net.save(str(tmp_path / "head.caffemodel"))
    net.forward()
    # The whole network on an image a row high, whose pixels are these colours, and whose
    # hypercolumns are put in the place of its own.
    whole = network.training_net(TrainingOptions("x", batch=1, crop=rows, locations=rows), "test")
    changed = caffe_pb2.NetParameter()
    own = sum(level.channels for level in vgg16_levels(levels, WIDTH))
    for name, shape in (
        ("image", (1, 3, 1, rows)),
        ("locations", (1, rows, 2)),
        ("hypercolumn", (rows, own)),
    ):
        layer = changed.layer.add(name=name, type="Input", top=[name])
        layer.input_param.shape.add().dim.extend(shape)
    skipped = ("conv", "relu", "pool")
    changed.layer.extend(
        layer
        for layer in whole.layer
        if layer.name not in ("image", "locations", "hypercolumn")
        and not layer.name.startswith(skipped)
    )
    reference = caffe.Net(
        str(write_net(tmp_path / "whole.prototxt", changed)),
        caffe.TEST,
        weights=str(tmp_path / "head.caffemodel"),
    )
    cached = [level.name for level in vgg16_levels(LEVELS, WIDTH)]
    first = sum(
        level.channels
        for level in vgg16_levels(LEVELS, WIDTH)[: cached.index(vgg16_levels(levels)[0].name)]
    )
    reference.blobs["hypercolumn"].data[...] = hypercolumns[:, first : first + own]
    reference.blobs["image"].data[0] = colours[:, :, 0, 0].T[:, None]
    reference.blobs["locations"].data[0] = np.stack([np.zeros(rows), np.arange(rows)], axis=1)
    reference.forward()
    losses = [name for name in net.blobs if name.startswith("loss")]
    assert losses
    for name in losses:
        np.testing.assert_allclose(net.blobs[name].data, reference.blobs[name].data, rtol=1e-5)


def test_cached_levels_must_include_the_network_s(tmp_path):
    with pytest.raises(ValueError, match=r"cached_levels: expected data\.\.conv5_3 or more"):
        ColorizationNet(levels=LEVELS).head_training_net(
            TrainingOptions("x"), "conv1_1..conv5_3", "train"
        )


@pytest.mark.parametrize("variant", ["hue_chroma", "lab_joint", "lab_l2"])
@pytest.mark.parametrize("levels", [LEVELS, "conv4_1..conv5_3"])
def test_a_head_on_a_shared_backbone_is_the_deploy_net(weights, tmp_path, variant, levels):
    caffe = import_caffe()
    network = ColorizationNet(variant, levels, width=WIDTH)
    folder = tmp_path / "model"
    folder.mkdir()
    bins = network.heads[0].bins or 32
    manifest = Manifest("tiny", variant, levels, bins)
    write_net(folder / manifest.deploy, network.deploy_net())
    caffe.set_random_seed(3)
    net = caffe.Net(str(folder / manifest.deploy), str(weights), caffe.TEST)
    rng = np.random.default_rng(0)
    for name, blobs in net.params.items():
        if not name.startswith("conv"):
            for blob in blobs:
                blob.data[...] = rng.normal(size=blob.data.shape, scale=0.1)
    net.save(str(folder / manifest.weights))
    manifest.save(folder)

    backbone = Backbone(weights, width=WIDTH)
    shared = HeadNet(folder, backbone, width=WIDTH)
    alone = CaffeNet(
        folder / manifest.deploy, folder / manifest.weights, outputs=tuple(manifest.outputs)
    )
    for shape in ((64, 96), (32, 32)):
        image = rng.random(shape, dtype=np.float32)
        for _ in range(2):  # the second time on kept levels
            for one, other in zip(shared(image), alone(image), strict=True):
                np.testing.assert_allclose(one, other, atol=1e-6)


def test_weights_that_do_not_fit_are_refused(weights, tmp_path):
    with pytest.raises(ModelError, match=r"layer 'conv1_1': expected \[\[64, 1, 3, 3\], \[64\]\]"):
        Backbone(weights)
    with pytest.raises(ModelError, match="nowhere.caffemodel: no such file"):
        Backbone(tmp_path / "nowhere.caffemodel")


def test_the_colour_of_a_row_is_its_target(images, weights, tmp_path):
    """ColorHistogram on the one-pixel images gives the bin of each pixel's own hue."""
    caffe = import_caffe()
    files = cache_features(images, weights, tmp_path / "f", options(augment=False), progress=False)
    _, colours = read_all(files)
    rows = len(colours)
    head = ColorizationNet(levels=LEVELS, width=WIDTH).head_training_net(
        TrainingOptions(str(files), batch=rows), LEVELS, "test"
    )
    net = caffe.Net(str(write_net(tmp_path / "head.prototxt", head)), caffe.TEST)
    net.forward()
    _, chroma = rgb_to_hue_chroma(colours[:, ::-1, 0, 0])
    expected = np.minimum((chroma * 32).astype(int), 31)
    np.testing.assert_array_equal(net.blobs["target_c"].data.argmax(axis=1), expected)
