"""TIFF files of every kind, written byte by byte: each is read right, or refused in one line."""

from __future__ import annotations

import io
import itertools
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autocolor.imaging.images import ImageError, count_pages, image_size, read_image
from helpers.tiff_writer import (
    DEFLATE,
    LZW,
    NONE,
    PACKBITS,
    SHORT,
    UNDEFINED,
    Page,
    lay,
    rationals,
    write_tiff,
)

REPORTS = Path(__file__).resolve().parents[2] / "fixtures" / "reports"
HEIGHT, WIDTH = 7, 9
KINDS = (
    "white_is_zero",
    "grey",
    "grey_alpha",
    "rgb",
    "rgba",
    "rgb_premultiplied",
    "rgb_extra",
    "rgb_untold_alpha",
    "palette",
    "cmyk",
    "cmyk_alpha",
    "ycbcr",
    "cielab",
    "icclab",
)
DEPTHS = (1, 4, 8, 12, 16, 32, "f16", "f32")
LAYOUTS = ("contiguous strips", "one strip", "planar strips", "tiles", "planar tiles")
COMPRESSIONS = (NONE, LZW, DEFLATE, PACKBITS)
# Of a kind in a depth that TIFF does not define, or hardly any program writes.
UNDEFINED_DEPTHS = {
    "palette": (12, 32, "f16", "f32"),
    "ycbcr": (1, 4, 12, 32, "f16", "f32"),
    "cielab": (1, 4, 12, 32, "f16", "f32"),
    "icclab": (1, 4, 12, 32, "f16", "f32"),
}
GREYS = ("white_is_zero", "grey", "grey_alpha")


def quantized(
    rng: np.random.Generator, count: int, depth: int | str
) -> tuple[np.ndarray, np.ndarray]:
    """Random samples as they are stored, and in [0, 1]."""
    if isinstance(depth, str):
        stored = rng.random((HEIGHT, WIDTH, count)).astype(f"f{int(depth[1:]) // 8}")
        return stored, stored.astype(np.float64)
    stored = rng.integers(0, 1 << depth, (HEIGHT, WIDTH, count)).astype(np.uint64)
    return stored, stored / ((1 << depth) - 1)


