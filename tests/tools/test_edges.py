"""Edges: labels, the two LMDBs, the networks and the score."""

import caffe
import numpy as np
import pytest
import skimage.data
from google.protobuf import text_format
from PIL import Image
from train_edges import (
    edge_labels,
    gradient_magnitude,
    predict_edges,
    read_squares,
    write_edge_lmdbs,
)

from autocolor.data.lmdb_io import read_datums
from autocolor.imaging.images import ImageError
from autocolor.nets.colorization import TrainingOptions
from autocolor.nets.edges import EdgeDetector
from autocolor.nets.vgg16 import vgg16_levels
from autocolor.runtime.caffe_runtime import layer_names


def test_labels_of_a_step():
    """Black, then white from column 11 on, half-way at 10: labelled are 10 and its neighbours."""
    light = np.zeros((21, 20), dtype=np.float32)
    light[:, 10] = 0.5
    light[:, 11:] = 1
    expected = np.zeros((21, 20), dtype=bool)
    expected[:, 9:12] = True
    np.testing.assert_array_equal(edge_labels(light), expected)
    assert (gradient_magnitude(light).argmax(axis=1) == 10).all()
    assert not edge_labels(np.full((21, 20), 0.5)).any()


def test_labels_refuse_colour():
    with pytest.raises(ValueError, match=r"light: expected shape \(H, W\)"):
        edge_labels(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="light: expected finite values"):
        edge_labels(np.full((4, 4), 2.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two LMDBs of photos of several sizes, one of them grey and one broken."""
    path = tmp_path_factory.mktemp("edges")
    photos = []
    for index, pixels in enumerate(
        (skimage.data.coffee(), skimage.data.chelsea()[:100, :50], skimage.data.camera())
    ):
        photos.append(path / f"{index}.png")
        Image.fromarray(pixels).save(photos[-1])
    photos.insert(1, path / "broken.png")
    photos[1].write_text("not an image")
    skipped = write_edge_lmdbs(photos, path, 64)
    assert [photo.name for photo, _ in skipped] == ["broken.png"]
    assert write_edge_lmdbs(photos, path, 64) == []  # complete
    return path


@pytest.mark.slow
def test_the_two_lmdbs_stay_aligned(folder):
    keys = [key for key, _ in read_datums(folder / "lightness_lmdb")]
    assert keys == ["00000000_0.png", "00000002_1.png", "00000003_2.png"]
    assert [key for key, _ in read_datums(folder / "edges_lmdb")] == keys
    squares = list(read_squares(folder))
    for light, labels in squares:
        assert light.shape == labels.shape == (64, 64)
        assert light.dtype == np.float32 and labels.dtype == bool
        # The label is made before the lightness is rounded to 8 bit, which moves few of them.
        assert (edge_labels(light) == labels).mean() > 0.98


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "broken.png").write_text("not an image")
    with pytest.raises(ImageError, match="at least one photo.*not an image that can be read"):
        write_edge_lmdbs([tmp_path / "broken.png"], tmp_path / "out", 64)


def test_training_reads_label_and_lightness_of_the_same_place(folder, tmp_path):
    """What caffe reads is what was written, the target is the label at the nearest pixel, and the
    deploy net gives the training net's logits at the pixels of its locations."""
    path = tmp_path / "train.prototxt"
    net = EdgeDetector().training_net(
        TrainingOptions(str(folder), crop=64, batch=3, locations=512), "train"
    )
    path.write_text(text_format.MessageToString(net))
    caffe.set_mode_cpu()
    caffe.set_random_seed(1)
    sparse = caffe.Net(str(path), caffe.TEST)
    for layer in sparse.params.values():  # the filler's zero biases would hide a missing one
        layer[1].data[...] = 0.01
    sparse.forward()
    squares = list(read_squares(folder))
    for index, (light, labels) in enumerate(squares):
        np.testing.assert_allclose(sparse.blobs["data"].data[index, 0], light, atol=1e-6)
        np.testing.assert_array_equal(sparse.blobs["edges"].data[index, 0] > 0.5, labels)
        y, x = np.floor(sparse.blobs["locations"].data[index].T + 0.5).clip(0, 63).astype(int)
        target = sparse.blobs["target"].data.reshape(3, -1, 2)[index]
        np.testing.assert_array_equal(target, np.stack([~labels[y, x], labels[y, x]], axis=1))

    assert sum(level.channels for level in vgg16_levels("data..conv3_3")) == 1153
    sparse.save(str(tmp_path / "weights.caffemodel"))
    (tmp_path / "deploy.prototxt").write_text(
        text_format.MessageToString(EdgeDetector().deploy_net())
    )
    dense = predict_edges(
        tmp_path / "deploy.prototxt", tmp_path / "weights.caffemodel", [squares[0].light]
    )[0]
    grid = np.random.default_rng(0).integers(0, 64, (512, 2))
    sparse.blobs["locations"].data[0] = grid
    # From there on: the data layers would go on to the next batch and locations be drawn again.
    names = layer_names(sparse)
    sparse.forward(start=names[names.index("locations") + 1])
    logits = sparse.blobs["prediction"].data.reshape(3, -1, 2)[0]
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    np.testing.assert_allclose(dense[tuple(grid.T)], expected, atol=1e-5)  # another order of sums
