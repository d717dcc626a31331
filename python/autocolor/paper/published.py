"""Numbers that the paper reports, and tables of ours beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A row of one of the paper's tables."""

    rmse: float  #: In alpha-beta units (A.3)
    psnr: float | None = None  #: In dB; Tables 3 and 4 give none


TABLE_1 = {
    "no colorization": Published(0.343, 22.98),
    "Lab, L2": Published(0.318, 24.25),
    "Lab, K = 32": Published(0.321, 24.33),
    "Lab, K = 16 × 16": Published(0.328, 24.30),
    "hue/chroma, K = 32": Published(0.342, 23.77),
    "+ chromatic fading": Published(0.299, 24.45),
}
"""System variants, on ImageNet/cval1k."""

TABLE_2 = {
    "data..fc7": Published(0.299, 24.45),
    "data..conv5_3": Published(0.306, 24.13),
    "conv4_1..fc7": Published(0.302, 24.45),
    "conv5_1..fc7": Published(0.307, 24.38),
    "fc6..fc7": Published(0.323, 24.22),
    "fc7": Published(0.324, 24.19),
}
"""Levels of the hypercolumn, on ImageNet/cval1k."""

TABLE_3 = {
    "no colorization": Published(0.285),
    "Welsh et al.": Published(0.353),
    "Deshpande et al.": Published(0.262),
    "Deshpande et al. + GT Scene": Published(0.254),
    "ours": Published(0.211),
}
"""Competing methods, on SUN-6."""

TABLE_4 = {
    "Deshpande et al. (C)": Published(0.236),
    "Deshpande et al. (Q)": Published(0.211),
    "ours (Q)": Published(0.178),
    "ours (E)": Published(0.165),
}
"""Methods that are given the true histogram, on SUN-6."""

TABLE_5 = {
    "sample": Published(0.426, 21.41),
    "mode": Published(0.304, 23.90),
    "expectation": Published(0.374, 23.13),
    "expectation + CF": Published(0.307, 24.35),
    "median": Published(0.342, 23.77),
    "median + CF": Published(0.299, 24.45),
}
"""Inference methods of hue/chroma, on ImageNet/cval1k; CF is chromatic fading."""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    name: str  #: As the paper calls it, or our own name for what it does not have
    key: str  #: Of the method: see :mod:`autocolor.paper.experiments`
    published: Published | None = None  #: The paper's numbers


@dataclass(frozen=True)
class Table:
    """A table of the paper, as far as it can be made here."""

    name: str  #: Such as ``table1``
    title: str
    source: str  #: The photos that the paper's numbers are from
    rows: Sequence[Row]  #: "No colorization" first
    missing: str = ""  #: What the paper's table has and ours has not, and why; may be empty
