"""VGG-16-gray as a plain PyTorch program, for comparison; run with a Python that has PyTorch.

    python torch_backbone.py SIDE forward|backward WIDTH THREADS

prints PyTorch's version, then for each line that it reads runs one pass and prints its seconds. All
is as PyTorch's users have it fastest on a CPU: ``channels_last``, no gradients where none are needed.
Imports nothing of autocolor.
"""

from __future__ import annotations

import sys
import time

import torch

_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def backbone(width: float) -> torch.nn.Sequential:
    """Return conv1_1 to conv5_3 with ReLUs and the pooling between."""
    layers: list[torch.nn.Module] = []
    last = 1
    for number, block in enumerate(_CHANNELS):
        if number > 0:
            layers.append(torch.nn.MaxPool2d(2))
        for channels in block:
            scaled = max(1, round(width * channels))
            layers += [torch.nn.Conv2d(last, scaled, 3, padding=1), torch.nn.ReLU(inplace=True)]
            last = scaled
    return torch.nn.Sequential(*layers).to(memory_format=torch.channels_last)


def main() -> None:
    """Answer each line of the standard input with the seconds of one pass."""
    side, kind, width, threads = sys.argv[1:5]
    torch.manual_seed(0)
    torch.set_num_threads(int(threads))
    net = backbone(float(width))
    photo = torch.rand(1, 1, int(side), int(side)).to(memory_format=torch.channels_last)
    print(f"PyTorch {torch.__version__.split('+')[0]}", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        if kind == "forward":
            with torch.inference_mode():
                net(photo)
        else:
            photo.requires_grad_(True)
            net.zero_grad(set_to_none=True)
            photo.grad = None
            out = net(photo)
            out.backward(torch.full_like(out, 1e-3))
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
