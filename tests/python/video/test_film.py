"""Videos: frames, sound and time stamps are kept, and the colours do not flicker."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from autocolor.histograms.decode import DecodeOptions
from autocolor.runtime.colorizer import Colorizer
from autocolor.video import film as film_module
from autocolor.video.film import SEGMENT, colorize_video
from autocolor.video.formats import is_video
from autocolor.video.source import VideoError, survey_video
from helpers.films import Film, ffmpeg, play, write_film
from helpers.programs import run, wait_until

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


class CountingNet:
    """In place of a network: colours that depend on the lightness; counts its frames."""

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        self.frames += 1
        height, width = (side // 4 for side in image.shape)
        cells = image.reshape(height, 4, width, 4).mean(axis=(1, 3))
        hue = np.moveaxis(np.eye(32, dtype=np.float32)[(cells * 31.9).astype(int)], -1, 0)
        return hue, hue[::-1]


def write_long_film(path: Path) -> Path:
    """2.5 segments, with sound; the segments are not alike."""
    return write_film(path, Film(path.suffix, size=(64, 64), frames=250, sounds=("aac",)))


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_done_is_said_in_one_line_each(tmp_path: Path, model_folder: Path) -> None:
    video = write_film(tmp_path / "a.avi", Film(".avi", "mpeg4", sounds=("pcm_s16le", "adpcm_ms")))
    said: list[str] = []
    colorize_video(
        Colorizer(model_folder), video, tmp_path / "a.mp4", progress=False, say=said.append
    )
    assert said == [
        f"{video}: audio 1 (pcm_s16le) becomes aac (stereo): .mp4 does not hold it well",
        f"{video}: audio 2 (adpcm_ms) becomes aac (stereo): .mp4 does not hold it well",
    ]


def test_subtitles_tags_and_chapters(tmp_path: Path, model_folder: Path) -> None:
    """Matroska keeps subtitles; MP4 does not hold these, which is said."""
    plain = write_film(tmp_path / "plain.mkv", Film(".mkv", sounds=("aac",)))
    (tmp_path / "words.srt").write_text("1\n00:00:00,040 --> 00:00:00,200\nA word\n")
    ffmpeg(
        "-i",
        plain,
        "-i",
        tmp_path / "words.srt",
        "-map",
        0,
        "-map",
        1,
        "-c",
        "copy",
        "-metadata",
        "title=A film",
        "-metadata:s:a:0",
        "language=deu",
        tmp_path / "in.mkv",
    )
    said: list[str] = []
    for name in ("out.mkv", "out.mp4"):
        colorize_video(
            Colorizer(model_folder),
            tmp_path / "in.mkv",
            tmp_path / name,
            progress=False,
            say=said.append,
        )
        with av.open(str(tmp_path / name)) as container:
            assert container.metadata["title"] == "A film"
            assert container.streams.audio[0].language in ("deu", "ger")
            assert len(container.streams.subtitles) == (name == "out.mkv")
    words = ffmpeg("-i", tmp_path / "out.mkv", "-map", "0:s", "-f", "srt", "-")
    assert b"A word" in words and b"00:00:00,04" in words
    assert len(said) == 1 and "subtitle 2 (subrip) is left out" in said[0]


@pytest.mark.slow
def test_two_passes_resume_without_a_network_run_twice(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_long_film(tmp_path / "in.mp4")
    whole = tmp_path / "whole.mp4"
    colorize_video(Colorizer(model_folder, net=CountingNet()), video, whole, progress=False)

    encode = film_module.encode_segment
    calls = 0

    def encode_until_full(*arguments: object) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 4:  # one is the rehearsal
            raise OSError(28, "No space left on device")
        return encode(*arguments)

    monkeypatch.setattr(film_module, "encode_segment", encode_until_full)
    output = tmp_path / "out.mp4"
    with pytest.raises(
        VideoError,
        match=r"out\.mp4: cannot be written: No space left on device; 200 frames are kept",
    ):
        colorize_video(Colorizer(model_folder, net=CountingNet()), video, output, progress=False)
    monkeypatch.undo()
    assert not output.exists()
    net, said = CountingNet(), []
    colorize_video(Colorizer(model_folder, net=net), video, output, progress=False, say=said.append)
    assert said == [f"{output}: goes on after 200 of 250 frames"]
    assert net.frames == 50 + 8  # those that the first new frame's colours depend on
    assert output.read_bytes() == whole.read_bytes()
    assert listed(tmp_path) == ["in.mp4", "out.mp4", "whole.mp4"]


def test_what_other_options_left_is_not_used(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_module, "SEGMENT", 4)
    video, output = write_film(tmp_path / "in.mp4", Film(".mp4")), tmp_path / "out.mp4"
    join = film_module.join
    monkeypatch.setattr(film_module, "join", lambda *arguments: join(*arguments[:4], "/", print))
    with pytest.raises(VideoError, match="out.mp4: cannot be written: Is a directory"):
        colorize_video(Colorizer(model_folder), video, output, progress=False)
    assert not output.with_name(".out.mp4.work").exists()  # it was noticed before the long pass

    def fail_at_the_end(*arguments: object) -> None:
        if arguments[4] != "/dev/null":
            raise OSError(28, "No space left on device")

    for options in (DecodeOptions(strength=0), DecodeOptions(strength=2)):
        monkeypatch.setattr(film_module, "join", fail_at_the_end)
        said: list[str] = []
        with pytest.raises(VideoError, match="12 frames are kept"):
            colorize_video(
                Colorizer(model_folder), video, output, options, progress=False, say=said.append
            )
        assert not said
    monkeypatch.setattr(film_module, "join", join)
    colorize_video(Colorizer(model_folder), video, output, options, progress=False, say=said.append)
    assert said == [f"{output}: goes on after 12 of 12 frames"]
    assert np.ptp(play(output).frames.astype(int), axis=-1).mean() > 10  # in colour


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_film(tmp_path: Path, model_folder: Path) -> None:
    video = write_long_film(tmp_path / "in.mp4")
    command = [
        sys.executable,
        "-m",
        "autocolor.cli",
        str(video),
        "--model",
        str(model_folder),
        "-o",
    ]
    run(*command, tmp_path / "whole.mp4")
    output = tmp_path / "out.mp4"
    work = tmp_path / ".out.mp4.work"
    for segment in (0, 1):
        process = subprocess.Popen(
            [*command, str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda kept=work / f"{segment * SEGMENT:09d}.nut": kept.exists(), process)
        process.kill()
        process.wait()
        assert not output.exists()
    done = run(*command, output)
    assert re.search(r"goes on after [12]00 of 250 frames", done.stderr)
    assert re.search(r"250/250 \[.*(frame/s|s/frame)", done.stderr)  # with the time left
    assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert listed(tmp_path) == ["in.mp4", "out.mp4", "whole.mp4"]


@pytest.mark.slow
def test_a_limit_of_space_is_named(tmp_path: Path, model_folder: Path) -> None:
    """Each segment fits below the limit, the whole film does not."""
    video = write_long_film(tmp_path / "in.mp4")
    output = tmp_path / "out.mp4"
    colorize_video(Colorizer(model_folder), video, output, progress=False)
    limit = output.stat().st_size - 1000
    output.unlink()

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "autocolor.cli", video, "--model", model_folder, "-o", output]
    done = run(*command, status=1, preexec_fn=limited)
    assert (
        f"autocolor: error: {output}: cannot be written: File too large; "
        "250 frames are kept, and the same command goes on"
    ) in done.stderr
    assert "Traceback" not in done.stderr and not output.exists()
    run(*command)
    assert listed(tmp_path) == ["in.mp4", "out.mp4"]


def test_two_at_once_are_refused(tmp_path: Path, model_folder: Path) -> None:
    video, output = write_film(tmp_path / "in.mp4", Film(".mp4")), tmp_path / "out.mp4"
    net = CountingNet()
    colorizer = Colorizer(model_folder, net=net)

    def second(image: np.ndarray) -> tuple[np.ndarray, ...]:
        if not net.frames:
            with pytest.raises(VideoError, match="out.mp4: is being written by another process"):
                colorize_video(colorizer, video, output, progress=False)
        return net(image)

    assert colorize_video(Colorizer(model_folder, net=second), video, output, progress=False) == 12
    assert net.frames == 12


def cut(path: Path, film: Film, part: float) -> None:
    write_film(path, film)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])


FAST_START = ("-movflags", "+faststart")
PQ = "setparams=color_trc=smpte2084:color_primaries=bt2020:colorspace=bt2020nc"


def test_what_would_come_out_wrong_is_refused_at_once(tmp_path: Path, model_folder: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    cut(tmp_path / "noend.mp4", Film(".mp4"), 0.9)
    cut(tmp_path / "half.mp4", Film(".mp4", muxing=FAST_START, frames=50), 0.6)
    cut(tmp_path / "half.mov", Film(".mov", "mpeg4", muxing=FAST_START, frames=50), 0.6)
    cut(tmp_path / "half.mkv", Film(".mkv", frames=50, sounds=("aac",)), 0.6)
    cut(tmp_path / "half.webm", Film(".webm", "libvpx-vp9", frames=50), 0.6)
    cut(tmp_path / "half.avi", Film(".avi", "mpeg4", frames=50, sounds=("pcm_s16le",)), 0.6)
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", tmp_path / "sound.mp4")
    write_film(tmp_path / "hdr.mp4", Film(".mp4", "libx265", "yuv420p10le", filters=PQ))
    write_film(tmp_path / "tilted.mp4", Film(".mp4", rotation=45))
    for name, message in (
        ("text.mp4", "cannot be read: Invalid data"),
        ("empty.mp4", "cannot be read: "),
        ("folder.mp4", ""),
        ("noend.mp4", "cannot be read: "),
        ("half.mp4", "cannot be read: Invalid data|ends after"),
        ("half.mov", "ends after"),
        ("half.mkv", "ends after"),
        ("half.webm", "ends after"),
        ("half.avi", "ends after"),
        ("sound.mp4", "has no pictures"),
        ("hdr.mp4", r"is HDR \(PQ\)"),
        ("tilted.mp4", "is turned by 45°, expected a multiple of 90°"),
        ("none.mp4", "no such file"),
    ):
        net = CountingNet()
        with pytest.raises(VideoError, match=f"{name}: ({message})") as caught:
            colorize_video(
                Colorizer(model_folder, net=net),
                tmp_path / name,
                tmp_path / "out.mp4",
                progress=False,
            )
        assert "\n" not in str(caught.value)
        assert net.frames == 0
        assert not [left for left in listed(tmp_path) if "out" in left]
    write_film(tmp_path / "good.mp4", Film(".mp4"))
    for name in ("out.avi", "out.xyz"):
        with pytest.raises(VideoError, match=f"{name}: expected a film ending in .m4v, .mkv"):
            colorize_video(
                Colorizer(model_folder), tmp_path / "good.mp4", tmp_path / name, progress=False
            )


def test_animated_gifs_are_films_and_others_photos(tmp_path: Path) -> None:
    moving = write_film(tmp_path / "moving.gif", Film(".gif", "gif", "gray"))
    still = write_film(tmp_path / "still.gif", Film(".gif", "gif", "gray", frames=1))
    (tmp_path / "bad.gif").write_bytes(b"GIF89a")
    assert is_video(moving)
    assert not is_video(still) and not is_video(tmp_path / "bad.gif")
    assert not is_video(tmp_path / "missing.gif")


def test_frames_without_times_or_with_the_same_get_their_own(tmp_path: Path) -> None:
    film = Film(".avi", "mpeg4", options=("-bf", "2"), frames=20)
    survey = survey_video(write_film(tmp_path / "a.avi", film), progress=False)
    assert len(survey.times) == 20
    assert all(np.diff(survey.times) > 0)
    assert survey.cuts == (0,)
