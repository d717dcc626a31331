"""Padding, cropping, tiling and enlargement of the colorizer, with a stand-in for the network."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import tracemalloc
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from autocolor.core.variants import VARIANTS
from autocolor.histograms import prediction as prediction_module
from autocolor.histograms.decode import (
    METHODS,
    SAMPLINGS,
    DecodeOptions,
    decode,
    infer_hue_chroma,
)
from autocolor.histograms.estimators import draw_uniforms
from autocolor.histograms.scales import merge_scales
from autocolor.imaging.color import lightness
from autocolor.imaging.images import resize
from autocolor.nets.colorization import ColorizationNet
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import Manifest, ModelError

HISTOGRAM_VARIANTS = [name for name, variant in VARIANTS.items() if variant.is_histogram]

BINS, STRIDE, WORKING_SIDE, MAXIMUM_SIDE = 8, 4, 64, 160
SIZES = [(1, 1), (1, 5), (7, 3000), (3000, 7), (37, 53), (64, 64), (65, 200), (480, 360)]


def decode_hue_chroma(
    hue_histogram, chroma_histogram, light, hue="expectation", chroma=None, fading=True, **rest
) -> np.ndarray:
    options = DecodeOptions(chroma, hue, fading)
    return decode("hue_chroma", (hue_histogram, chroma_histogram), light, options, **rest)


class StubNet:
    """Gives every cell histograms (of "lab_l2" colours) of its own, and keeps its input."""

    def __init__(self, variant: str = "hue_chroma", bins: int = BINS) -> None:
        self.variant = variant
        self.channels = Manifest("stub", variant, bins=bins).outputs.values()
        self.seen: list[np.ndarray] = []

    def __call__(self, lightness: np.ndarray) -> tuple[np.ndarray, ...]:
        self.seen.append(lightness)
        rng = np.random.default_rng(0)
        height, width = lightness.shape[0] // STRIDE, lightness.shape[1] // STRIDE
        grids = [rng.gamma(0.5, size=(channels, height, width)) for channels in self.channels]
        if self.variant == "lab_l2":
            return tuple((30 * grid - 20).astype(np.float32) for grid in grids)
        return tuple((grid / grid.sum(axis=0)).astype(np.float32) for grid in grids)


def make_colorizer(
    folder: Path, variant: str = "hue_chroma", **manifest: int | float
) -> tuple[Colorizer, StubNet]:
    values = {"working_side": WORKING_SIDE, "maximum_side": MAXIMUM_SIDE, **manifest}
    Manifest("stub", variant, bins=BINS, stride=STRIDE, **values).save(folder)  # type: ignore[arg-type]
    net = StubNet(variant)
    return Colorizer(folder, net=net), net


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
    colorizer, _ = make_colorizer(tmp_path)
    assert colorizer.working_size(*size) == expected


@pytest.mark.parametrize("size", SIZES)
def test_network_input_is_resized_and_mirrored(tmp_path: Path, size: tuple[int, int]) -> None:
    colorizer, net = make_colorizer(tmp_path)
    light = grey_image(size)
    hue, chroma = colorizer.histograms(light)
    (padded,) = net.seen
    height, width = colorizer.working_size(*size)
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


@pytest.mark.parametrize("variant", ["hue_chroma", "lab_l2"])
def test_further_scales_are_averaged(tmp_path: Path, variant: str) -> None:
    """Each is what a colorizer of that working side predicts; one of one scale is as before."""
    light = grey_image((100, 150))
    alone = []
    for folder, side in (("whole", WORKING_SIDE), ("half", WORKING_SIDE // 2)):
        (tmp_path / folder).mkdir()
        colorizer, net = make_colorizer(tmp_path / folder, variant, working_side=side)
        alone.append((colorizer.histograms(light), net.seen[0]))
    both, net = make_colorizer(tmp_path, variant, scales=(1.0, 0.5))
    merged = both.histograms(light)
    for seen, (_, expected) in zip(net.seen, alone, strict=True):
        np.testing.assert_array_equal(seen, expected)
    (height, width), (half_height, half_width) = (WORKING_SIDE, 96), (WORKING_SIDE // 2, 48)
    for index, grid in enumerate(merged):
        grids = [outputs[index] for outputs, _ in alone]
        expected = merge_scales(
            grids, [(half_height / height, half_width / width)], are_histograms=variant != "lab_l2"
        )
        np.testing.assert_array_equal(grid, expected)
    assert both.predict(light).cells_per_pixel == (height / 100 / STRIDE, width / 150 / STRIDE)


def test_a_texture_is_left_grey_where_the_model_says_so(tmp_path: Path) -> None:
    """A checkerboard is one; of its chroma all mass is in the first bin. Squares of 16 pixels are things."""
    (tmp_path / "plain").mkdir()
    plain, _ = make_colorizer(tmp_path / "plain")
    careful, _ = make_colorizer(tmp_path, grey_textures=True)
    texture = 0.4 + 0.2 * (np.indices((64, 96)).sum(axis=0) % 2).astype(np.float32)
    squares = np.random.default_rng(3).random((4, 6), dtype=np.float32)
    photo = np.kron(squares, np.ones((16, 16), np.float32))
    for image in (texture, photo):
        hue, chroma = careful.histograms(image)
        expected_hue, expected_chroma = plain.histograms(image)
        np.testing.assert_array_equal(hue, expected_hue)
        if image is photo:
            np.testing.assert_array_equal(chroma, expected_chroma)
        else:
            assert (chroma[..., 0] == 1).all() and (chroma[..., 1:] == 0).all()


def oracle_histograms(colorizer: Colorizer, light: np.ndarray) -> list[np.ndarray]:
    """Enlarge the histograms by the stated positions of their cells, with scipy."""
    height, width = light.shape
    working_height, working_width = colorizer.working_size(height, width)
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
                for k in range(grid.shape[-1])
            ],
            axis=-1,
        )
        for grid in colorizer.histograms(light)
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tile_pixels", [1, 500, 10**9])
def test_colorize_against_whole_image_oracle(
    tmp_path: Path, size: tuple[int, int], tile_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_module, "_TILE_VALUES", tile_pixels * 2 * BINS)
    colorizer, _ = make_colorizer(tmp_path)
    light = grey_image(size)
    hue, chroma = oracle_histograms(colorizer, light)

    rgb = colorizer.colorize(light)
    assert rgb.dtype == np.float32 and rgb.shape == (*size, 3)
    expected = decode_hue_chroma(hue, chroma, light.astype(np.float64))
    # float32 against float64; where z nearly vanishes, or where the median's bin is nearly empty,
    # rounding is magnified.
    difference = np.abs(rgb - expected)
    assert np.quantile(difference, 0.99) < 1e-4 and difference.mean() < 1e-5
    np.testing.assert_allclose(lightness(rgb), light, atol=1e-6)

    hue_image, chroma_image = colorizer.predict(light).hue_chroma()
    expected_hue, expected_chroma = infer_hue_chroma(hue, chroma)
    turn = np.abs(hue_image - expected_hue)
    assert np.quantile(np.minimum(turn, 1 - turn), 0.99) < 1e-4
    assert np.quantile(np.abs(chroma_image - expected_chroma), 0.99) < 1e-4


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(
    ("variant", "method"), [*product(HISTOGRAM_VARIANTS, METHODS), ("lab_l2", None)]
)
def test_tiles_equal_the_whole(
    tmp_path: Path,
    variant: str,
    method: str | None,
    sampling: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prediction = make_colorizer(tmp_path, variant)[0].predict(grey_image((37, 53)))

    def colorize(tile_values: int, seed: int = 3) -> np.ndarray:
        monkeypatch.setattr(prediction_module, "_TILE_VALUES", tile_values)
        rng = np.random.default_rng(seed)
        return prediction.colorize(method=method, rng=rng, sampling=sampling)

    whole = colorize(10**9)
    # One row, and some rows, at a time. The products of float32 rows and vectors, of which BLAS
    # has one routine for few and another for many rows, may differ in the last digit.
    for tile_values in (1, 10_000):
        np.testing.assert_allclose(colorize(tile_values), whole, atol=2e-5)
    assert (method == "sample") == (np.abs(colorize(10**9, seed=4) - whole).max() > 1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_against_whole_image_oracle(tmp_path: Path, variant: str) -> None:
    colorizer, _ = make_colorizer(tmp_path, variant)
    light = grey_image((65, 200))
    rgb = colorizer.colorize(light, strength=0.8)
    expected = decode(
        variant, oracle_histograms(colorizer, light), light.astype(np.float64), strength=0.8
    )
    assert np.quantile(np.abs(rgb - expected), 0.99) < 1e-4


def test_samples_are_drawn_row_by_row(tmp_path: Path) -> None:
    colorizer, _ = make_colorizer(tmp_path)
    light = grey_image((20, 30))
    hue, chroma = oracle_histograms(colorizer, light)
    for sampling, shape in (("pixel", (20, 30, 2)), ("image", (2,))):
        rng = np.random.default_rng(5)
        rgb = colorizer.colorize(light, method="sample", rng=rng, sampling=sampling)
        uniforms = draw_uniforms(np.random.default_rng(5), shape)
        expected = decode_hue_chroma(
            hue,
            chroma,
            light.astype(np.float64),
            hue="sample",
            chroma="sample",
            uniforms=uniforms,
        )
        # float32 and float64 draw another bin now and then.
        assert np.quantile(np.abs(rgb - expected), 0.99) < 1e-4


@pytest.mark.parametrize(
    ("variant", "options", "message"),
    [
        ("hue_chroma", {"method": "sample"}, "rng: expected a numpy Generator.*None"),
        ("hue_chroma", {"hue": "sample", "rng": 7}, "rng: expected a numpy Generator.*7"),
        (
            "hue_chroma",
            {"method": "sample", "rng": np.random.default_rng(0), "sampling": "tile"},
            "sampling: expected one of pixel, image, got 'tile'",
        ),
        ("lab_joint", {"hue": "mode"}, "a lab_joint model predicts no hue"),
        ("lab_l2", {"method": "mode"}, "a lab_l2 model predicts colours"),
    ],
)
def test_wrong_options(tmp_path: Path, variant: str, options: dict, message: str) -> None:
    colorizer, _ = make_colorizer(tmp_path, variant)
    with pytest.raises(ValueError, match=message):
        colorizer.colorize(grey_image((8, 9)), **options)


def test_only_hue_chroma_models_give_hue_and_chroma(tmp_path: Path) -> None:
    colorizer, _ = make_colorizer(tmp_path, "lab_l2")
    with pytest.raises(ValueError, match="variant: expected 'hue_chroma', got 'lab_l2'"):
        colorizer.predict(grey_image((8, 9))).hue_chroma()


def test_options_reach_the_decoder(tmp_path: Path) -> None:
    colorizer, _ = make_colorizer(tmp_path, strength=0.5)
    light = grey_image((40, 30))
    hue, chroma = oracle_histograms(colorizer, light)
    options = {"hue": "mode", "fading": False}
    for strength in (None, 0.0, 1.5):
        rgb = colorizer.colorize(light, method="expectation", strength=strength, **options)  # type: ignore[arg-type]
        expected = decode_hue_chroma(
            hue,
            chroma,
            light.astype(np.float64),
            strength=0.5 if strength is None else strength,
            chroma="expectation",
            **options,  # type: ignore[arg-type]
        )
        assert np.quantile(np.abs(rgb - expected), 0.99) < 1e-4
    np.testing.assert_allclose(colorizer.colorize(light, strength=0), light[..., None] + [0] * 3)


def test_working_side_instead_of_the_manifests(tmp_path: Path) -> None:
    make_colorizer(tmp_path)
    net = StubNet()
    colorizer = Colorizer(tmp_path, working_side=20, net=net)
    assert colorizer.working_size(40, 60) == (20, 30)
    with pytest.raises(ValueError, match="working_side: expected 1 to 160, got 161"):
        Colorizer(tmp_path, working_side=161, net=net)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "size"), [("hue_chroma", (3000, 4000)), ("lab_joint", (1000, 1500))]
)
def test_megapixels_in_bounded_memory(tmp_path: Path, variant: str, size: tuple[int, int]) -> None:
    colorizer, _ = make_colorizer(tmp_path, variant)
    light = np.full(size, 0.5, np.float32)
    tracemalloc.start()
    rgb = colorizer.colorize(light)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Beyond the result (144 or 18 MB) only the resized input and tiles; all histograms would be
    # 768 or 384 MB.
    assert peak < rgb.nbytes + 64e6


@pytest.mark.parametrize(
    ("light", "message"),
    [
        (np.zeros((4, 4), np.int32), "image: .*int32"),
        (np.full((4, 4), 128.0), "image: .*128"),
        (np.full((4, 4), np.nan), "image: .*nan"),
        (np.zeros((4, 4, 2)), r"image: expected shape \(H, W\), .* got \(4, 4, 2\)"),
        (np.zeros((0, 4)), r"image: expected shape \(H, W\), .* got \(0, 4\)"),
    ],
)
def test_wrong_lightness(tmp_path: Path, light: np.ndarray, message: str) -> None:
    colorizer, _ = make_colorizer(tmp_path)
    with pytest.raises(ValueError, match=message):
        colorizer.histograms(light)


def test_network_that_does_not_fit_the_manifest(tmp_path: Path) -> None:
    make_colorizer(tmp_path)
    colorizer = Colorizer(tmp_path, net=StubNet(bins=16))
    with pytest.raises(ModelError, match=r"blob 'hue': expected shape \(8, 8, 8\).*\(16, 8, 8\)"):
        colorizer.colorize(grey_image((32, 32)))


def test_with_real_caffe(model_folder: Path) -> None:
    colorizer = Colorizer(model_folder)
    for size in ((1, 1), (7, 300), (90, 61)):
        light = grey_image(size)
        rgb = colorizer.colorize(light)
        assert rgb.shape == (*size, 3)
        np.testing.assert_allclose(lightness(rgb), light, atol=1e-6)


# ---- the deploy nets of the variants in real Caffe


def save_random_model(folder: Path, network: ColorizationNet, manifest: Manifest) -> None:
    """Write a model folder with random weights that keep the size of the activations."""
    deploy = folder / manifest.deploy
    deploy.write_text(str(network.deploy_net(manifest.stride)), encoding="utf-8")
    caffe = import_caffe()
    net = caffe.Net(str(deploy), caffe.TEST)
    rng = np.random.default_rng(0)
    for weights, biases in net.params.values():
        inputs = weights.data[0].size
        weights.data[...] = rng.normal(scale=np.sqrt(2 / inputs), size=weights.data.shape)
        biases.data[...] = rng.normal(scale=0.1, size=biases.data.shape)
    net.save(str(folder / manifest.weights))
    manifest.save(folder)


@pytest.fixture(scope="module")
def slim_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders of models of all variants, a thirty-second as wide as the paper's."""
    folders = {}
    for variant in VARIANTS:
        network = ColorizationNet(variant, width=1 / 32)
        manifest = Manifest("slim", variant, network.levels, network.heads[0].bins or 1)
        folders[variant] = tmp_path_factory.mktemp(variant)
        save_random_model(folders[variant], network, manifest)
    return folders


