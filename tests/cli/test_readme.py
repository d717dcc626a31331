"""The README's snippets run, and what it names exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np

from autocolor.evaluation.metrics import ColorMetrics

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


def test_evaluate_command_runs(model_folder, photo_folder, tmp_path):
    (command,) = re.findall(
        r"^python tools/evaluate\.py .*$", "".join(blocks("bash")), re.MULTILINE
    )
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    for name, target in (("demo/model", model_folder), ("data/photos/test", photo_folder)):
        (tmp_path / "build" / name).parent.mkdir(parents=True)
        (tmp_path / "build" / name).symlink_to(target)
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    written = {path.name for path in (tmp_path / "build/demo/evaluation").iterdir()}
    # docs/evaluation.md lists the files, and says the same command.
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert command in page
    table = re.search(r"^\| file .*?\n\n", page, re.MULTILINE | re.DOTALL).group()
    named = re.findall(r"`(\w+\.\w+)`", table.replace("part_I_of_N", "part_1_of_1"))
    assert set(named) == written


def test_snippet_of_the_evaluation_page_runs():
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    rng = np.random.default_rng(0)
    photos = [(str(number), *rng.random((3, 2, 2, 3))) for number in range(3)]
    elsewhere = ColorMetrics()
    elsewhere.add(*rng.random((2, 2, 2, 3)), "elsewhere")
    names = {"photos": photos, "part": elsewhere.to_dict()}
    exec(snippet, names)  # noqa: S102
    assert names["ours"].images == 4


def test_every_file_it_names_exists():
    for name in re.findall(r"(?:tools|data_prep|prototxt|tests|caffe_layers)/[\w./-]+\w", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([\w./]+)\)", README):
        assert (ROOT / name).exists(), name