def from_linear(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """From Lab with the white of D50, by the published formulas and Bradford's matrix."""
    f_y = (lab[..., 0] + 16) / 116
    f = np.stack([f_y + lab[..., 1] / 500, f_y, f_y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1, 0.8249]
    matrix = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    return from_linear(xyz @ np.transpose(matrix))


def make(
    kind: str, depth: int | str, rng: np.random.Generator
) -> tuple[Page, np.ndarray, np.ndarray | None]:
    """A page, not yet turned, with the RGB and the opacity that it means."""
    bits = int(depth[1:]) if isinstance(depth, str) else depth
    full = (1 << bits) - 1

    def page(stored: np.ndarray, photometric: int, extras: tuple[int, ...] = ()) -> Page:
        return Page(stored, bits, photometric, extras=extras)

    if kind in GREYS:
        stored, values = quantized(rng, 2 if kind == "grey_alpha" else 1, depth)
        grey = np.repeat(values[..., :1], 3, axis=-1)
        if kind == "white_is_zero":
            return page(stored, 0), 1 - grey, None
        return (
            page(stored, 1, (2,) if kind == "grey_alpha" else ()),
            grey,
            (values[..., 1] if kind == "grey_alpha" else None),
        )
    if kind == "palette":
        colors = rng.integers(0, 65536, (1 << bits, 3))
        stored, _ = quantized(rng, 1, depth)
        result = page(stored, 3)
        result.tags[320] = (SHORT, colors.T.ravel().tolist())
        return result, colors[stored[..., 0].astype(int)] / 65535, None
    if kind.startswith("cmyk"):
        stored, values = quantized(rng, 5 if kind == "cmyk_alpha" else 4, depth)
        rgb = (1 - values[..., :3]) * (1 - values[..., 3:4])
        alpha = values[..., 4] if kind == "cmyk_alpha" else None
        return page(stored, 5, (2,) if kind == "cmyk_alpha" else ()), rgb, alpha
    if kind == "ycbcr":
        rgb = rng.random((HEIGHT, WIDTH, 3))
        light = rgb @ [0.299, 0.587, 0.114]
        blue, red = (rgb[..., 2] - light) / 1.772, (rgb[..., 0] - light) / 1.402
        half = (full + 1) // 2
        coded = np.stack([light * full, blue * full + half, red * full + half], -1)
        stored = np.rint(np.clip(coded, 0, full)).astype(np.uint64)
        result = page(stored, 6)
        result.tags[530] = (SHORT, [1, 1])
        return result, rgb, None
    if kind in ("cielab", "icclab"):
        lab = np.stack(
            [rng.uniform(30, 80, (HEIGHT, WIDTH)), *rng.uniform(-15, 15, (2, HEIGHT, WIDTH))], -1
        )
        unit = 1 << (bits - 8)
        signed = np.rint(lab * unit).astype(np.int64)
        if kind == "cielab":
            coded = signed % (1 << bits)
            coded[..., 0] = np.rint(lab[..., 0] / 100 * full)
        else:
            coded = signed + 128 * unit
            coded[..., 0] = np.rint(lab[..., 0] / 100 * (0xFF00 if bits == 16 else full))
        return page(coded.astype(np.uint64), 8 if kind == "cielab" else 9), lab_to_srgb(lab), None
    stored, values = quantized(rng, 3 if kind == "rgb" else 4, depth)
    extras = {"rgba": (2,), "rgb_premultiplied": (1,), "rgb_extra": (0,)}.get(kind, ())
    rgb, alpha = values[..., :3], None
    if kind in ("rgba", "rgb_untold_alpha"):
        alpha = values[..., 3]
    if kind == "rgb_premultiplied":
        stored[..., 3] = np.maximum(stored[..., 3], stored[..., :3].max(axis=-1))
        alpha = stored[..., 3] / (1 if isinstance(depth, str) else full)
        rgb = np.where(alpha[..., None] > 0, rgb / np.maximum(alpha, 1e-9)[..., None], 0)
    return page(stored, 2, extras), rgb, alpha


def generated() -> list[tuple[str, str, int | str, int, str, str, int]]:
    """Every kind in every depth, with the rest drawn so that all of it comes often."""
    rng = np.random.default_rng(18)
    cases = []
    for kind, depth in itertools.product(KINDS, DEPTHS):
        if depth in UNDEFINED_DEPTHS.get(kind, ()):
            continue
        for _ in range(3):
            orientation = int(rng.integers(1, 9))
            order = "<>"[rng.integers(2)]
            layout = LAYOUTS[rng.integers(5)]
            compression = COMPRESSIONS[rng.integers(4)]
            cases.append((f"{kind}-{depth}", kind, depth, orientation, order, layout, compression))
    return cases


def laid_out(page: Page, orientation: int, layout: str, compression: int) -> Page:
    return replace(
        page,
        samples=lay(page.samples, orientation),
        orientation=orientation,
        planar=2 if "planar" in layout else 1,
        rows=100 if layout == "one strip" else 3,
        tile=16 if "tiles" in layout else 0,
        compression=compression,
    )


def check(
    path: Path, rgb: np.ndarray, alpha: np.ndarray | None, page: int = 0, atol: float = 2e-5
) -> None:
    photo = read_image(path, page)
    assert photo.rgb.dtype == np.float32
    np.testing.assert_allclose(photo.rgb, rgb, atol=atol)
    assert (photo.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_allclose(photo.alpha, alpha, atol=1e-6)


def test_there_are_200_files_of_all_kinds() -> None:
    cases = generated()
    assert len(cases) >= 200
    for place in range(1, 7):
        values = {case[place] for case in cases}
        assert values >= set((KINDS, DEPTHS, range(1, 9), "<>", LAYOUTS, COMPRESSIONS)[place - 1])


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{number}-{case[0]}") for number, case in enumerate(generated())],
)
def test_generated_file_is_read_right(tmp_path: Path, case: tuple) -> None:  # type: ignore[type-arg]
    name, kind, depth, orientation, order, layout, compression = case
    page, rgb, alpha = make(kind, depth, np.random.default_rng(len(name)))
    path = tmp_path / "a.tif"
    path.write_bytes(write_tiff([laid_out(page, orientation, layout, compression)], order))
    # 8 bits of chroma and of a and b are that coarse; littlecms is that exact in 16 bit.
    coarse = (
        {"ycbcr": 0.006, "cielab": 0.02, "icclab": 0.02}
        if depth == 8
        else {"ycbcr": 1e-3, "cielab": 2e-3, "icclab": 2e-3}
    )
    check(path, rgb, alpha, atol=coarse.get(kind, 2e-5))
    assert read_image(path).is_grey == (kind in GREYS)
    assert count_pages(path) == 1
    turned = orientation >= 5
    assert image_size(path) == ((WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH))


@pytest.mark.parametrize(
    "name",
    [
        "g12.tif",
        "g16_miniswhite.tif",
        "or6_L.tif",
        "or6_RGBA.tif",
        "or8_L16.tif",
        "rgb16_planar.tif",
    ],
)
def test_reported_file(name: str) -> None:
    with np.load(REPORTS / "expected.npz") as expected:
        np.testing.assert_allclose(
            read_image(REPORTS / name).rgb.mean(axis=-1), expected[name], atol=2e-4
        )


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("compression", [LZW, DEFLATE])
def test_predictor(tmp_path: Path, order: str, depth: int, planar: int, compression: int) -> None:
    page, rgb, _ = make("rgb", depth, np.random.default_rng(1))
    page = replace(page, predictor=2, planar=planar, compression=compression)
    (tmp_path / "a.tif").write_bytes(write_tiff([page], order))
    check(tmp_path / "a.tif", rgb, None)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_pages_of_different_kinds(tmp_path: Path, order: str, big: bool) -> None:
    rng = np.random.default_rng(2)
    made = [make(kind, 16, rng) for kind in ("rgb", "white_is_zero", "cmyk", "grey_alpha")]
    pages = [
        laid_out(page, number + 3, "one strip", NONE) for number, (page, _, _) in enumerate(made)
    ]
    pages[1].tags[254] = (SHORT, [2])  # a page of several
    thumbnail = replace(make("rgb", 8, rng)[0], tags={254: (SHORT, [1])})
    path = tmp_path / "a.tif"
    path.write_bytes(write_tiff([pages[0], thumbnail, *pages[1:]], order, big=big))
    assert count_pages(path) == 4
    for number, (_, rgb, alpha) in enumerate(made):
        check(path, rgb, alpha, number)
    with pytest.raises(
        ImageError, match=r"a\.tif: cannot be read: expected a page of 4, got number 5"
    ):
        read_image(path, 4)


def test_palette_of_8_bit(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (256, 3))
    indices = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 1))
    page = Page(indices.astype(np.uint64), 8, 3, tags={320: (SHORT, colors.T.ravel().tolist())})
    (tmp_path / "a.tif").write_bytes(write_tiff([page]))
    check(tmp_path / "a.tif", colors[indices[..., 0]] / 255, None)