@pytest.mark.parametrize("size", [(1, 1), (7, 3000), (3000, 7), (90, 61)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_in_caffe(
    slim_models: dict[str, Path], variant: str, size: tuple[int, int]
) -> None:
    colorizer = Colorizer(slim_models[variant])
    light = grey_image(size)
    outputs = colorizer.histograms(light)
    height, width = (-(-side // 4) for side in colorizer.working_size(*size))
    channels = {"lab_joint": (256,), "lab_l2": (2,)}.get(variant, (32, 32))
    assert [grid.shape for grid in outputs] == [(height, width, count) for count in channels]
    if variant != "lab_l2":
        for grid in outputs:
            assert grid.min() >= 0
            np.testing.assert_allclose(grid.sum(axis=-1), 1, atol=1e-5)
    for method in (None,) if variant == "lab_l2" else METHODS:
        rgb = colorizer.colorize(light, method=method, rng=np.random.default_rng(0))
        assert rgb.shape == (*size, 3) and rgb.dtype == np.float32
        np.testing.assert_allclose(lightness(rgb), light, atol=1e-6)
    # Untrained histograms are nearly even, so their expectations are nearly grey.
    assert np.ptp(rgb, axis=-1).max() > 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_are_those_of_the_net(slim_models: dict[str, Path], variant: str) -> None:
    folder = slim_models[variant]
    caffe = import_caffe()
    net = caffe.Net(str(folder / "deploy.prototxt"), str(folder / "weights.caffemodel"), caffe.TEST)
    light = grey_image((64, 96))
    net.blobs["data"].reshape(1, 1, 64, 96)
    net.blobs["data"].data[...] = light
    blobs = net.forward()
    for name, grid in zip(
        [head.output for head in ColorizationNet(variant, width=1 / 32).heads],
        Colorizer(folder).histograms(light),
        strict=True,
    ):
        expected = np.moveaxis(blobs[name][0], 0, -1)
        # The heads are in the hypercolumn's layer, whose sums have another order.
        np.testing.assert_allclose(grid, expected, atol=1e-5 * np.abs(expected).max())


def test_net_of_another_variant(slim_models: dict[str, Path], tmp_path: Path) -> None:
    for name in ("deploy.prototxt", "weights.caffemodel"):
        (tmp_path / name).symlink_to(slim_models["lab_marginal"] / name)
    Manifest("wrong", "lab_joint", bins=16).save(tmp_path)
    with pytest.raises(ModelError, match="expected a blob named 'ab', got none"):
        Colorizer(tmp_path)


def colorize_four_megapixels(folder: Path, working_side: int) -> None:
    """Colorize images of two shapes and print what it took; run in a process of its own."""
    network = ColorizationNet(levels="data..conv5_3")
    save_random_model(folder, network, Manifest("wide", levels=network.levels))
    colorizer = Colorizer(folder, working_side=working_side)
    for size in ((2000, 2000), (1000, 4000)):
        start = time.perf_counter()
        rgb = colorizer.colorize(grey_image(size))
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        finite = bool(np.isfinite(rgb).all())
        print(
            json.dumps({"size": size, "peak_gib": peak, "seconds": seconds, "finite": finite}),
            flush=True,
        )


@pytest.mark.slow
@pytest.mark.alone
def test_four_megapixels_in_under_six_gib(tmp_path: Path) -> None:
    # The demo's network, 4,225 hypercolumn channels, at the default working size.
    command = [sys.executable, __file__, str(tmp_path), str(Manifest("any").working_side)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(found) == 2
    for image in found:
        assert image["finite"]
        assert image["peak_gib"] < 6


def test_missing_weights(model_folder: Path, tmp_path: Path) -> None:
    Manifest("tiny").save(tmp_path)
    with pytest.raises(ModelError, match=r"deploy\.prototxt: no such file"):
        Colorizer(tmp_path)


if __name__ == "__main__":
    colorize_four_megapixels(Path(sys.argv[1]), int(sys.argv[2]))
