"""Score the methods that the paper compares itself with, on colour photos.

Automatic methods learn from reference photos; (Q) and (C) of Table 4 recolour the result of one of
them by the true histogram. docs/baselines.md explains the methods.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autocolor.backbone import Backbone
from autocolor.baselines import BASELINES, HISTOGRAM_TRANSFERS, NEED_BACKBONE, load_baseline
from autocolor.caffe_runtime import CaffeError
from autocolor.color import lightness
from autocolor.evaluation import read_color
from autocolor.files import atomic_path
from autocolor.images import ImageError, find_photos, resize, to_uint8
from autocolor.metrics import ColorMetrics
from autocolor.model_folder import ModelError
from autocolor.training import TrainingError

_SHEET_SIZE = (150, 200)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
examples:
  python tools/evaluate_baselines.py --references build/data/train_lmdb.txt \\
      --photos build/data/photos/test --side 256 --out build/baselines
  python tools/evaluate_baselines.py --references my_photos --photos others --methods mean welsh \\
      --out build/quick

The second needs no network. OUT gets scores.json, scores.md, a contact sheet (sheet.png) and what
was learnt (cache/), so that a second run is quick. Photos that cannot be read or have no colour are
skipped.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    either = "folder of photos, searched with its subfolders, or text file with a path a line"
    parser.add_argument("--references", type=Path, required=True, help=f"to learn from: {either}")
    parser.add_argument("--photos", type=Path, required=True, help=f"to score on: {either}")
    parser.add_argument("--methods", nargs="+", choices=BASELINES, default=list(BASELINES))
    parser.add_argument(
        "--histogram-of",
        choices=BASELINES,
        metavar="METHOD",
        help="automatic result that (Q) and (C) recolour (default: the last of --methods)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path("build/data/vgg16_gray.caffemodel"),
        help=f"VGG-16-gray for {' and '.join(NEED_BACKBONE)} (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu or gpu[:NUMBER] (default: cpu)")
    parser.add_argument(
        "--side",
        type=int,
        metavar="PIXELS",
        help="reduce photos to this smaller side first (default: full resolution)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args(argv)
    if arguments.side is not None and arguments.side < 1:
        parser.error("--side: expected at least 1")
    try:
        _run(arguments)
    except (ModelError, CaffeError, TrainingError, ValueError, OSError) as error:
        print(f"evaluate_baselines: error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    references, photos = list_photos(arguments.references), list_photos(arguments.photos)
    names = arguments.methods
    of = arguments.histogram_of or names[-1]
    needed = {*names, of} & set(NEED_BACKBONE)
    backbone = Backbone(arguments.weights, device=arguments.device) if needed else None
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    methods = {
        name: load_baseline(
            name, references, backbone=backbone, seed=arguments.seed, cache=out / "cache"
        )
        for name in dict.fromkeys([*names, of])
    }
    for name, method in methods.items():
        for path, reason in method.skipped:
            print(f"{name}: skipped reference {path}: {reason}", file=sys.stderr)

    metrics: dict[str, ColorMetrics] = {}
    seconds: dict[str, float] = {}
    skipped: list[str] = []
    sheet: list[np.ndarray] = []
    shown = set(np.linspace(0, len(photos) - 1, min(8, len(photos))).round().astype(int))
    for index, path in enumerate(tqdm(photos, unit="photo")):
        try:
            truth = read_color(path)
        except ImageError as error:
            skipped.append(str(error))
            continue
        if arguments.side is not None and min(truth.shape[:2]) > arguments.side:
            factor = arguments.side / min(truth.shape[:2])
            truth = resize(truth, (round(truth.shape[0] * factor), round(truth.shape[1] * factor)))
        light = lightness(truth)
        results = {}
        for name, method in methods.items():
            started = time.perf_counter()
            results[name] = method(light)
            seconds[name] = seconds.get(name, 0) + time.perf_counter() - started
        for name, transfer in HISTOGRAM_TRANSFERS.items():
            label = f"{of} + {name}"
            started = time.perf_counter()
            results[label] = transfer(results[of], truth)
            seconds[label] = seconds.get(label, 0) + time.perf_counter() - started
        for name, result in results.items():
            metrics.setdefault(name, ColorMetrics()).add(truth, result)
        if index in shown:
            row = [resize(image, _SHEET_SIZE) for image in (*results.values(), truth)]
            sheet.append(np.concatenate(row, axis=1))
    if not metrics:
        reason = f"; the first was skipped: {skipped[0]}" if skipped else ""
        raise ValueError(f"--photos: expected at least one colour photo, received none{reason}")
    for reason in skipped:
        print(f"skipped {reason}", file=sys.stderr)
    count = next(iter(metrics.values())).images
    rows = [
        {
            "method": name, "rmse": metric.scores().rmse, "psnr": metric.scores().psnr,
            "seconds": seconds[name] / count,
        }
        for name, metric in metrics.items()
    ]  # fmt: skip
    lines = ["| method | αβ RMSE | PSNR | s a photo |", "|---|---|---|---|"]
    lines += [
        "| {method} | {rmse:.4f} | {psnr:.2f} dB | {seconds:.2f} |".format(**row) for row in rows
    ]
    lines += ["", f"{count} photos, {len(skipped)} skipped, {len(references)} references"]
    table = "\n".join(lines) + "\n"
    content = {"photos": count, "skipped": skipped, "references": len(references), "rows": rows}
    with atomic_path(out / "scores.json") as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    with atomic_path(out / "scores.md") as partial:
        partial.write_text(table, encoding="utf-8")
    if sheet:
        _write_sheet(out / "sheet.png", np.concatenate(sheet), [*metrics, "truth"])
    print(table, end="")


def _write_sheet(path: Path, sheet: np.ndarray, labels: Sequence[str]) -> None:
    """Write the contact sheet with the methods' names above the columns."""
    from PIL import Image, ImageDraw

    margin = 20
    image = Image.new("RGB", (sheet.shape[1], sheet.shape[0] + margin), "white")
    image.paste(Image.fromarray(to_uint8(sheet)), (0, margin))
    draw = ImageDraw.Draw(image)
    for column, label in enumerate(labels):
        draw.text((column * _SHEET_SIZE[1] + 4, 4), label, fill="black")
    with atomic_path(path) as partial:
        image.save(partial)


def list_photos(path: Path) -> list[Path]:
    """Return the photos of a folder, or those that the lines of a text file name."""
    if path.is_dir():
        return find_photos(path, recursive=True)
    if not path.is_file():
        raise ValueError(f"{path}: no such folder or file")
    return [Path(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


if __name__ == "__main__":
    sys.exit(main())
