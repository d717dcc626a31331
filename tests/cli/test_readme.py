"""The README's snippets run, and what it names exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_python_snippets_run(model_folder, photo_folder, tmp_path):
    (tmp_path / "build" / "demo").mkdir(parents=True)
    (tmp_path / "build" / "demo" / "model").symlink_to(model_folder)
    (tmp_path / "photo.jpg").symlink_to(photo_folder / "chelsea.jpg")
    assert blocks("python")
    for snippet in blocks("python"):
        subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, check=True)
    assert (tmp_path / "out.png").is_file()


def test_colorize_commands_run(model_folder, photo_folder, tmp_path):
    (tmp_path / "photo.jpg").symlink_to(photo_folder / "chelsea.jpg")
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = np.full((48, 64, 3), 128, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    (tmp_path / "other.jpg").symlink_to(photo_folder / "coffee.png")
    (tmp_path / "old_photos").symlink_to(photo_folder)
    commands = re.findall(r"^autocolor .*$", "".join(blocks("bash")), re.MULTILINE)
    assert len(commands) == 6
    environment = {**os.environ, "AUTOCOLOR_MODEL": str(model_folder)}
    for command in commands:
        subprocess.run(command.split(), cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "out.png").is_file()
    assert len(list((tmp_path / "colorized").iterdir())) == 3
    assert (tmp_path / "film_color.mp4").is_file()
    assert (tmp_path / "photo_color_4.png").is_file()
    assert (tmp_path / "photo_color_uncertainty.png").is_file()


def test_every_file_it_names_exists():
    for name in re.findall(r"(?:tools|data_prep|prototxt|tests|caffe_layers)/[\w./-]+\w", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([\w./]+)\)", README):
        assert (ROOT / name).exists(), name
