"""User hints: their places get their colour, like pixels follow, unlike ones stay bit for bit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from autocolor.control.hints import Hint, HintedTile, RegionHint, parse_hint, spread_hints
from autocolor.histograms.bins import quantile_centers, uniform_centers
from autocolor.histograms.decode import expectation, infer_hue_chroma
from autocolor.histograms.tiles import ImageTiles
from autocolor.imaging.color import rgb_to_hue_chroma, rgb_to_lab

SIZE = (24, 30)
PURPLE = (0.55, 0.2, 0.7)
ORANGE = (0.9, 0.5, 0.1)


def random_histograms(*shape: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).gamma(0.5, size=shape)
    return (rows / rows.sum(axis=-1, keepdims=True)).astype(np.float32)


def tiles_of(*histograms: np.ndarray, step: int = 7) -> ImageTiles:
    def tiles():
        for start in range(0, len(histograms[0]), step):
            rows = slice(start, min(start + step, len(histograms[0])))
            yield rows, tuple(histogram[rows] for histogram in histograms)

    return tiles


def even(*size: int) -> np.ndarray:
    """The same histograms everywhere: every pixel is like every other one."""
    return np.broadcast_to(random_histograms(32), (*size, 32))


def joined(tiles: list[HintedTile]) -> tuple[np.ndarray, ...]:
    histograms = zip(*(tile.histograms for tile in tiles), strict=True)
    return (*map(np.concatenate, histograms), np.concatenate([tile.share for tile in tiles]))


def spread(histograms, hints, variant="hue_chroma", lightness=None):
    size = histograms[0].shape[:2]
    lightness = np.full(size, 0.5, np.float32) if lightness is None else lightness
    return joined(list(spread_hints(tiles_of(*histograms), lightness, hints, variant)))


def turns_between(first: float, second: float) -> float:
    return abs((first - second + 0.5) % 1 - 0.5)


def test_without_hints_nothing_changes() -> None:
    histograms = random_histograms(*SIZE, 32), random_histograms(*SIZE, 32, seed=1)
    given = tiles_of(*histograms)()
    hinted = spread_hints(tiles_of(*histograms), np.ones(SIZE), [], "hue_chroma")
    for (rows, before), after in zip(given, hinted, strict=True):
        assert after.rows == rows
        for old, new in zip(before, after.histograms, strict=True):
            np.testing.assert_array_equal(new, old)
        assert not after.share.any()


@pytest.mark.parametrize("rgb", [PURPLE, ORANGE, (1.0, 0, 0.01), (1.0, 0.01, 0), (0.3, 0.3, 0.3)])
def test_a_hinted_pixel_gets_its_colour(rgb: tuple[float, float, float]) -> None:
    histograms = random_histograms(*SIZE, 32), random_histograms(*SIZE, 32, seed=1)
    hue, chroma, share = spread(histograms, [Hint(y=5, x=20, rgb=rgb)])
    wanted_hue, wanted_chroma = rgb_to_hue_chroma(np.array(rgb))
    got_hue, got_chroma = infer_hue_chroma(hue[5, 20], chroma[5, 20])
    assert abs(got_chroma - wanted_chroma) < 1 / 32
    if wanted_chroma:
        # Two bins share the hue, so it is much closer than one bin.
        assert turns_between(got_hue, wanted_hue) < 0.001
    mean_chroma = expectation(chroma[5, 20], uniform_centers(32))
    assert mean_chroma == pytest.approx(np.clip(wanted_chroma, 1 / 64, 63 / 64), abs=1e-5)
    assert share[5, 20] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("variant", ["lab_marginal", "lab_joint"])
def test_lab(variant: str) -> None:
    _, a, b = rgb_to_lab(np.array([0.4, 0.5, 0.6]))
    if variant == "lab_marginal":
        histograms = random_histograms(*SIZE, 32), random_histograms(*SIZE, 32, seed=1)
        *marginals, _ = spread(histograms, [Hint(5, 20, (0.4, 0.5, 0.6))], variant)
        marginals = [marginal[5, 20] for marginal in marginals]
    else:
        joint, _ = spread((random_histograms(*SIZE, 256),), [Hint(5, 20, (0.4, 0.5, 0.6))], variant)
        grid = joint[5, 20].reshape(16, 16)
        marginals = [grid.sum(axis=1), grid.sum(axis=0)]
    for marginal, wanted in zip(marginals, (a, b), strict=True):
        assert expectation(marginal, quantile_centers(len(marginal))) == pytest.approx(
            wanted, abs=1e-3
        )


def test_similarity_literal() -> None:
    # Equal histograms, so the share of a lone hint is the product of both Gaussians. The spread is
    # 0.2 * 20 = 4 pixels.
    lightness = np.full((1, 20), 0.5)
    lightness[0, 6:] = 0.6
    alike = even(1, 20), even(1, 20)
    hue, _, share = spread(alike, [Hint(0, 2, PURPLE)], lightness=lightness)
    np.testing.assert_allclose(share[0, 4], np.exp(-(2**2) / (2 * 4**2)), rtol=1e-6)
    np.testing.assert_allclose(share[0, 6], np.exp(-(4**2) / (2 * 4**2) - 1 / 2), rtol=1e-6)
    # Beyond sqrt(-2 log 0.02) * 4 = 11.2 pixels it is cut to 0.
    assert (share[0, 14:] == 0).all()
    np.testing.assert_array_equal(hue[0, 14:], even(1, 20)[0, 14:])
    # The histogram is (1 - s) y + s q.
    q_hue, s = hue[0, 2], share[0, 6]
    np.testing.assert_allclose(hue[0, 6], (1 - s) * even(1, 20)[0, 6] + s * q_hue, atol=1e-6)


def test_unlike_predictions_do_not_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    # BC of (1/2, 1/2, 0, ...) and (1, 0, ...) is sqrt(1/2); its fourth power 1/4. Bins apart: 0.
    one, half, other = np.eye(32)[3], (np.eye(32)[3] + np.eye(32)[9]) / 2, np.eye(32)[20]
    hue = np.stack([one, one, half, other])[None].astype(np.float32)
    chroma = even(1, 4)
    monkeypatch.setattr("autocolor.control.hints.SPREAD", 1e6)
    result, _, share = spread((hue, chroma), [Hint(0, 0, PURPLE)])
    np.testing.assert_allclose(share[0], [1, 1, 0.25, 0], atol=1e-5)
    np.testing.assert_array_equal(result[0, 3], hue[0, 3])


def test_hints_combine() -> None:
    histograms = even(*SIZE), even(*SIZE)
    hints = [Hint(3, 4, PURPLE), Hint(20, 25, ORANGE)]
    hue, chroma, _ = spread(histograms, hints)
    for hint in hints:
        got, _ = infer_hue_chroma(hue[hint.y, hint.x], chroma[hint.y, hint.x])
        assert turns_between(got, rgb_to_hue_chroma(np.array(hint.rgb))[0]) < 0.001
    # Two hints on one pixel share it.
    hue, _, _ = spread(histograms, [Hint(3, 4, PURPLE), Hint(3, 4, ORANGE)])
    alone = [spread(histograms, [Hint(3, 4, rgb)])[0][3, 4] for rgb in (PURPLE, ORANGE)]
    np.testing.assert_allclose(hue[3, 4], np.mean(alone, axis=0), atol=1e-5)


def test_places() -> None:
    histograms = random_histograms(*SIZE, 32), random_histograms(*SIZE, 32, seed=1)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    disc = np.hypot(y - 9.5, x - 12) <= 3.2
    of_disc = spread(histograms, [Hint(9.5, 12, PURPLE, radius=3.2)])
    of_mask = spread(histograms, [RegionHint(disc, PURPLE)])
    for result in (of_disc, of_mask):
        assert ((result[-1] > 0.99) == disc).all()
    # The distance to a disc is that to its edge, to a mask that to its pixels.
    np.testing.assert_allclose(of_disc[0][disc], of_mask[0][disc], atol=1e-5)
    # A disc smaller than a pixel, between pixels, still has one.
    _, _, share = spread(histograms, [Hint(9.4, 12.4, PURPLE, radius=0.1)])
    assert share[9, 12] > 0.99 and np.count_nonzero(share > 0.99) == 1


def test_tiles_do_not_matter() -> None:
    histograms = random_histograms(*SIZE, 32), random_histograms(*SIZE, 32, seed=1)
    lightness = np.random.default_rng(0).random(SIZE).astype(np.float32)
    hints = [Hint(3, 4, PURPLE, 2.0), RegionHint(np.tri(*SIZE, k=-12, dtype=bool), ORANGE)]
    results = [
        joined(list(spread_hints(tiles_of(*histograms, step=step), lightness, hints, "hue_chroma")))
        for step in (1, 5, SIZE[0])
    ]
    for result in results[1:]:
        for got, expected in zip(result, results[0], strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-6)
    for histogram in results[0][:2]:
        assert histogram.dtype == np.float32
        np.testing.assert_allclose(histogram.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("color", "rgb"),
    [
        ("#fff", (255, 255, 255)),
        ("#F80", (255, 136, 0)),
        ("skyblue", (135, 206, 235)),  # CSS Color Module Level 4
        ("SkyBlue", (135, 206, 235)),
        ("hsl(120, 100%, 25%)", (0, 128, 0)),
    ],
)
def test_parse_colours_of_css(color: str, rgb: tuple[int, int, int]) -> None:
    assert parse_hint(f" 3 , 4 = {color}") == Hint(
        y=4, x=3, rgb=tuple(level / 255 for level in rgb), radius=None
    )


def test_parse() -> None:
    assert parse_hint("12,34=#ff8000") == Hint(y=34, x=12, rgb=(1.0, 128 / 255, 0.0), radius=None)
    for text in (
        "",
        "12,34",
        "12=#ff8000",
        "1,2=#ff800",
        "-1,2=#ff8000",
        "1,2=#gg8000",
        "1,2=rud",
        "1,2=#ff800080",
    ):
        with pytest.raises(ValueError, match="hint: expected (X,Y=COLOUR|a colour such as)"):
            parse_hint(text)


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (Hint(24, 0, PURPLE), "expected x from 0 to 29 and y from 0 to 23, got x = 0, y = 24"),
        (Hint(0, -1, PURPLE), "expected x from"),
        (Hint(0, 0, PURPLE, radius=-1.0), "expected a radius >= 0, got -1"),
        (Hint(0, 0, (0.5, 0.5, 1.5)), "hint's rgb: expected finite values in"),
        (RegionHint(np.zeros(SIZE, bool), PURPLE), "with some pixel, got bool .* with 0"),
        (RegionHint(np.ones((2, 2), bool), PURPLE), r"bool mask of shape \(24, 30\)"),
        (RegionHint(np.ones(SIZE), PURPLE), "got float64"),
    ],
)
def test_wrong_hints(hint: Hint | RegionHint, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spread((even(*SIZE), even(*SIZE)), [hint])


def test_wrong_arguments() -> None:
    hint = Hint(0, 0, PURPLE)
    with pytest.raises(ValueError, match="variant: expected one of"):
        spread((even(*SIZE),), [hint], "lab_l2")
    with pytest.raises(ValueError, match="histograms: expected shape"):
        spread((even(*SIZE), even(*SIZE)), [hint], lightness=np.full((24, 31), 0.5))


SPEED = """
import resource, time
import numpy as np
from autocolor.control.hints import Hint, spread_hints

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

y, x = np.mgrid[:512, :512] / 512
lightness = 0.5 + 0.05 * np.sin(20 * x + 9 * y)
tile = np.random.default_rng(0).dirichlet(np.full(32, 5.0), (16, 512)).astype(np.float32)

def tiles():
    for start in range(0, 512, 16):
        yield slice(start, start + 16), (tile, tile)

hints = [Hint(90 * i + 40, 80 * i + 50, (0.2 * i, 0.5, 0.3), radius=5) for i in range(5)]
before, start = peak(), time.process_time()
changed = sum(
    np.count_nonzero(tile.share) for tile in spread_hints(tiles, lightness, hints, "hue_chroma")
)
print(changed / 512**2, time.process_time() - start, (peak() - before) / 1024)
"""


@pytest.mark.alone
def test_speed_and_memory() -> None:
    environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SPEED], capture_output=True, text=True, check=True, env=environment
    )
    changed, seconds, megabytes = map(float, done.stdout.split())
    # Nearly every pixel is like some hint. Measured: 0.1 s of one core, and 8 MB beyond the
    # given tile; all histograms would be 67 MB.
    assert changed > 0.9
    assert seconds < 0.5
    assert megabytes < 30
