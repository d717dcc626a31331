"""An opened photo of the web page, without the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autocolor.control.hints import spread_hints
from autocolor.runtime.colorizer import Colorizer
from autocolor.web.controls import parse_controls
from autocolor.web.render import OpenPhoto, open_photo, preview

HINTS = [
    {"x": x, "y": y, "color": color}
    for x, y, color in (
        (0.4, 0.6, "#b03020"),
        (0.2, 0.2, "#3060c0"),
        (0.7, 0.3, "#40a040"),
        (0.8, 0.8, "#c0a040"),
    )
]


@pytest.fixture(scope="module")
def colorizer(model_folder: Path) -> Colorizer:
    return Colorizer(model_folder)


@pytest.fixture
def photo(colorizer: Colorizer, photo_folder: Path) -> OpenPhoto:
    return open_photo(colorizer, photo_folder / "astronaut.png", 10**6)


def test_a_slider_of_the_strength_does_not_spread_the_hints_again(
    photo: OpenPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    spreads = []

    def counted(*arguments: Any) -> Any:
        spreads.append(arguments)
        return spread_hints(*arguments)

    monkeypatch.setattr("autocolor.control.edits.spread_hints", counted)

    def shown(pixels: int = 64 * 64, **controls: Any) -> bytes:
        return preview(photo, parse_controls(controls), pixels, None)

    before = photo.bytes
    pictures = {shown(strength=0.1 + step / 10, hints=HINTS) for step in range(9)}
    assert len(pictures) == 9 and len(spreads) == 1
    assert photo.bytes > before  # counts for the cache of the worker
    shown(96 * 96, hints=HINTS)  # the finer preview, and back
    shown(hints=HINTS)
    assert len(spreads) == 2
    # Whatever else changes, they are spread anew.
    for changed in ({"hints": HINTS[:3]}, {"hints": HINTS, "lean": 1.0, "hue": 0.2}):
        remembered = shown(**changed)
        photo.hinted.clear()
        assert shown(**changed) == remembered
    assert len(spreads) == 6
