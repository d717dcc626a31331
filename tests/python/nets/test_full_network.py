"""The paper's whole network: 12,417 channels, 147 million parameters.

It takes gigabytes, so it runs in child processes, which are this file run as a script.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

pytestmark = [pytest.mark.alone, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]


def train_once(folder):
    """One forward and backward pass at 256 x 256 with 128 locations; prints what it took."""
    import caffe
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    from autocolor.nets.colorization import ColorizationNet, TrainingOptions

    side = 256
    described = ColorizationNet().training_net(TrainingOptions("x", batch=1, crop=side), "train")
    net_parameter = caffe_pb2.NetParameter(name="full")
    layer = net_parameter.layer.add(name="image", type="Input")
    layer.top.append("image")
    layer.input_param.shape.add().dim.extend((1, 3, side, side))
    net_parameter.layer.extend(layer for layer in described.layer if layer.name != "image")
    path = Path(folder) / "net.prototxt"
    path.write_text(text_format.MessageToString(net_parameter))
    caffe.set_mode_cpu()
    caffe.set_random_seed(1)
    net = caffe.Net(str(path), caffe.TRAIN)
    net.blobs["image"].data[...] = np.random.default_rng(0).random((1, 3, side, side))
    start = time.perf_counter()
    net.forward()
    forward = time.perf_counter()
    net.backward()
    end = time.perf_counter()
    finite = all(np.isfinite(blob.diff).all() for blobs in net.params.values() for blob in blobs)
    moving = [name for name, blobs in net.params.items() if np.any(blobs[0].diff)]
    json.dump(
        {
            "hypercolumns": net.blobs["hypercolumn"].data.shape,
            "loss": {name: float(net.blobs[name].data) for name in net.outputs},
            "finite": bool(finite and np.isfinite(net.blobs["conv1_1"].diff).all()),
            "layers": len(net.params),
            "layers_with_gradient": len(moving),
            "forward_s": forward - start,
            "backward_s": end - forward,
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        },
        sys.stdout,
    )


def test_forward_and_backward_of_the_full_network(tmp_path, capsys):
    process = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=True
    )
    found = json.loads(process.stdout)
    with capsys.disabled():
        print(
            f" 12,417 channels at 256 x 256 with 128 locations: forward {found['forward_s']:.1f} s, "
            f"backward {found['backward_s']:.1f} s, peak {found['peak_gb']:.2f} GB ",
            end="",
        )
    assert found["hypercolumns"] == [128, 12417]
    assert found["finite"]
    assert found["layers_with_gradient"] == found["layers"] == 18  # 13 conv, fc6, fc7, three heads
    assert all(np.isfinite(loss) for loss in found["loss"].values())
    # Parameters and gradients alone take 1.2 GB.
    assert 1.2 < found["peak_gb"] < 4


def released_weights(rng):
    """Random weights with the names and shapes of the authors' released file."""
    from autocolor.nets.colorization import ColorizationNet
    from autocolor.nets.surgery import convert_names, net_shapes

    weights = {}
    for name, (shape, bias) in net_shapes(ColorizationNet().deploy_net()).items():
        # He's scale keeps activations of order one through 16 rectified layers.
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        weights[name] = (
            rng.standard_normal(shape, dtype=np.float32) * scale,
            rng.standard_normal(bias, dtype=np.float32) * np.float32(0.1),
        )
    return convert_names(weights, "release", 4)


def convolve(image, weight, bias, pad):
    """(C, H, W) with (O, C, k, k), as the definition says."""
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(padded, weight.shape[2:], axis=(1, 2))
    return np.tensordot(weight, windows, ([1, 2, 3], [0, 3, 4])) + bias[:, None, None]


def bilinear_deconvolution(image, factor):
    """Upsample (C, H, W) as a bilinear Deconvolution does, with zeros around the map."""

    def matrix(size):
        position = (np.arange(size * factor) + 0.5) / factor - 0.5
        return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size))).astype(np.float32)

    return np.einsum(
        "yi,cij,xj->cyx", matrix(image.shape[1]), image, matrix(image.shape[2]), optimize=True
    )