def test_ycbcr_of_television(tmp_path: Path) -> None:
    """Luma from 16 to 235, with the coefficients of BT.709."""
    rgb = np.random.default_rng(3).random((HEIGHT, WIDTH, 3))
    light = rgb @ [0.2126, 0.7152, 0.0722]
    blue, red = (rgb[..., 2] - light) / 1.8556, (rgb[..., 0] - light) / 1.5748
    coded = np.stack([16 + 219 * light, 128 + 224 * blue, 128 + 224 * red], -1)
    page = Page(np.rint(coded).astype(np.uint64), 8, 6)
    page.tags |= {
        530: (SHORT, [1, 1]),
        529: rationals(0.2126, 0.7152, 0.0722),
        532: rationals(16, 235, 128, 240, 128, 240),
    }
    (tmp_path / "a.tif").write_bytes(write_tiff([page]))
    check(tmp_path / "a.tif", rgb, None, atol=0.008)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax(tmp_path: Path, compression: str, photometric: int) -> None:
    """As Pillow writes and reads it with libtiff: of 1 bit it says both meanings right."""
    path = tmp_path / "a.tif"
    bits = np.random.default_rng(4).random((HEIGHT, WIDTH)) > 0.5
    Image.fromarray(bits).save(path, compression=compression, tiffinfo={262: photometric})
    with Image.open(path) as written:
        assert written.tag_v2[262] == photometric
        expected = np.repeat(np.asarray(written)[..., None], 3, -1)
    check(path, expected.astype(float), None)


