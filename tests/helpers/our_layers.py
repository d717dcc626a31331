"""The types of our layers, as their sources register them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def our_layers() -> list[str]:
    """Types in order, for tests that say they cover every layer."""
    sources = (ROOT / "caffe_layers/src/caffe/layers").glob("*.cpp")
    registered = (
        re.findall(
            r"^REGISTER_LAYER_CLASS\((\w+)\);", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        for path in sources
    )
    return sorted(name for names in registered for name in names)
