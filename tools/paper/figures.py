"""Draw the paper's figures of pictures, on any photos, with a model that is there."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from autocolor.baselines.registry import load_baseline, load_scene_method
from autocolor.control.edits import Edits, Reference, colorize_edited
from autocolor.control.targets import image_targets
from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError
from autocolor.core.files import atomic_path
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.photo_lists import add_photo_options, list_photos
from autocolor.evaluation.evaluate import (
    EvaluationProtocol,
    PhotoScores,
    SceneMethod,
    grey_image,
    read_color,
    score,
)
from autocolor.evaluation.gallery import draw_gallery
from autocolor.histograms.bins import uniform_centers
from autocolor.histograms.decode import DecodeOptions
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError, read_image, resize, write_image
from autocolor.paper.collection import split_scenes
from autocolor.paper.experiments import scene_method
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.shipped import shipped_model_folder
from sample_sheet import draw_samples, stack

_OURS = "ours"
_PLACES = 3  # of a photo, whose histograms are drawn


@dataclass(frozen=True)
class Source:
    """What figures are drawn of."""

    colorizer: Colorizer
    photos: Sequence[Path]  #: In random order
    references: Sequence[Path]  #: That Charpiat et al. learn from
    scenes: Path | None
    rows: int
    seed: int
    cache: Path

    def method(self, key: str) -> SceneMethod:
        """Return a way of the model: see :func:`autocolor.paper.experiments.scene_method`."""
        return scene_method(key, _OURS, self.colorizer)

    @property
    def shown(self) -> list[Path]:
        """The first photos, as many as there are rows, that can be read and have colour."""
        found: list[Path] = []
        for path in self.photos:
            if len(found) == self.rows:
                break
            with suppress(ImageError):
                read_color(path)
                found.append(path)
        return found


def _score(methods: Mapping[str, SceneMethod], photos: Sequence[Path]) -> Sequence[PhotoScores]:
    """Score and draw photos at no more than 512 pixels."""
    protocol = EvaluationProtocol(side=512, extras=False)
    return score(methods, photos, protocol=protocol, gallery_size=len(photos)).gallery


def fading(source: Source) -> Image.Image:
    """Figure 3: the photos that chromatic fading changes most, without and with it."""
    changes = []
    for path in tqdm(source.photos, "looking", unit="photo"):
        try:
            light = lightness(read_color(path))
        except ImageError:
            continue
        prediction = source.colorizer.predict(light)
        plain, faded = (
            prediction.decode(DecodeOptions(fading=fading, strength=1.0))
            for fading in (False, True)
        )
        changes.append((float(np.abs(plain - faded).mean()), path))
    most = [path for _, path in sorted(changes, reverse=True)[: source.rows]]
    ways = {"without fading": f"{_OURS}/median@1", "with fading": f"{_OURS}@1"}
    methods = {name: source.method(key) for name, key in ways.items()}
    return draw_gallery(_score(methods, most))


def gallery(source: Source) -> Image.Image:
    """Figures 4, 5 and 16 to 19: photos drawn at random."""
    return draw_gallery(_score({_OURS: source.method(f"{_OURS}@chosen")}, source.shown))


def competitors(source: Source) -> Image.Image:
    """Figure 6: the methods of Tables 3 and 4 on scenes."""
    if source.scenes is None:
        raise InputError("fig6", "expected --scenes, photos in folders named by classes")
    learnt, held_out = split_scenes(source.scenes, source.seed)
    keys = {"Welsh et al.": "welsh", "Deshpande et al. + GT Scene": "deshpande+scene"}
    keys |= {"Deshpande et al. (C)": "deshpande (C)", "Deshpande et al. (Q)": "deshpande (Q)"}
    methods = {
        name: load_scene_method(key, learnt, cache=source.cache) for name, key in keys.items()
    }
    methods |= {_OURS: source.method(f"{_OURS}@chosen"), "ours (E)": source.method("E")}
    order = np.random.default_rng(source.seed).permutation(len(held_out))[: source.rows]
    photos = [held_out[index] for index in sorted(order)]
    return draw_gallery(_score(methods, photos))


def failures(source: Source) -> Image.Image:
    """Figures 9 and 20: the worst photos by each metric, and those with the least and the most colour for theirs."""
    methods = {_OURS: source.method(f"{_OURS}@chosen")}
    protocol = EvaluationProtocol(side=512)
    found = score(methods, source.photos, protocol=protocol)

    def share(photo: PhotoScores) -> float:
        scores = photo.scores[_OURS]
        return (scores.colorfulness or 0) / max(1, scores.truth_colorfulness or 0)

    count = max(1, source.rows // 4)
    kinds: dict[str, Callable[[PhotoScores], float]] = {
        "largest RMSE": lambda photo: -photo.scores[_OURS].rmse,
        "lowest PSNR": lambda photo: photo.scores[_OURS].psnr,
        "smallest share of the true colourfulness": share,
        "largest share of the true colourfulness": lambda photo: -share(photo),
    }
    shown: dict[Path, list[str]] = {}
    for kind, key in kinds.items():
        for photo in sorted(found.photos, key=key)[:count]:
            shown.setdefault(photo.path, []).append(kind)
    rows = _score(methods, list(shown))
    return draw_gallery(rows, [f"{', '.join(shown[row.path])}: {row.path.name}" for row in rows])


def histograms(source: Source) -> Image.Image:
    """Figures 11 and 12: hue and chroma as predicted at places drawn at random, beside the true ones."""
    from matplotlib.colors import hsv_to_rgb
    from matplotlib.figure import Figure

    rng = np.random.default_rng(source.seed)
    usable = [_colors(path) for path in source.shown]
    if not usable:
        raise ImageError("expected at least one colour photo, got none")
    figure = Figure(figsize=(3 * (1 + _PLACES), 2.4 * len(usable)), layout="constrained")
    panels = figure.subplots(len(usable), 1 + _PLACES, squeeze=False)
    for axes, rgb in zip(panels, usable, strict=True):
        prediction = source.colorizer.predict(lightness(rgb))
        hue, chroma = prediction.outputs
        axes[0].imshow(prediction.decode(DecodeOptions(strength=1.0)))
        axes[0].axis("off")
        bins = hue.shape[-1]
        centers = uniform_centers(bins)
        colors = hsv_to_rgb(np.stack([centers, np.ones(bins), np.full(bins, 0.9)], axis=-1))
        for number, panel in enumerate(axes[1:], start=1):
            y, x = (int(rng.integers(side // 8, side - side // 8)) for side in rgb.shape[:2])
            axes[0].plot(x, y, "w+", markersize=10)
            axes[0].annotate(str(number), (x, y), (5, 5), textcoords="offset points", color="white")
            place = (y, x), prediction.cells_per_pixel
            row, column = (int(p * scale) for p, scale in zip(*place, strict=True))
            around = rgb[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
            true = image_targets(around, "hue_chroma", bins).values()
            panel.bar(centers, hue[row, column], width=1 / bins, color=colors)
            panel.step(centers, chroma[row, column], "k", where="mid")
            for values, style in zip(true, ("b.", "k."), strict=True):
                panel.plot(centers, np.where(values > 0, values, np.nan), style)
            panel.set_title(f"{number}", fontsize=9)
    with io.BytesIO() as stream:
        figure.savefig(stream, dpi=120)
        return Image.open(stream).convert("RGB")


def _colors(path: Path) -> FloatArray:
    rgb = read_color(path)
    factor = min(1.0, 384 / max(rgb.shape[:2]))
    return resize(rgb, (round(rgb.shape[0] * factor), round(rgb.shape[1] * factor)))


def transfer(source: Source) -> Image.Image:
    """Figure 13: one half of each photo given the other, mirrored: a reference that matches closely."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "reference.png")
        for path in tqdm(source.shown, "transferring", unit="photo"):
            rgb = _colors(path)
            middle = rgb.shape[1] // 2
            truth, reference = rgb[:, :middle], rgb[:, : rgb.shape[1] - middle - 1 : -1]
            write_image(file, reference)
            light = lightness(truth)
            charpiat = load_baseline("charpiat", [file], progress=False)
            prediction = source.colorizer.predict(light)
            target = image_targets(reference, "hue_chroma", prediction.outputs[0].shape[-1])
            edits, options = Edits(Reference(targets=target)), DecodeOptions(strength=1.0)
            (ours,) = colorize_edited(prediction, edits, options=options)
            rows.append([grey_image(light), reference, charpiat(light), ours, truth])
    return stack(rows)


