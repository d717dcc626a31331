"""What the web page may ask for, read from JSON and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autocolor.control.edits import TRANSFERS
from autocolor.core.errors import InputError
from autocolor.histograms.decode import LOOKS

LARGEST_STRENGTH = 3.0
LARGEST_LEAN = 4.0
"""In nats; see :func:`autocolor.control.biases.lean_biases`."""

MOST_HINTS = 32
LARGEST_RADIUS = 0.25
"""Of a hint, as a part of the photo's larger side."""
MOST_VARIATIONS = 12

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class PlacedHint:
    """A colour at a place of the photo, whatever size it is rendered at."""

    #: In [0, 1]. From the photo's left and upper border to its right and lower one.
    x: float
    y: float
    rgb: tuple[float, float, float]  #: (R, G, B) in [0, 1]
    #: Of the disc that it covers, as a part of the photo's larger side; that of a click unless
    #: given (`autocolor.control.hints.RADIUS`)
    radius: float | None = None


@dataclass(frozen=True)
class Controls:
    """The edits of one photo."""

    #: Factor on the chroma; the model's, or 1 with the colours of a reference, unless given
    strength: float | None = None
    #: Hue in turns that the colours lean towards, and how much, in nats
    hue: float = 0.0
    lean: float = 0.0
    hints: tuple[PlacedHint, ...] = ()
    reference: str | None = None  #: Id of the photo whose colours to take
    transfer: str = TRANSFERS[0]  #: {"energy", "quantile"}
    #: {"faithful", "vivid"}. :func:`autocolor.histograms.decode.default_look` unless given.
    look: str | None = None


def parse_controls(content: Any) -> Controls:
    """Return the controls that a JSON value says; nothing unknown is passed over."""
    if not isinstance(content, dict):
        raise InputError("controls", f"expected an object, got {_short(content)}")
    known = {"strength", "hue", "lean", "hints", "reference", "transfer", "look"}
    if not content.keys() <= known:
        unknown = ", ".join(sorted(str(key) for key in content.keys() - known))
        raise InputError("controls", f"expected {', '.join(sorted(known))}, got {unknown}")
    strength = content.get("strength")
    reference = content.get("reference")
    if reference is not None and not isinstance(reference, str):
        raise InputError("reference", f"expected the id of a photo, got {_short(reference)}")
    transfer = content.get("transfer", TRANSFERS[0])
    if transfer not in TRANSFERS:
        expected = ", ".join(TRANSFERS)
        raise InputError("transfer", f"expected one of {expected}, got {_short(transfer)}")
    look = content.get("look")
    if look not in (None, *LOOKS):
        raise InputError("look", f"expected {' or '.join(LOOKS)}, got {_short(look)}")
    hints = content.get("hints", [])
    if not isinstance(hints, list) or len(hints) > MOST_HINTS:
        raise InputError("hints", f"expected a list of at most {MOST_HINTS}")
    return Controls(
        None if strength is None else number(content, "strength", 0, LARGEST_STRENGTH),
        number({"hue": 0, **content}, "hue", 0, 1),
        number({"lean": 0, **content}, "lean", 0, LARGEST_LEAN),
        tuple(_hint(hint) for hint in hints),
        reference,
        transfer,
        look,
    )


def number(content: Mapping[str, Any], key: str, low: float, high: float) -> float:
    """Return a number of `content` within [low, high]."""
    value = content.get(key)
    # A bool is an int to Python.
    valid = type(value) in (int, float) and math.isfinite(value) and low <= value <= high  # type: ignore[arg-type, operator]
    if not valid:
        raise InputError(key, f"expected a number in [{low:g}, {high:g}], got {_short(value)}")
    return float(value)  # type: ignore[arg-type]


def _hint(content: Any) -> PlacedHint:
    if not isinstance(content, dict) or content.keys() - {"radius"} != {"x", "y", "color"}:
        raise InputError("hint", f"expected x, y and color, got {_short(content)}")
    color = content["color"]
    if not isinstance(color, str) or not _COLOR.fullmatch(color):
        raise InputError("hint", f"expected a color #RRGGBB, got {_short(color)}")
    red, green, blue = (level / 255 for level in bytes.fromhex(color[1:]))
    radius = None
    if content.get("radius") is not None:
        radius = number(content, "radius", 0, LARGEST_RADIUS)
    x, y = number(content, "x", 0, 1), number(content, "y", 0, 1)
    return PlacedHint(x, y, (red, green, blue), radius)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
