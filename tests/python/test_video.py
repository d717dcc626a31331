"""Videos: frames, sound and time stamps are kept, and the colours do not flicker."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from autocolor.histograms.prediction import Prediction
from autocolor.imaging.images import ImageError
from autocolor.runtime.colorizer import Colorizer
from autocolor.video import HistogramSmoother, colorize_video

FRAMES = 12


def write_video(path: Path, size: tuple[int, int], sound: bool = True) -> None:
    """A bright disc that moves over a grey ramp, and a tone."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=Fraction(12), options={"crf": "10"})
        pictures.width, pictures.height = width, height
        pictures.pix_fmt = "yuv420p" if height % 2 == 0 else "yuv444p"
        if sound:
            audio = container.add_stream("aac", rate=16000)
            audio.codec_context.layout = "mono"
        for index in range(FRAMES):
            grey = 60 + 100 * x / width
            grey[np.hypot(y - height / 2, x - 5 * index) < 8] = 230
            frame = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(pictures.encode())
        if sound:
            tone = np.sin(np.arange(16000) / 16000 * 2 * np.pi * 440).astype(np.float32)[None]
            samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            samples.sample_rate = 16000
            container.mux(audio.encode(samples))
            container.mux(audio.encode())


def read_frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("name", "size"), [("a.mp4", (48, 64)), ("a.mkv", (47, 63)), ("a.webm", (48, 64))]
)
def test_frames_sound_and_time_are_kept(
    tmp_path: Path, model_folder: Path, name: str, size: tuple[int, int]
) -> None:
    write_video(tmp_path / "in.mp4", size, sound=not name.endswith("webm"))  # no AAC in WebM
    out = tmp_path / name
    assert (
        colorize_video(Colorizer(model_folder), tmp_path / "in.mp4", out, progress=False) == FRAMES
    )
    before, after = read_frames(tmp_path / "in.mp4"), read_frames(out)
    assert len(after) == FRAMES
    for original, colorized in zip(before, after, strict=True):
        assert colorized.shape == original.shape
        # Lossy twice, and colour may be halved in resolution.
        assert np.abs(colorized.mean(axis=-1) - original.mean(axis=-1)).mean() < 4
        assert np.ptp(colorized.astype(int), axis=-1).mean() > 5
    with av.open(str(tmp_path / "in.mp4")) as source, av.open(str(out)) as target:
        assert float(target.streams.video[0].average_rate) == pytest.approx(12, rel=0.01)
        assert len(target.streams.audio) == len(source.streams.audio)


def prediction(hue: int, light: float) -> Prediction:
    one_hot = np.zeros((2, 3, 32), np.float32)
    one_hot[..., hue] = 1
    grey = np.full((8, 12), light, np.float32)
    return Prediction("hue_chroma", grey, (one_hot, one_hot), (0.25, 0.25), 1.0)


def test_smoothing_is_a_moving_average_that_ends_at_a_cut() -> None:
    smoother = HistogramSmoother(0.75)
    first = smoother.smooth(prediction(3, 0.5)).outputs[0]
    assert first[0, 0, 3] == 1
    second = smoother.smooth(prediction(9, 0.52)).outputs[0]
    assert second[0, 0, [3, 9]].tolist() == [0.75, 0.25]
    assert second.sum() == pytest.approx(6)
    third = smoother.smooth(prediction(9, 0.9)).outputs[0]  # another shot
    assert third[0, 0, [3, 9]].tolist() == [0, 1]
    with pytest.raises(ValueError, match="smoothing: expected a number in"):
        HistogramSmoother(1)


def test_bad_videos_are_refused(tmp_path: Path, model_folder: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    colorizer = Colorizer(model_folder)
    for name, message in (
        ("text.mp4", "text.mp4: cannot be colorized"),
        ("none.mp4", "no such file"),
    ):
        with pytest.raises(ImageError, match=message):
            colorize_video(colorizer, tmp_path / name, tmp_path / "out.mp4", progress=False)
    assert not (tmp_path / "out.mp4").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]
