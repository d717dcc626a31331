"""The paper's whole network: 12,417 channels, 147 million parameters.

It takes gigabytes, so it runs in a child process, which is this file run as a script.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def train_once(folder):
    """One forward and backward pass at 256 x 256 with 128 locations; prints what it took."""
    import caffe
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    from autocolor.networks import Colorizer, TrainingOptions

    side = 256
    described = Colorizer().training_net(TrainingOptions("x", batch=1, crop=side), "train")
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
        print(f" 12,417 channels at 256 x 256 with 128 locations: forward {found['forward_s']:.1f} s, "
              f"backward {found['backward_s']:.1f} s, peak {found['peak_gb']:.2f} GB ", end="")  # fmt: skip
    assert found["hypercolumns"] == [128, 12417]
    assert found["finite"]
    assert found["layers_with_gradient"] == found["layers"] == 18  # 13 conv, fc6, fc7, three heads
    assert all(np.isfinite(loss) for loss in found["loss"].values())
    # Parameters and gradients alone take 1.2 GB.
    assert 1.2 < found["peak_gb"] < 4


if __name__ == "__main__":
    train_once(sys.argv[1])
