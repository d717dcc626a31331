"""How much arithmetic the paper's network data..fc7 is, which bounds what a faster algorithm can give."""

from __future__ import annotations

from dataclasses import dataclass

_HIDDEN, _OUTPUTS, _STRIDE = 1024, 64, 4  # of h_fc1, of both heads, and of the grid
# Of Winograd's algorithm on tiles of 4 × 4: 36 multiplications in the place of 144.
_WINOGRAD = 4


@dataclass(frozen=True)
class Arithmetic:
    """Multiplications and additions of one photo in GFLOP, by how they can be done."""

    convolutions: float  #: Of 3 × 3, where Winograd's algorithm serves
    products: float  #: fc6 and fc7, which are products of matrices
    head: float  #: h_fc1, projected at the levels' own resolution, and the heads: products
    dense_head: float  #: The same on hypercolumns that are written out

    @property
    def whole(self) -> float:
        """Without Winograd's algorithm."""
        return self.convolutions + self.products + self.head

    @property
    def least(self) -> float:
        """With it at its best."""
        return self.convolutions / _WINOGRAD + self.products + self.head


def network_arithmetic(side: int) -> Arithmetic:
    """Return that of a photo of `side` × `side` pixels, a multiple of 32, with histograms at stride 4."""
    from autocolor.nets.vgg16 import vgg16_levels

    levels = vgg16_levels()
    convolutions = products = head = 0.0
    channels = 0
    for before, level in zip((None, *levels), levels, strict=False):
        cells = (side // level.scale) ** 2
        if before is not None:
            kernel = 9 if level.name.startswith("conv") else 49 if level.name == "fc6" else 1
            work = 2 * kernel * before.channels * level.channels * cells
            if kernel == 9:
                convolutions += work
            else:
                products += work
        head += 2 * _HIDDEN * level.channels * min(cells, (side // _STRIDE) ** 2)
        channels += level.channels
    heads = 2 * _HIDDEN * _OUTPUTS * (side // _STRIDE) ** 2
    dense = 2 * _HIDDEN * channels * (side // _STRIDE) ** 2
    return Arithmetic(
        convolutions / 1e9, products / 1e9, (head + heads) / 1e9, (dense + heads) / 1e9
    )