def smooth() -> np.ndarray:
    return np.linspace(0, 255, 32 * 48 * 3).reshape(32, 48, 3).astype(np.uint8)


@pytest.mark.parametrize("compression", ["jpeg", "tiff_adobe_deflate", "zstd", "lzma"])
def test_compressions_of_libtiff(tmp_path: Path, compression: str) -> None:
    """As Pillow writes them."""
    path = tmp_path / "a.tif"
    options = {"quality": 100} if compression == "jpeg" else {}
    Image.fromarray(smooth()).save(path, compression=compression, **options)
    check(path, smooth() / 255, None, atol=0.02 if compression == "jpeg" else 1e-6)


def write_stream(path: Path, page: Page, stream: bytes) -> None:
    """Write a page whose only strip is a picture of another format."""
    for _ in range(2):  # the tags make the file longer
        page.tags |= {273: (4, [len(write_tiff([page]))]), 279: (4, [len(stream)])}
    path.write_bytes(write_tiff([page]) + stream)


@pytest.mark.parametrize(
    ("form", "compression", "photometric", "options"),
    [
        ("JPEG", 7, 6, {"quality": 98, "subsampling": 2}),
        ("JPEG", 7, 6, {"quality": 98, "subsampling": 0}),
        ("WEBP", 50001, 2, {"lossless": True}),
        ("JPEG2000", 34712, 2, {"no_jp2": True}),
        ("PNG", 34933, 2, {}),
    ],
)
def test_pictures_as_strips(
    tmp_path: Path, form: str, compression: int, photometric: int, options: dict[str, object]
) -> None:
    stream = io.BytesIO()
    Image.fromarray(smooth()).save(stream, form, **options)
    page = Page(smooth(), 8, photometric, compression=compression, rows=32)
    if photometric == 6:
        side = 2 if options["subsampling"] else 1
        page.tags[530] = (SHORT, [side, side])
    path = tmp_path / "a.tif"
    write_stream(path, page, stream.getvalue())
    check(path, smooth() / 255, None, atol=0.04 if form == "JPEG" else 1e-6)
    write_stream(path, page, stream.getvalue()[: -len(stream.getvalue()) // 3])
    with pytest.raises(ImageError, match=r"a\.tif: cannot be read: "):
        read_image(path)


# ---- refused in one line


def tagged(kind: str, depth: int | str = 8, **tags: object) -> Page:
    page, _, _ = make(kind, depth, np.random.default_rng(0))
    page.tags |= {int(name[1:]): value for name, value in tags.items()}
    return page


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (tagged("rgb", t339=(SHORT, [2, 2, 2])), "sample format 2"),
        (tagged("rgb", t258=(SHORT, [5, 6, 5])), "5, 6, 5"),
        (tagged("grey", t262=(SHORT, [32803])), "photometric interpretation 32803"),
        (tagged("grey", t262=(SHORT, [4])), "photometric interpretation 4"),
        (tagged("rgb", t262=(SHORT, [1])), "expected 1 samples"),
        (tagged("cmyk", t332=(SHORT, [2])), "inks"),
        (tagged("cmyk", t336=(SHORT, [10, 245])), "inks"),
        (tagged("palette", t320=(SHORT, [1, 2, 3])), "palette"),
        (tagged("grey", t259=(SHORT, [34661])), "compression"),
        (tagged("grey", 12, t317=(SHORT, [2])), "predictor 2 with 12 bits"),
        (tagged("white_is_zero", t277=(SHORT, [2]), t338=(SHORT, [1])), "premultiplied"),
        (tagged("ycbcr", t530=(SHORT, [2, 2])), "subsampling"),
        (replace(tagged("grey", "f32"), samples=np.full((2, 2, 1), 3, np.float32)), "got .3, 3."),
        (
            replace(tagged("grey", "f32"), samples=np.full((2, 2, 1), np.nan, np.float32)),
            "got .nan",
        ),
        (tagged("rgb", t273=(4, [8, 8, 10**6])), "cut short"),
        (tagged("rgb", t279=(4, [189, 0, 63])), "cut short"),
        (tagged("rgb", t256=(4, [10**5]), t257=(4, [10**5])), "10000000000 pixels"),
        (tagged("rgb", t256=(4, [0])), "at least 1 x 1"),
        (
            replace(tagged("rgb"), tile=16, tags={322: (4, [2**20]), 323: (4, [2**20])}),
            "1099511627776 pixels",
        ),
        (tagged("rgb", t277=(SHORT, [60000]), t338=(SHORT, [0] * 59997)), "at most 8 samples"),
    ],
)
def test_refused(
    tmp_path: Path, page: Page, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.tif").write_bytes(write_tiff([page]))
    with pytest.raises(ImageError, match=rf"a\.tif: cannot be read: .*{problem}") as caught:
        read_image(tmp_path / "a.tif")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_short_strip(tmp_path: Path, compression: int) -> None:
    page = replace(tagged("rgb"), compression=compression)
    short = replace(page, samples=page.samples[:, :-1])
    short.tags[256] = (4, [WIDTH])
    (tmp_path / "a.tif").write_bytes(write_tiff([short]))
    with pytest.raises(ImageError):
        read_image(tmp_path / "a.tif")


@pytest.mark.slow
def test_bomb(tmp_path: Path) -> None:
    """A strip of 10 x 10 pixels that holds 40,000 x 40,000 as PNG."""
    stream = io.BytesIO()
    Image.new("1", (40000, 40000)).save(stream, "PNG")
    page = Page(np.zeros((10, 10, 1), np.uint8), 8, 1, compression=34933, rows=10)
    write_stream(tmp_path / "a.tif", page, stream.getvalue())
    with pytest.raises(ImageError, match="1600000000 pixels"):
        read_image(tmp_path / "a.tif")


def test_damage_never_escapes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(6)
    for kind, compression in itertools.product(("rgba", "palette", "ycbcr"), (NONE, LZW)):
        page = replace(tagged(kind), compression=compression)
        content = write_tiff([page, page])
        for _ in range(40):
            damaged = bytearray(content)
            for place in rng.integers(0, len(damaged), 4):
                damaged[place] = rng.integers(256)
            path = tmp_path / "a.tif"
            path.write_bytes(damaged[: rng.integers(4, 2 * len(damaged))])
            try:
                assert read_image(path, count_pages(path) - 1).rgb.ndim == 3
            except ImageError as error:
                assert str(path) in str(error) and "\n" not in str(error)  # noqa: PT017
    assert capfd.readouterr().err == ""


def test_profile_of_the_page(tmp_path: Path) -> None:
    """Linear light, in 16 bit."""
    with Image.open(REPORTS / "icc_srgb_linear.png") as image:
        profile = image.info["icc_profile"]
    page, rgb, alpha = make("rgba", 16, np.random.default_rng(7))
    page.tags[34675] = (UNDEFINED, list(profile))
    (tmp_path / "a.tif").write_bytes(write_tiff([page], ">"))
    check(tmp_path / "a.tif", from_linear(rgb), alpha, atol=1e-3)


@pytest.mark.parametrize("depth", [1, 8, 12, 16])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_bits_from_the_right(tmp_path: Path, depth: int, compression: int) -> None:
    """FillOrder 2: the bits of each byte are the other way round."""
    page, rgb, _ = make("rgb", depth, np.random.default_rng(8))
    page = replace(page, compression=compression, rows=100)
    page.tags[266] = (SHORT, [2])
    content = bytearray(write_tiff([page]))
    (end,) = struct.unpack_from("<I", content, 4)  # of the strip: the directory follows
    content[8:end] = bytes(int(f"{byte:08b}"[::-1], 2) for byte in content[8:end])
    (tmp_path / "a.tif").write_bytes(content)
    check(tmp_path / "a.tif", rgb, None)
