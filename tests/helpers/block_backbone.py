"""A stand-in for VGG-16 in tests: statistics of blocks of pixels, on the grids of its levels."""

from __future__ import annotations

import numpy as np


class BlockBackbone:
    """Means, deviations and places of blocks; as many channels as asked for, by random mixtures."""

    def __init__(self, channels: int = 48) -> None:
        self._mixture = np.random.default_rng(7).normal(size=(5, channels))

    def features(self, lightness: np.ndarray) -> dict[str, np.ndarray]:
        assert lightness.shape[0] % 32 == 0 and lightness.shape[1] % 32 == 0
        levels = {}
        for name, side in (("conv3_3", 4), ("conv4_3", 8), ("conv5_3", 16)):
            height, width = (length // side for length in lightness.shape)
            blocks = lightness.reshape(height, side, width, side).astype(np.float64)
            y, x = np.mgrid[:height, :width] * side / 64
            parts = [blocks.mean((1, 3)), blocks.std((1, 3)), np.ones_like(y), y, x]
            mixed = np.maximum(np.stack(parts, axis=-1) @ self._mixture, 0)
            levels[name] = np.moveaxis(mixed, -1, 0).astype(np.float32)
        return levels