def average_pool(image, factor):
    channels, height, width = image.shape
    shape = (channels, height // factor, factor, width // factor, factor)
    return image.reshape(shape).mean(axis=(2, 4))


def softmax(logits):
    exponential = np.exp(logits - logits.max(axis=0))
    return exponential / exponential.sum(axis=0)


def authors_graph(image, weights):
    """Hue and chroma histograms (32, H/4, W/4) of the authors' deploy net (facts in DESIGN.md)."""
    levels, last, scale = [average_pool(image, 4)], image, 1
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for index in range(1, count + 1):
            last = np.maximum(0, convolve(last, *weights[f"conv{block}_{index}"], 1))
            if scale < 4:
                levels.append(average_pool(last, 4 // scale))
            else:
                levels.append(bilinear_deconvolution(last, scale // 4))
        channels, height, width = last.shape
        last = last.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))
        scale *= 2
    for name, pad in (("fc6", 3), ("fc7", 0)):
        last = np.maximum(0, convolve(last, *weights[name], pad))
        levels.append(bilinear_deconvolution(last, 8))
    hidden = np.maximum(0, convolve(np.concatenate(levels), *weights["h_fc1"], 0))
    return [
        softmax(convolve(hidden, *weights[name], 0)) for name in ("prediction_h", "prediction_c")
    ]


def compare_with_release(folder):
    """Prints how our deploy nets differ from the authors' graph, at the border and inside."""
    import caffe
    from google.protobuf import text_format

    from autocolor.nets.colorization import ColorizationNet
    from autocolor.nets.weights_io import write_weights

    folder, side, border = Path(folder), 64, 4
    rng = np.random.default_rng(0)
    image = rng.random((1, side, side), dtype=np.float32)
    weights = released_weights(rng)
    write_weights(folder / "autocolorize.caffemodel.h5", weights, "release")
    subprocess.run(
        [
            sys.executable,
            ROOT / "tools/convert_weights.py",
            "convert",
            "--names",
            "ours",
            "--from",
            folder / "autocolorize.caffemodel.h5",
            "--out",
            folder / "ours.caffemodel.h5",
        ],
        check=True,
        stdout=sys.stderr,
    )
    expected = authors_graph(image, weights)
    del weights
    caffe.set_mode_cpu()
    found = {}
    for name, average_pooling in (("pooled", True), ("sampled", False)):
        path = folder / f"{name}.prototxt"
        deploy = ColorizationNet().deploy_net(4, average_pooling=average_pooling)
        path.write_text(text_format.MessageToString(deploy))
        net = caffe.Net(str(path), caffe.TEST, weights=str(folder / "ours.caffemodel.h5"))
        net.blobs["data"].reshape(1, 1, side, side)
        net.blobs["data"].data[0] = image
        net.forward()
        difference = np.max(
            [
                np.abs(net.blobs[blob].data[0] - histogram).max(axis=0)
                for blob, histogram in zip(("hue", "chroma"), expected, strict=True)
            ],
            axis=0,
        )
        inside = difference[border:-border, border:-border]
        found[name] = {"inside": float(inside.max()), "anywhere": float(difference.max())}
    json.dump({"largest": float(max(h.max() for h in expected)), **found}, sys.stdout)


def test_released_weights_give_the_histograms_of_the_authors_graph(tmp_path, capsys):
    """Inside, with their average pooling, as float allows; what differs elsewhere is printed."""
    process = subprocess.run(
        [sys.executable, __file__, str(tmp_path), "release"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(process.stdout)
    with capsys.disabled():
        print(
            f" authors' graph, probabilities up to {found['largest']:.3f}: pooled differs by "
            f"{found['pooled']['inside']:.1e} inside and {found['pooled']['anywhere']:.3f} at the "
            f"border, sampled by {found['sampled']['inside']:.3f} and "
            f"{found['sampled']['anywhere']:.3f} ",
            end="",
        )
    assert found["pooled"]["inside"] < 1e-4
    # Zeros around their maps, and samples instead of averages, are other functions.
    assert found["pooled"]["anywhere"] > 1e-3
    assert found["sampled"]["inside"] > 1e-3


if __name__ == "__main__":
    if sys.argv[2:] == ["release"]:
        compare_with_release(sys.argv[1])
    else:
        train_once(sys.argv[1])