def portraits(source: Source) -> Image.Image:
    """Figure 14: Charpiat et al. with all references, and the model without any."""
    if not source.references:
        raise InputError("fig14", "expected --references, photos that Charpiat et al. learn from")
    charpiat = load_scene_method("charpiat", source.references)
    methods = {"Charpiat et al.": charpiat, _OURS: source.method(f"{_OURS}@chosen")}
    return draw_gallery(_score(methods, source.shown))


def old_photos(source: Source) -> Image.Image:
    """Figure 15: photos whose colours nobody knows: grey, faithful and vivid."""
    rows = []
    for path in source.photos[: source.rows]:
        prediction = source.colorizer.predict(lightness(read_image(path).rgb))
        looks = [prediction.decode(DecodeOptions(look=look)) for look in ("faithful", "vivid")]
        rows.append([grey_image(prediction.lightness), *looks])
    return stack(rows)


def samples(source: Source) -> Image.Image:
    """Figure 10: diverse colorizations and uncertainty."""
    return draw_samples(source.colorizer, source.shown, source.rows)


FIGURES: dict[str, Callable[[Source], Image.Image]] = {
    "fig3": fading,
    "fig4": gallery,
    "fig6": competitors,
    "fig9": failures,
    "fig10": samples,
    "fig11": histograms,
    "fig13": transfer,
    "fig14": portraits,
    "fig15": old_photos,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    lines = "\n".join(
        f"  {name:6} {(draw.__doc__ or '').strip()}" for name, draw in FIGURES.items()
    )
    parser = command_parser(
        __doc__,
        f"""\
{lines}

examples:
  python tools/paper/figures.py fig3 fig4 fig9 fig11 fig13
  python tools/paper/figures.py fig6 --scenes scenes --cache build/scenes/baselines
  python tools/paper/figures.py fig14 --photos faces --references portraits
  python tools/paper/figures.py fig15 --photos old_photos --rows 12

Photos are drawn at random by --seed; Figure 3 and Figure 9 look at all of them and show those that the
figure is about. What Figure 20 sorts by eye (pollution at edges, bleeding) nothing measures: Figure 9
here has the worst photos by RMSE, PSNR and colourfulness. Figures 7, 8 and the tables are made by
reproduce.py. Photos that cannot be read or have no colour are left out.""",
    )
    parser.add_argument("figures", nargs="+", choices=FIGURES, metavar="FIGURE")
    add_photo_options(parser, "to draw (default: build/data/photos/test, from tools/demo.sh)")
    parser.add_argument(
        "--references", type=Path, help="photos that Charpiat et al. learn from, for fig14"
    )
    parser.add_argument(
        "--scenes", type=Path, metavar="FOLDER", help="photos in folders named by classes, for fig6"
    )
    parser.add_argument(
        "--model", type=Path, help="folder with model.json (default: the model of autocolor)"
    )
    parser.add_argument(
        "--rows", type=at_least(1), default=6, help="photos of a figure (default: %(default)s)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="(default: %(default)s)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("build/figures/baselines"),
        help="what the methods of others have learnt (default: %(default)s)",
    )
    parser.add_argument(
        "--width",
        type=at_least(100),
        default=1100,
        help="of a figure at most, in pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/figures"),
        help="folder of the pictures (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    photos = list_photos(arguments.photos or Path("build/data/photos/test"), arguments.root)
    order = np.random.default_rng(arguments.seed).permutation(len(photos))
    source = Source(
        Colorizer(arguments.model or shipped_model_folder()),
        [photos[index] for index in order],
        list_photos(arguments.references) if arguments.references else (),
        arguments.scenes,
        arguments.rows,
        arguments.seed,
        arguments.cache,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(arguments.figures):
        picture = FIGURES[name](source)
        picture.thumbnail((arguments.width, 2**16))
        with atomic_path(arguments.out / f"{name}.jpg") as unfinished:
            picture.save(unfinished, "JPEG", quality=85)
        print(f"written to {arguments.out / f'{name}.jpg'}")
    return 0


if __name__ == "__main__":
    run_program(main)
