"""What a colorizer can predict: the variants of Table 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autocolor.core.constants import BINS, JOINT_BINS
from autocolor.core.errors import InputError


@dataclass(frozen=True)
class Variant:
    """A kind of prediction."""

    name: str  #: In manifests and on command lines
    #: Blobs of the deploy net: ``hue``, ``chroma``, ``a`` and ``b``, or both of Lab as ``ab``
    outputs: tuple[str, ...]
    bins: int  #: K of the paper, for each colour channel; 0 if colours themselves are predicted
    #: How the paper found colours to be best taken from the histograms (section 3.3)
    default_method: str = ""

    @property
    def is_histogram(self) -> bool:
        """Whether it predicts histograms, that can be decoded, biased and hinted."""
        return self.bins > 0

    @property
    def has_hue(self) -> bool:
        """Whether it predicts hue and chroma, and not Lab."""
        return "hue" in self.outputs

    @property
    def is_joint(self) -> bool:
        """Whether one histogram counts pairs of bins: index (bin of a) * K + (bin of b)."""
        return self.is_histogram and len(self.outputs) == 1

    def channels(self, bins: int) -> int:
        """Channels of each output of a model with as many bins for each colour channel."""
        if not self.is_histogram:
            return 2
        return bins * bins if self.is_joint else bins

    def bins_of(self, channels: int) -> int:
        """Bins for each colour channel of a model whose histograms have as many channels."""
        return math.isqrt(channels) if self.is_joint else channels


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("hue_chroma", ("hue", "chroma"), BINS, "median"),
        Variant("lab_marginal", ("a", "b"), BINS, "expectation"),
        Variant("lab_joint", ("ab",), JOINT_BINS, "expectation"),
        Variant("lab_l2", ("ab",), 0),
    )
}
"""By name: histograms of hue and chroma (Eq. 3), of a and b, of a x b (Eq. 2), and a and b (Eq. 1)."""


def find_variant(name: str) -> Variant:
    """Return a variant by its name."""
    if name not in tuple(VARIANTS):  # what is read from a file need not be hashable
        raise InputError("variant", f"expected one of {', '.join(VARIANTS)}, got {name!r}")
    return VARIANTS[name]
