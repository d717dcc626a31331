"""Compare ways to take colours from the shipped model's histograms and write docs/looks.md.

The network runs once for each photo; its histograms are kept, so that a second run only decodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
from galleries import SIDE, row, sheet, shrink
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.files import atomic_path
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.photo_lists import add_photo_options, list_photos
from autocolor.data.photos import PhotoError
from autocolor.evaluation.evaluate import grey_image, spread
from autocolor.evaluation.image_errors import Truth, colorfulness, measure_errors
from autocolor.histograms.decode import LOOKS, VIVID_GAIN, DecodeOptions
from autocolor.histograms.estimators import VIVID_UNSURE
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.color import compose_rgb, lightness
from autocolor.imaging.images import find_photos, read_image, resize
from autocolor.imaging.joint_bilateral import joint_bilateral_upsample
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.shipped import FOLDER, WEIGHTS, shipped_manifest, shipped_model_folder

STRENGTHS = (0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0)
_TEXTURES = ("brick", "gravel", "moon", "page", "text")  # of scikit-image: flat and grey
_LEAST_COLOR = 0.6  # of the truth's colourfulness, at which decodings are compared


def annealed(temperature: float, prediction: Prediction) -> Prediction:
    """Raise histograms to the power 1/T, as Zhang et al. (2016) before they take a mean."""
    powers = (np.power(grid + 1e-8, 1 / temperature) for grid in prediction.outputs)
    outputs = tuple(power / power.sum(axis=-1, keepdims=True) for power in powers)
    return replace(prediction, outputs=outputs)


def coherent(prediction: Prediction) -> Prediction:
    """Filter the histograms, not the colours, with a joint bilateral filter led by the lightness."""
    height, width = prediction.outputs[0].shape[:2]
    guide = np.clip(resize(prediction.lightness, (height, width)), 0, 1)
    outputs = (
        joint_bilateral_upsample(grid, guide, guide, sigma_space=3, sigma_range=0.05, radius=5)
        for grid in prediction.outputs
    )
    return replace(prediction, outputs=tuple(outputs))


class Decoding(NamedTuple):
    """How hue and chroma are taken: a change of the histograms, and arguments of `hue_chroma`."""

    change: Callable[[Prediction], Prediction]
    arguments: Mapping[str, str]


_MEAN, _VIVID = {"chroma": "expectation"}, {"chroma": "expectation", "look": "vivid"}
DECODINGS = {
    "faithful": Decoding(lambda prediction: prediction, {}),
    "expectation": Decoding(lambda prediction: prediction, _MEAN),
    "annealed mean, T = 0.38": Decoding(partial(annealed, 0.38), _MEAN),
    "annealed mean, T = 0.15": Decoding(partial(annealed, 0.15), _MEAN),
    "most likely, coherent": Decoding(lambda found: annealed(0.15, coherent(found)), _MEAN),
    "vivid": Decoding(lambda prediction: prediction, _VIVID),
    "vivid, coherent": Decoding(coherent, _VIVID),
}


class Scores(NamedTuple):
    """Of one photo, or means over photos; `error` is the αβ error, a mean over pixels."""

    error: float
    psnr: float
    colorfulness: float


class Cache:
    """Histograms of the shipped model, a file for each photo."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = hashlib.sha256((FOLDER / WEIGHTS).read_bytes()).hexdigest()[:16]
        self._colorizer: Colorizer | None = None

    def predict(self, lightness: FloatArray) -> Prediction:
        """Return the prediction for a photo's lightness, from its file if there is one."""
        photo = hashlib.sha256(lightness.tobytes()).hexdigest()[:16]
        file = self._folder / f"{self._model}_{photo}.npz"
        if not file.exists():
            if self._colorizer is None:
                self._colorizer = Colorizer(shipped_model_folder())
            found = self._colorizer.predict(lightness)
            hue, chroma = (grid.astype(np.float16) for grid in found.outputs)
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(file) as unfinished, unfinished.open("wb") as stream:
                np.savez(stream, hue=hue, chroma=chroma, cells=found.cells_per_pixel)
        with np.load(file) as kept:
            outputs = kept["hue"].astype(np.float32), kept["chroma"].astype(np.float32)
            y, x = kept["cells"]
        return Prediction("hue_chroma", lightness, outputs, (float(y), float(x)), 1.0)


