"""The snippets of the README and of the pages run, and what these name exists."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from autocolor.evaluation.metrics import ColorMetrics

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_python_snippets_run(model_folder, photo_folder, tmp_path):
    (tmp_path / "build" / "demo").mkdir(parents=True)
    (tmp_path / "build" / "demo" / "model").symlink_to(model_folder)
    (tmp_path / "photo.jpg").symlink_to(photo_folder / "chelsea.jpg")
    assert blocks("python")
    for snippet in blocks("python"):
        subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, check=True)
    assert (tmp_path / "out.png").is_file()


@pytest.mark.slow
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


@pytest.mark.slow
def test_evaluate_commands_run(model_folder, photo_folder, tmp_path):
    page = PAGES["docs/evaluation.md"]
    commands = re.findall(r"^python tools/evaluate\.py .*[^\\]$", page, re.MULTILINE)
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    for name, target in (("demo/model", model_folder), ("data/photos/test", photo_folder)):
        (tmp_path / "build" / name).parent.mkdir(parents=True)
        (tmp_path / "build" / name).symlink_to(target)
    # The page lists the files.
    table = re.search(r"^\| file .*?\n\n", page, re.MULTILINE | re.DOTALL).group()
    named = re.findall(r"`(\w+\.\w+)`", table.replace("part_I_of_N", "part_1_of_1"))
    assert len(commands) == 2
    for command, out in zip(commands, ("build/shipped", "build/demo"), strict=True):
        subprocess.run(shlex.split(command, comments=True), cwd=tmp_path, check=True)
        assert set(named) == {path.name for path in (tmp_path / out / "evaluation").iterdir()}


def test_snippet_of_the_evaluation_page_runs():
    page = PAGES["docs/evaluation.md"]
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    rng = np.random.default_rng(0)
    photos = [(str(number), *rng.random((3, 2, 2, 3))) for number in range(3)]
    elsewhere = ColorMetrics()
    elsewhere.add(*rng.random((2, 2, 2, 3)), "elsewhere")
    names = {"photos": photos, "part": elsewhere.to_dict()}
    exec(snippet, names)  # noqa: S102
    assert names["ours"].images == 4


@pytest.mark.parametrize("page", PAGES)
def test_every_file_a_page_names_exists(page):
    text = PAGES[page]
    for name in re.findall(r"(?:tools|data_prep|prototxt|tests|caffe_layers)/[\w./-]+\w", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([\w./]+)\)", text):
        target = (ROOT / page).parent / name
        # The gallery is made with the site, and the pages that stand elsewhere are shown there.
        assert target.exists() or name.startswith("generated/"), name


def test_every_page_is_listed_in_the_readme_and_in_the_index():
    index = PAGES["docs/index.md"]
    listed = set(re.findall(r"^[\w/]+$", index, re.MULTILINE))
    for name in sorted({page.removeprefix("docs/").removesuffix(".md") for page in PAGES}):
        if name not in ("README", "index"):
            assert name in listed, f"docs/index.md: expected {name}"
    # The README links to what the pages `layers` and `networks` show, and `readme` is itself.
    elsewhere = {f"docs/{name}.md" for name in ("index", "layers", "networks", "readme")}
    for page in PAGES.keys() - {"README.md"} - elsewhere:
        assert f"]({page})" in README, page


def test_the_readme_is_short():
    assert len(README.split()) <= 900


def test_every_deviation_has_its_test():
    table = PAGES["docs/deviations.md"].split("\n\n")[-1].strip().splitlines()
    assert len(table) > 20
    for row in table[2:]:
        ours, theirs, why, test = row.strip("|").replace(r"\|", "").split("|")
        assert ours.strip() and theirs.strip() and why.strip()
        assert (ROOT / test.strip().strip("`")).is_file(), row
