"""Padding, cropping, tiling and enlargement of the predictor, with a stand-in for the network."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from autocolor import predictor as predictor_module
from autocolor.color import lightness
from autocolor.images import resize
from autocolor.inference import decode_hue_chroma, infer_hue_chroma
from autocolor.model_folder import Manifest, ModelError
from autocolor.predictor import Predictor

BINS, STRIDE, WORKING_SIDE, MAXIMUM_SIDE = 8, 4, 64, 160
SIZES = [(1, 1), (1, 5), (7, 3000), (3000, 7), (37, 53), (64, 64), (65, 200), (480, 360)]


class StubNet:
    """Gives every cell histograms of its own, and keeps its input."""

    def __init__(self, bins: int = BINS) -> None:
        self.bins = bins
        self.seen: list[np.ndarray] = []

    def __call__(self, lightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.seen.append(lightness)
        cells = (self.bins, lightness.shape[0] // STRIDE, lightness.shape[1] // STRIDE)
        rows = np.random.default_rng(0).gamma(0.5, size=(2, *cells)).astype(np.float32)
        hue, chroma = rows / rows.sum(axis=1, keepdims=True)
        return hue, chroma


def make_predictor(folder: Path, **manifest: int | float) -> tuple[Predictor, StubNet]:
    values = {"working_side": WORKING_SIDE, "maximum_side": MAXIMUM_SIDE, **manifest}
    Manifest("stub", bins=BINS, stride=STRIDE, **values).save(folder)  # type: ignore[arg-type]
    net = StubNet()
    return Predictor(folder, net=net), net


def grey_image(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).random(size, dtype=np.float32)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), (64, 64)),  # as it is
        ((30, 40), (30, 40)),  # never enlarged
        ((128, 192), (64, 96)),  # smaller side to 64
        ((128, 640), (32, 160)),  # larger side at most 160
        ((3000, 7), (160, 1)),  # never below one pixel
        ((1, 1), (1, 1)),
    ],
)
def test_working_size(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    predictor, _ = make_predictor(tmp_path)
    assert predictor.working_size(*size) == expected


@pytest.mark.parametrize("size", SIZES)
def test_network_input_is_resized_and_mirrored(tmp_path: Path, size: tuple[int, int]) -> None:
    predictor, net = make_predictor(tmp_path)
    light = grey_image(size)
    hue, chroma = predictor.histograms(light)
    (padded,) = net.seen
    height, width = predictor.working_size(*size)
    assert padded.dtype == np.float32
    assert padded.shape[0] % 32 == padded.shape[1] % 32 == 0
    assert padded.shape[0] - height < 32 and padded.shape[1] - width < 32
    small = resize(light, (height, width))
    for y in range(padded.shape[0]):
        # Mirrored with the border pixel repeated: 0 1 2 2 1 0 0 1 2 ...
        source = y % (2 * height)
        source = source if source < height else 2 * height - 1 - source
        np.testing.assert_array_equal(padded[y, :width], small[source])
    assert hue.shape == chroma.shape == (-(-height // STRIDE), -(-width // STRIDE), BINS)
    np.testing.assert_array_equal(
        hue, np.moveaxis(net(padded)[0], 0, -1)[: len(hue), : hue.shape[1]]
    )


def oracle_histograms(predictor: Predictor, light: np.ndarray) -> list[np.ndarray]:
    """Enlarge the histograms by the stated positions of their cells, with scipy."""
    height, width = light.shape
    working_height, working_width = predictor.working_size(height, width)
    # Pixel centres of the photo, in pixels of the working image, then in cells, whose centres lie
    # at j * stride + (stride - 1)/2.
    y = (np.arange(height) + 0.5) * working_height / height - 0.5
    x = (np.arange(width) + 0.5) * working_width / width - 0.5
    cells = np.meshgrid(
        (y - (STRIDE - 1) / 2) / STRIDE, (x - (STRIDE - 1) / 2) / STRIDE, indexing="ij"
    )
    return [
        np.stack(
            [
                map_coordinates(grid[..., k].astype(np.float64), cells, order=1, mode="nearest")
                for k in range(BINS)
            ],
            axis=-1,
        )
        for grid in predictor.histograms(light)
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tile_pixels", [1, 500, 10**9])
def test_colorize_against_whole_image_oracle(
    tmp_path: Path, size: tuple[int, int], tile_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor_module, "_TILE_PIXELS", tile_pixels)
    predictor, _ = make_predictor(tmp_path)
    light = grey_image(size)
    hue, chroma = oracle_histograms(predictor, light)

    rgb = predictor.colorize(light)
    assert rgb.dtype == np.float32 and rgb.shape == (*size, 3)
    expected = decode_hue_chroma(hue, chroma, light.astype(np.float64))
    # float32 against float64; where z nearly vanishes, or where the median's bin is nearly empty,
    # rounding is magnified.
    difference = np.abs(rgb - expected)
    assert np.quantile(difference, 0.99) < 1e-4 and difference.mean() < 1e-5
    np.testing.assert_allclose(lightness(rgb), light, atol=1e-6)

    hue_image, chroma_image = predictor.hue_chroma(light)
    expected_hue, expected_chroma = infer_hue_chroma(hue, chroma)
    turn = np.abs(hue_image - expected_hue)
    assert np.quantile(np.minimum(turn, 1 - turn), 0.99) < 1e-4
    assert np.quantile(np.abs(chroma_image - expected_chroma), 0.99) < 1e-4


def test_options_reach_the_decoder(tmp_path: Path) -> None:
    predictor, _ = make_predictor(tmp_path, strength=0.5)
    light = grey_image((40, 30))
    hue, chroma = oracle_histograms(predictor, light)
    options = {"hue": "mode", "chroma": "expectation", "fading": False}
    for strength in (None, 0.0, 1.5):
        rgb = predictor.colorize(light, strength=strength, **options)  # type: ignore[arg-type]
        expected = decode_hue_chroma(
            hue,
            chroma,
            light.astype(np.float64),
            strength=0.5 if strength is None else strength,
            **options,  # type: ignore[arg-type]
        )
        assert np.quantile(np.abs(rgb - expected), 0.99) < 1e-4
    np.testing.assert_allclose(predictor.colorize(light, strength=0), light[..., None] + [0] * 3)


def test_working_side_instead_of_the_manifests(tmp_path: Path) -> None:
    make_predictor(tmp_path)
    net = StubNet()
    predictor = Predictor(tmp_path, working_side=20, net=net)
    assert predictor.working_size(40, 60) == (20, 30)
    with pytest.raises(ValueError, match="working_side: expected 1 to 160, received 161"):
        Predictor(tmp_path, working_side=161, net=net)


def test_twelve_megapixels_in_bounded_memory(tmp_path: Path) -> None:
    predictor, _ = make_predictor(tmp_path)
    light = np.full((3000, 4000), 0.5, np.float32)
    tracemalloc.start()
    rgb = predictor.colorize(light)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Beyond the result (144 MB) only the resized input and tiles; all histograms would be 768 MB.
    assert peak < rgb.nbytes + 64e6


@pytest.mark.parametrize(
    ("light", "message"),
    [
        (np.zeros((4, 4), np.uint8), "lightness: .*uint8"),
        (np.full((4, 4), 128.0), "lightness: .*128"),
        (np.full((4, 4), np.nan), "lightness: .*nan"),
        (np.zeros((4, 4, 3)), r"lightness: expected shape \(H, W\), received \(4, 4, 3\)"),
        (np.zeros((0, 4)), r"lightness: expected shape \(H, W\), received \(0, 4\)"),
    ],
)
def test_wrong_lightness(tmp_path: Path, light: np.ndarray, message: str) -> None:
    predictor, _ = make_predictor(tmp_path)
    with pytest.raises(ValueError, match=message):
        predictor.histograms(light)


def test_network_that_does_not_fit_the_manifest(tmp_path: Path) -> None:
    make_predictor(tmp_path)
    predictor = Predictor(tmp_path, net=StubNet(bins=16))
    with pytest.raises(ModelError, match=r"blob 'hue': expected shape \(8, 8, 8\).*\(16, 8, 8\)"):
        predictor.colorize(grey_image((32, 32)))


def test_with_real_caffe(model_folder: Path) -> None:
    predictor = Predictor(model_folder)
    for size in ((1, 1), (7, 300), (90, 61)):
        light = grey_image(size)
        rgb = predictor.colorize(light)
        assert rgb.shape == (*size, 3)
        np.testing.assert_allclose(lightness(rgb), light, atol=1e-6)


def test_missing_weights(model_folder: Path, tmp_path: Path) -> None:
    Manifest("tiny").save(tmp_path)
    with pytest.raises(ModelError, match=r"deploy\.prototxt: no such file"):
        Predictor(tmp_path)
