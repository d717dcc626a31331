"""The table of variants."""

from __future__ import annotations

import pytest

from autocolor.core.errors import InputError
from autocolor.core.variants import VARIANTS, find_variant


def test_channels_of_the_outputs() -> None:
    channels = {name: (v.channels(10), len(v.outputs)) for name, v in VARIANTS.items()}
    assert channels == {
        "hue_chroma": (10, 2),
        "lab_marginal": (10, 2),
        "lab_joint": (100, 1),
        "lab_l2": (2, 1),
    }
    for variant in VARIANTS.values():
        if variant.is_histogram:
            assert variant.bins_of(variant.channels(10)) == 10


def test_what_they_predict() -> None:
    assert [v.name for v in VARIANTS.values() if v.has_hue] == ["hue_chroma"]
    assert [v.name for v in VARIANTS.values() if v.is_joint] == ["lab_joint"]
    assert [v.name for v in VARIANTS.values() if not v.is_histogram] == ["lab_l2"]
    assert [v.bins for v in VARIANTS.values()] == [32, 32, 16, 0]


@pytest.mark.parametrize("name", ["lab", "", ["lab_l2"]])
def test_unknown_ones_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="variant: expected one of hue_chroma, .*, got"):
        find_variant(name)
