"""Compare the ways to take a colour from predicted histograms on colour photos (Table 5)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autocolor.core.errors import AutocolorError
from autocolor.imaging.images import find_photos
from autocolor.paper.inference_table import (
    compare_methods,
    inference_markdown,
    write_inference_table,
)
from autocolor.runtime.colorizer import Colorizer


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
example:
  python tools/paper/inference_table.py --model build/demo/model --photos build/data/photos/test \\
      --out build/demo/inference

The network runs once for each photo. Writes inference.md, inference.json and inference.png into
OUT. Photos that cannot be read or have no colour are skipped and listed.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="folder with model.json")
    parser.add_argument(
        "--photos", type=Path, required=True, help="folder of photos, searched with its subfolders"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="factor on chroma, or on a and b (default: 1, as in the paper)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, gpu or gpu:1 (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        if not arguments.photos.is_dir():
            raise ValueError(f"--photos {arguments.photos}: no such folder")
        if arguments.seed < 0:
            raise ValueError(f"--seed: expected at least 0, received {arguments.seed}")
        table = compare_methods(
            Colorizer(arguments.model, arguments.device),
            find_photos(arguments.photos, recursive=True),
            strength=arguments.strength,
            seed=arguments.seed,
        )
        write_inference_table(table, arguments.out)
    except (AutocolorError, ValueError, OSError) as error:
        print(f"inference_table: error: {error}", file=sys.stderr)
        return 1
    print(inference_markdown(table), end="")
    print(f"report in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
