"""Train a colorizer for a number of minutes; score it and the shipped model on held-out photos.

The last part of tools/demo.sh, which prepares the data that this reads.
"""

from __future__ import annotations

import html
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from autocolor.core.programs import command_parser, run_program
from autocolor.data.photo_lists import list_photos
from autocolor.evaluation.evaluate import GREY, Evaluation, evaluate
from autocolor.evaluation.report import metrics_table, write_report
from autocolor.evaluation.strength import StrengthChoice, choose_strength
from autocolor.imaging.images import find_photos
from autocolor.nets.catalogue import DEMO_MODEL, all_models
from autocolor.nets.colorization import ColorizationNet
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.shipped import shipped_model_folder
from autocolor.training.budget import train_for
from autocolor.training.head import save_model
from autocolor.training.log import Record

_SHIPPED, _TRAINED = "shipped model", "trained here"
_STRENGTHS = tuple(step / 20 for step in range(1, 31))
# Smaller one of the photos by which the strength is chosen: some have 15 million pixels.
_SIDE = 256
# Chosen on the validation photos: with so few photos the head overfits in minutes without dropout on
# the hypercolumn itself and a strong decay.
_HYPERCOLUMN_DROPOUT = 0.5
_WEIGHT_DECAY = 5e-2
_LEARNING_RATE = 2e-2


def train(
    data: Path, out: Path, minutes: float, *, replace_earlier: bool
) -> tuple[Path, list[Record]]:
    """Train for `minutes`; returns the caffemodel that validates best, and the records."""
    model = all_models()[DEMO_MODEL].in_folder(out)
    model = replace(
        model,
        training=replace(
            model.training,
            source=str(data / "train_lmdb"),
            backbone_rate=0,
            hypercolumn_dropout=_HYPERCOLUMN_DROPOUT,
        ),
        validation_source=str(data / "validation_lmdb"),
    )
    validation_images = len(list_photos(data / "validation_lmdb.txt"))
    solver = replace(
        model.solver,
        test_iterations=max(1, validation_images // model.training.batch),
        base_learning_rate=_LEARNING_RATE,
        weight_decay=_WEIGHT_DECAY,
    )
    return train_for(
        60 * minutes,
        out,
        replace(model, solver=solver),
        weights=data / "vgg16_gray_balanced.caffemodel",
        replace_earlier=replace_earlier,
    )


def summarize(evaluation: Evaluation, name: str) -> str:
    """Return the scores of a method against no colorization, in words."""
    model, grey = evaluation.scores[name], evaluation.scores[GREY]
    return (
        f"αβ RMSE {model.rmse:.4f} against {grey.rmse:.4f} without colour "
        f"({100 * (model.rmse / grey.rmse - 1):+.1f} %), PSNR {model.psnr:.2f} dB against "
        f"{grey.psnr:.2f} dB ({model.psnr - grey.psnr:+.2f} dB), on {len(evaluation.photos)} "
        "held-out photos"
    )


def write_page(out: Path, summaries: list[str], table: str, choice: StrengthChoice) -> None:
    """One HTML page that shows everything in `out`."""
    rows = "".join(
        f"<tr><td>{row.strength:.2f}</td><td>{row.scores.rmse:.4f}</td>"
        f"<td>{row.scores.psnr:.2f}</td></tr>"
        for row in choice.candidates
    )
    paragraphs = "".join(f"<li>{html.escape(line)}</li>" for line in reversed(summaries))
    (out / "index.html").write_text(
        f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>autocolor demo</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}}
img{{max-width:100%}}table{{border-collapse:collapse}}td,th{{padding:.2em 1em;text-align:right}}
pre{{background:#f4f4f4;padding:1em;overflow-x:auto}}</style>
<h1>autocolor demo</h1>
<h2>Held-out photos</h2>
<p>From left: grey, the model that comes with autocolor, the one trained here for minutes, original.</p>
<img src="gallery.png" alt="Grey input, colorizations and original of some held-out photos">
<ul>{paragraphs}</ul><pre>{html.escape(table)}</pre>
<h2>Errors</h2><img src="errors.png" alt="Share of pixels by their largest error">
<img src="psnr.png" alt="Histogram of the photos' PSNR">
<h2>Worst photos</h2><img src="worst.png" alt="Photos with the largest errors">
<h2>Training here</h2><img src="loss.png" alt="Training and validation losses by iteration">
<h2>Strength of the colour, chosen on validation photos</h2>
<p>Chosen: {choice.strength:.2f}. Grey: {choice.grey.rmse:.4f} and {choice.grey.psnr:.2f} dB.</p>
<table><tr><th>strength</th><th>RMSE</th><th>PSNR</th></tr>{rows}</table></html>
""",
        encoding="utf-8",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=2, help="training time (default: 2)")
    parser.add_argument(
        "--data", type=Path, default=Path("build/data"), help="prepared data (default: build/data)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/demo"),
        help="folder for the results (default: build/demo)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="remove the training of an earlier demo in OUT, and replace its results",
    )
    arguments = parser.parse_args(argv)
    if not 0 < arguments.minutes < 10**6:
        parser.error("--minutes: expected a positive number")
    out: Path = arguments.out
    training = out / "training"
    caffemodel, records = train(
        arguments.data, training, arguments.minutes, replace_earlier=arguments.force
    )
    shutil.copyfile(training / "losses.png", out / "loss.png")

    network = cast("ColorizationNet", all_models()[DEMO_MODEL].network)
    manifest = save_model(out / "model", network, DEMO_MODEL, caffemodel)
    print("choosing the strength of the colour on the validation photos")
    validation = list_photos(arguments.data / "validation_lmdb.txt")
    choice = choose_strength(Colorizer(out / "model"), validation, _STRENGTHS, smaller_side=_SIDE)
    manifest = replace(manifest, strength=choice.strength)
    manifest.save(out / "model")

    print("scoring on the held-out photos")
    photos = find_photos(arguments.data / "photos" / "test", recursive=True)
    shipped = Colorizer(shipped_model_folder())
    evaluation = evaluate(
        {_SHIPPED: shipped.colorize, _TRAINED: Colorizer(out / "model").colorize},
        photos,
        worst_size=4,
    )
    strengths = {_SHIPPED: shipped.manifest.strength, _TRAINED: manifest.strength}
    write_report(evaluation, out, methods={name: {"strength": s} for name, s in strengths.items()})
    iterations = max(record.iteration for record in records)
    summaries = [
        f"{what}: {summarize(evaluation, name)}"
        for name, what in (
            (_TRAINED, f"trained here, {iterations} iterations, strength {manifest.strength:.2f}"),
            (_SHIPPED, "the model that comes with autocolor"),
        )
    ]
    write_page(out, summaries, metrics_table(evaluation), choice)
    print(f"see {out / 'index.html'}")
    print("\n".join(summaries))
    return 0


if __name__ == "__main__":
    run_program(main)