def draw(paths: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Return `count` of the photos, drawn at random, or all."""
    if not paths:
        raise PhotoError("--photos: expected photos, got none")
    order = np.random.default_rng(seed).permutation(len(paths))[:count]
    return [paths[number] for number in order]


Table = dict[str, list[Scores]]
"""Of each decoding, at each of `STRENGTHS`."""


def score(paths: Sequence[Path], cache: Cache) -> tuple[Table, Scores, float]:
    """Return the scores of all decodings, those of grey, and the photos' own colourfulness."""
    rows: dict[tuple[str, float], list[Scores]] = {}
    truths, pixels = [], []
    for path in tqdm(paths, unit="photo"):
        rgb = shrink(read_image(path).rgb)
        light, truth = lightness(rgb), Truth(rgb)
        truths.append(colorfulness(rgb))
        pixels.append(float(light.size))
        prediction = cache.predict(light)
        found = {("grey", 0.0): grey_image(light)}
        for name, (change, arguments) in DECODINGS.items():
            hue, chroma = change(prediction).hue_chroma(**arguments)  # type: ignore[arg-type]
            for strength in STRENGTHS:
                found[name, strength] = compose_rgb(hue, chroma * np.float32(strength), light)
        for key, colors in found.items():
            sums = measure_errors(truth, colors).sums
            rows.setdefault(key, []).append(
                Scores(sums["error"], sums["psnr"], colorfulness(colors))
            )
    means = {
        key: Scores(
            sum(row.error for row in values) / sum(pixels),
            float(np.mean([row.psnr for row in values])),
            float(np.mean([row.colorfulness for row in values])),
        )
        for key, values in rows.items()
    }
    table = {name: [means[name, strength] for strength in STRENGTHS] for name in DECODINGS}
    return table, means["grey", 0.0], float(np.mean(truths))


def at_color(rows: Sequence[Scores], wanted: float) -> tuple[float, float, float] | None:
    """Return strength, error and PSNR where the colourfulness is `wanted`, between the strengths."""
    colors = [row.colorfulness for row in rows]
    if not colors[0] <= wanted <= colors[-1]:
        return None
    strength, error, psnr = (
        float(np.interp(wanted, colors, values))
        for values in (STRENGTHS, [row.error for row in rows], [row.psnr for row in rows])
    )
    return strength, error, psnr


def at_strength(rows: Sequence[Scores], strength: float) -> Scores:
    """Return the scores at a strength, between those measured."""
    columns = zip(*rows, strict=True)
    return Scores(*(float(np.interp(strength, STRENGTHS, column)) for column in columns))


def plot(table: Table, grey: Scores, truth: float, path: Path) -> None:
    """Plot error and PSNR of every decoding against colourfulness."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, rows in table.items():
        share = [100 * row.colorfulness / truth for row in rows]
        style = "o-" if name in ("faithful", "vivid") else ".--"
        left.plot(share, [100 * (row.error / grey.error - 1) for row in rows], style, label=name)
        right.plot(share, [row.psnr - grey.psnr for row in rows], style)
    for axes in (left, right):
        axes.axvline(100 * _LEAST_COLOR, color="0.7", linewidth=1)
        axes.axhline(0, color="0.7", linewidth=1)
        axes.set_xlabel("colourfulness in % of the photos'")
        axes.grid(alpha=0.3)
        axes.set_xlim(20, 100)
    left.set(ylabel="αβ RMSE against grey in %")
    left.set_ylim(top=6)
    right.set(ylabel="PSNR above grey in dB")
    right.set_ylim(bottom=-0.5)
    left.legend(loc="upper left", fontsize=8)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, dpi=90, format="png")


def textures() -> dict[str, Float32Array]:
    """Return flat grey textures as RGB: photos of scikit-image, and some made here."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(SIDE, SIDE))
    shade = np.linspace(0, 0.1, SIDE)  # light from one side
    greys = {name: getattr(skimage.data, name)() / 255 for name in _TEXTURES}
    greys["noise"] = 0.5 + 0.1 * noise
    greys["blank paper"] = 0.8 + shade + 0.01 * noise
    greys["plaster"] = 0.6 + shade + gaussian_filter(rng.normal(size=(SIDE, SIDE)), 2) / 3
    return {
        name: shrink(grey_image(np.clip(grey, 0, 1).astype(np.float32)))
        for name, grey in greys.items()
    }


def page(
    table: Table, grey: Scores, truth: float, greys: Mapping[str, list[float]], text: str
) -> str:
    """Return docs/looks.md."""
    lines = ["| decoding | strength | αβ RMSE | PSNR |", "|---|---|---|---|"]
    for name, rows in table.items():
        found = at_color(rows, _LEAST_COLOR * truth)
        if found is None:
            lines.append(f"| {name} | not reached | | |")
            continue
        strength, error, psnr = found
        lines.append(
            f"| {name} | {strength:.2f} | {error:.4f} ({100 * (error / grey.error - 1):+.1f} %) | "
            f"{psnr:.2f} dB ({psnr - grey.psnr:+.2f}) |"
        )
    own = ["| look | αβ RMSE | PSNR | colourfulness |", "|---|---|---|---|"]
    own.append(f"| grey | {grey.error:.4f} | {grey.psnr:.2f} dB | 0 |")
    strength = shipped_manifest().strength
    for name, gain in (("faithful", 1.0), ("vivid", VIVID_GAIN)):
        row = at_strength(table[name], strength * gain)
        own.append(
            f"| {name} | {row.error:.4f} ({100 * (row.error / grey.error - 1):+.1f} %) | "
            f"{row.psnr:.2f} dB ({row.psnr - grey.psnr:+.2f}) | {row.colorfulness:.1f}, "
            f"{100 * row.colorfulness / truth:.0f} % of the photos' |"
        )
    flat = ["| texture | faithful | vivid |", "|---|---|---|"]
    flat += [f"| {name} | {a:.1f} | {b:.1f} |" for name, (a, b) in greys.items()]
    newline = "\n"
    return f"""# Looks

Written by `tools/release/looks.py`: do not edit.

A histogram says more than one colour. **Faithful** takes the colour of least error, as the paper: the median of
chroma, the expectation of hue, faded in proportion to how sure the hue is. It is what `tools/evaluate.py`, the
tables and `model.colorize(grey)` use, and the command with `--look faithful`. **Vivid** is what the command and the
web page use unless told otherwise, and `model.colorize(grey, look="vivid")`. It takes the expectation of both,
{VIVID_GAIN:g} times the chroma, and fades along 3t² − 2t³ from a hue of which nothing is known (its mean on the
unit circle at most {VIVID_UNSURE:g} long) to one that is certain. So colour is stronger where the model knows it
and is left out where it guesses; where it is sure of a wrong colour it is stronger as well.

![Flat grey textures and held-out photos: grey, faithful, vivid, original](looks/pictures.jpg)

*From left: grey, faithful, vivid, original.*

## Measured

{text}

{newline.join(own)}

A look cannot be judged by its error alone: less colour has less error. So decodings are compared at the same
colourfulness, here {100 * _LEAST_COLOR:.0f} % of the photos' own; the figure has the whole curves, each over
strengths from {STRENGTHS[0]:g} to {STRENGTHS[-1]:g}.

{newline.join(lines)}

![RMSE and PSNR against colourfulness](looks/curves.png)

- **Annealed mean** (Zhang et al., 2016): the expectation of p^(1/T), normalised. A lower T is nearer to the mode.
- **Most likely, coherent**: histograms filtered by a joint bilateral filter that the photo's lightness leads, then
  annealed at T = 0.15.
- **Vivid, coherent**: the vivid look of the filtered histograms. The filter takes as long as all other work outside the
  network, so it has to gain much.

Colourfulness that is left in flat grey textures, of which the truth is 0:

{newline.join(flat)}

The network learnt from photos of things. A photo that is one texture from edge to edge is unlike them, and what it
predicts of one is sure, wrong and the same all over: noise is sky, plaster is earth. So the shipped model leaves such
photos grey by what their lightness is like, in either look: [inference](inference.md#textures) says how. There are
two rules: for what is the same all over, and for small marks on a ground that is.

The first was chosen on the 917 validation photos, as they are and faded, and 45 textures made for it (noise, paper,
plaster, concrete, cloth, bricks, pebbles, craters, text and others); nothing was fitted to those above:

- None of the 917 photos changes, so neither do their RMSE, PSNR and colourfulness. Sea with a boat, lawn with a dog
  or a wood in rain have parts that stand out. At 0.35 of the contrast, as in old prints, 2 do change, with grain 15.
- 38 of the 45 become grey: colourfulness below 4, before up to 39. Those of strong shapes (craters, large
  pebbles) keep all or half of it, and so, by this rule alone, do the moon, the page and the text.

The second was chosen with those three in view, on the 917 photos, 2,000 of those learnt from, and 76 textures and
documents, of which 68 were made for it: printed pages of eight sizes, lit evenly, from a side or from a corner, turned,
faded or blurred; sheet music, maps, noise of five spectra, craters, stars, cells, sand, fur, cloth, wood and others.

- Of the 917 photos the least is 0.58, where grey begins at 0.5; of the 68 held-out ones, on which nothing was chosen,
  0.74. So no score changes. Of the 2,000, 7 change that the first rule leaves alone: a drawing of a platypus,
  a snake on sand, poles in the sea, clear water, a bittern, a wood in snow and a lighthouse; their own colourfulness is
  5 to 30. At 0.35 of the contrast 3 of 306 change, with grain 4.
- By both rules 57 of the 76 become grey, by the first one alone 17. Of the 40 documents 38 do, all but
  the two in white on black. Craters that fill the picture, clouds of noise, large pebbles and cells keep their colour.
- **The moon above is grey as a whole, its parts are not**: it has 0.36, its quarters and halves 1.05 to 1.58.
  A few large craters are to this rule what the things in a photo are. What it does know are small marks.
- The same for bright marks on a dark ground (opening, then closing) has 0.01 for stars and blackboards, but 0.17 for a
  boat on the sea and 0.33 for rain at night, of which the colours are right: left out.
- A square of 9 pixels of 256 in place of 13 leaves the moon at 0.99; one of 17 brings a photo among the 917 to 0.25.

Of both:

- A real lawn, sea or sky that fills the photo without anything in it becomes grey as well. A hint colours it.
- How well the predictions at the two sizes agree does not tell: weighted by colour, the Bhattacharyya coefficient
  of their histograms of hue is 0.94 to 0.99 for 16 photos most like textures, and 0.91 to 1.00 for all but two of the
  textures. Nor does how sure the hue is: 0.74 of 1 for the gravel, 0.87 for a blank wall.
- Little contrast in all (a standard deviation below 0.06, and parts that differ in lightness by less than 0.18)
  would catch the moon and the craters, but also 20 of the 917 photos at half their contrast, and 125 at 0.35
  of it, both with grain: old prints.

```bash
python tools/release/looks.py --photos VALIDATION [--root FOLDER]
```
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
example:
  python data_prep/fetch_photos.py --out build/data/photos --split test
  python tools/release/looks.py --photos validation.txt""",
    )
    add_photo_options(parser, "of validation", required=True)
    parser.add_argument(
        "--count", type=at_least(1), default=160, help="photos drawn (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    parser.add_argument(
        "--show",
        type=Path,
        default=Path("build/data/photos/test"),
        help="photos shown, evenly spread (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs"),
        help="folder of the page and its pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/looks"),
        metavar="FOLDER",
        help="histograms of every photo (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    cache = Cache(arguments.work)
    shown = find_photos(arguments.show, recursive=True) if arguments.show.is_dir() else []
    if not shown:
        raise PhotoError(f"--show {arguments.show}: expected a folder of photos")
    paths = draw(list_photos(arguments.photos, arguments.root), arguments.count, arguments.seed)
    table, grey, truth = score(paths, cache)
    flat = textures()
    greys = {
        name: [
            colorfulness(cache.predict(lightness(rgb)).decode(DecodeOptions(look=look)))
            for look in LOOKS
        ]
        for name, rgb in flat.items()
    }
    pictures = [shrink(read_image(shown[number]).rgb) for number in spread(len(shown), 8)]
    text = f"{len(paths)} of the validation photos, by which the look was chosen, at {SIDE} pixels:"
    (arguments.out / "looks").mkdir(parents=True, exist_ok=True)
    with atomic_path(arguments.out / "looks" / "pictures.jpg") as unfinished:
        rows = [row(cache, rgb) for rgb in (*flat.values(), *pictures)]
        sheet(rows).save(unfinished, format="JPEG", quality=75)
    plot(table, grey, truth, arguments.out / "looks" / "curves.png")
    with atomic_path(arguments.out / "looks.md") as unfinished:
        content = page(table, grey, truth, greys, text)
        unfinished.write_text(content, encoding="utf-8")
    print(f"{arguments.out / 'looks.md'}")
    return 0


if __name__ == "__main__":
    run_program(main)
