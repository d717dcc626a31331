"""The bytes that each CUDA kernel of ours moves at least."""

from __future__ import annotations

import numpy as np

IMAGES, LOCATIONS, BINS = 4, 128, 32
_SECTOR = 8  # floats of the 32 bytes that a GPU's memory moves at least


def _touched_floats(side: int, images: int, locations: int) -> int:
    """Floats in the 32-byte sectors that random locations touch in all levels, counted once."""
    from autocolor.nets.vgg16 import vgg16_levels

    rng = np.random.default_rng(0)
    total = 0
    for level in vgg16_levels():
        size = side // level.scale
        for _ in range(images):
            at = rng.uniform(-0.5, side - 0.5, (locations, 2))
            cell = np.clip((at - level.offset) / level.scale, 0, size - 1).astype(int)
            rows = np.minimum(cell[:, :1] + np.array([0, 0, 1, 1]), size - 1)
            columns = np.minimum(cell[:, 1:] + np.array([0, 1, 0, 1]), size - 1)
            sectors = np.unique((rows * size + columns) // _SECTOR)
            total += len(sectors) * _SECTOR * level.channels
    return total


def kernel_traffic(side: int) -> dict[str, int]:
    """Return the bytes that each kernel moves at least, for `IMAGES` images and `LOCATIONS` locations each."""
    from autocolor.nets.vgg16 import vgg16_levels

    images, locations, bins = IMAGES, LOCATIONS, BINS
    rows, pixels = images * locations, images * side * side
    channels = sum(level.channels for level in vgg16_levels())
    maps = images * sum(level.channels * (side // level.scale) ** 2 for level in vgg16_levels())
    touched, columns = _touched_floats(side, images, locations), rows * channels
    outputs = 1024 * (side // 4) ** 2
    return {
        "LocateCells, all levels": 4 * rows * (2 + 8) * 16,
        "GatherHypercolumn, all levels": 4 * (touched + columns),
        "zero-fill and ScatterHypercolumn, all levels": 4 * (maps + 2 * touched + columns),
        "ScatterHypercolumnBlock (deterministic), all levels": 4 * (maps + 2 * touched + columns),
        f"UpsampleValue, conv5 to stride 4, one image of {side}²": 4
        * (1024 * (side // 16) ** 2 + 2 * outputs),
        f"UpsampleAdjointValue, the same, one image of {side}²": 4
        * (1024 * (side // 16) ** 2 + outputs),
        f"StartFromBias, stride 4, one image of {side}²": 4 * outputs,
        f"Rectify, stride 4, one image of {side}²": 8 * outputs,
        "SplitColor": 4 * pixels * 6,
        "WindowHistogram, region 1": 4 * rows * (2 + _SECTOR + bins),
        "SoftmaxDivergence": 4 * rows * (3 * bins + 3),
        "SoftmaxDivergenceGradient": 4 * rows * (3 * bins + 2),
    }
