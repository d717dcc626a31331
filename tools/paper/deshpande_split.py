"""Repeat the experiment of Deshpande et al.'s release on the photos that come with it, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autocolor.baselines.deshpande.colorizer import DeshpandeOptions, MatchColors, train_model
from autocolor.control.quantile import transfer_quantiles
from autocolor.core.arrays import FloatArray
from autocolor.core.programs import command_parser, run_program
from autocolor.evaluation.evaluate import GREY, grey_image
from autocolor.imaging.color import compose_alpha_beta, lightness, rgb_to_alpha_beta
from autocolor.imaging.images import ImageError, read_image, resize
from autocolor.paper.experiments import colorize_by_energy
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.shipped import shipped_model_folder

_HEIGHT = 256
_MATCHES = 9
# What the release writes, in its output folder.
_THEIRS = {"theirs": "", "theirs (C)": "-gt_hist_2"}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
example:
  python tools/paper/deshpande_split.py iccv15_lscolorization/data/beach_small \\
      --theirs iccv15_lscolorization/data/ColorizeOut

FOLDER has Train and Test, each with a folder for a photo: color.png, and match1.jpg to match9.jpg that
look like it. Get it with the authors' release; it does not come with autocolor. Photos are made 256
pixels high, as there. Prints the mean alpha-beta error over all pixels (Eq. 10) and the mean PSNR of
every method: grey, the mean colour of the matches, Deshpande et al. automatic, given the true
histogram by clusters (C) and by quantiles (Q), and the shipped model automatic, (Q) and (E).""",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--theirs",
        type=Path,
        metavar="OUTPUT",
        help="folder of the release's results, test_1_recon_color-1.tif and so on: score them, too",
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    arguments = parser.parse_args(argv)
    train = [_read(folder) for folder in _folders(arguments.folder / "Train")]
    model = train_model(
        [rgb for rgb, _ in train],
        lambda index: train[index][1],
        np.random.default_rng(arguments.seed),
        DeshpandeOptions(),
        progress=True,
    )
    colorizer = Colorizer(shipped_model_folder())
    errors: dict[str, list[FloatArray]] = {}
    psnr: dict[str, list[float]] = {}
    folders = _folders(arguments.folder / "Test")
    for number, folder in enumerate(tqdm(folders, "colorizing", unit="photo"), start=1):
        truth, matches = _read(folder)
        light = lightness(truth)
        solution = model.solve(light, matches)
        prediction = colorizer.predict(light)
        automatic, ours = solution.image(light), prediction.colorize()
        results: dict[str, FloatArray] = {
            GREY: grey_image(light),
            "mean of the matches": compose_alpha_beta(matches[0], light),
            "deshpande": automatic,
            "deshpande (C)": solution.clustered(light, truth),
            "deshpande (Q)": transfer_quantiles(automatic, truth),
            "ours": ours,
            "ours (Q)": transfer_quantiles(ours, truth),
            "ours (E)": colorize_by_energy(prediction, truth)[0],
        }
        if arguments.theirs is not None:
            for name, suffix in _THEIRS.items():
                file = arguments.theirs / f"test_{number}_recon_color{suffix}-1.tif"
                results[name] = resize(read_image(file).rgb, light.shape)
        for name, rgb in results.items():
            away = rgb_to_alpha_beta(rgb) - rgb_to_alpha_beta(truth)
            errors.setdefault(name, []).append(np.linalg.norm(away, axis=-1).ravel())
            psnr.setdefault(name, []).append(-10 * np.log10(np.square(rgb - truth).mean()))
    print("| method | αβ RMSE | PSNR |\n|---|---|---|")
    for name, found in errors.items():
        print(f"| {name} | {np.concatenate(found).mean():.4f} | {np.mean(psnr[name]):.2f} dB |")
    return 0


def _folders(parent: Path) -> list[Path]:
    found = sorted(path for path in parent.iterdir() if (path / "color.png").exists())
    if not found:
        raise ImageError(f"{parent}: expected folders with color.png, got none")
    return found


def _read(folder: Path) -> tuple[FloatArray, MatchColors]:
    """Return a photo at the height of the release and the colours of its matches."""
    rgb = read_image(folder / "color.png").rgb
    size = (_HEIGHT, round(rgb.shape[1] * _HEIGHT / rgb.shape[0]))
    files = [folder / f"match{number}.jpg" for number in range(1, _MATCHES + 1)]
    colors = [rgb_to_alpha_beta(resize(read_image(file).rgb, size)) for file in files]
    return resize(rgb, size), (np.mean(colors, axis=0), np.std(colors, axis=0))


if __name__ == "__main__":
    run_program(main)
