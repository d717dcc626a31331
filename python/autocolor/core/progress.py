"""Progress bars: a widget in a notebook that can show one, text anywhere else."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from tqdm import TqdmWarning

if TYPE_CHECKING or "ipykernel" not in sys.modules:
    from tqdm import tqdm as tqdm
else:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)  # without ipywidgets it is text there, too
        from tqdm.auto import tqdm as tqdm
