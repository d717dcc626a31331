"""The wheel: what is in it, and the command that it installs, where there is no Caffe."""

import ast
import email
import os
import re
import sys
import time
import tomllib
import zipfile

import numpy as np
import pytest
from PIL import Image

import autocolor
from helpers.programs import ROOT, run
from helpers.wheel import build_wheel, install_wheel

pytestmark = pytest.mark.slow

PACKAGE = ROOT / "python/autocolor"


def output_of(*command, **options):
    return run(*command, **options).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_wheel_holds_the_package_and_the_shipped_model(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        message = email.message_from_bytes(archive.read(metadata))
    expected = {
        f"autocolor/{path.relative_to(PACKAGE)}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert {name for name in names if name.startswith("autocolor/")} == expected
    for name in ("py.typed", "runtime/shipped_model/weights.npz", "web/static/index.html"):
        assert f"autocolor/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert message["Version"] == autocolor.__version__
    assert {"onnx", "lint", "mpi"} <= set(message.get_all("Provides-Extra"))
    # Mostly the model's float16 weights, all of them.
    weights = (ROOT / "python/autocolor/runtime/shipped_model/weights.npz").stat().st_size
    assert weights < wheel.stat().st_size < 60e6


def test_command_of_the_wheel_colorizes_without_caffe(wheel, tmp_path, photo_folder):
    """In a new environment, which finds this one's libraries but neither pycaffe nor autocolor."""
    installed = install_wheel(wheel, tmp_path)
    bin_folder, site, variables = installed.programs, installed.site, installed.variables

    def command(*words):
        return output_of(bin_folder / "autocolor", *words, cwd=tmp_path, env=variables)

    where = "import autocolor; print(autocolor.__file__)"
    assert str(site) in output_of(bin_folder / "python", "-c", where, cwd=tmp_path, env=variables)
    no_caffe = "import importlib.util; print(importlib.util.find_spec('caffe'))"
    assert output_of(bin_folder / "python", "-c", no_caffe, env=variables).strip() == "None"
    assert "colorize" in command("--help").lower()
    assert command("--version").strip() == f"autocolor {autocolor.__version__}"
    # Nothing is there yet, and nothing can be had: neither a connection nor another program.
    installed.cut_off()
    first, second = (
        run(
            bin_folder / "autocolor",
            photo_folder / "chelsea.jpg",
            "-o",
            tmp_path / "onnx.png",
            cwd=tmp_path,
            env=variables,
        ).stderr
        for _ in range(2)
    )
    assert "autocolor: first use: the model of this package is unpacked to" in first
    assert "some seconds; nothing is downloaded" in first
    assert "first use" not in second
    # The same as Caffe's, from this environment.
    output_of(
        sys.executable,
        "-m",
        "autocolor.cli",
        photo_folder / "chelsea.jpg",
        "--backend",
        "caffe",
        "-o",
        tmp_path / "caffe.png",
        env={key: value for key, value in os.environ.items() if key != "AUTOCOLOR_MODEL"},
    )
    with Image.open(tmp_path / "onnx.png") as ours, Image.open(tmp_path / "caffe.png") as theirs:
        found, expected = (np.asarray(image).astype(int) for image in (ours, theirs))
    assert np.abs(found - expected).max() <= 1
    assert np.ptp(found, axis=-1).max() > 10  # in colour


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--backend ''", ["auto", "caffe", "onnx"]),
        ("--resu", ["--resume"]),
        ("se", ["serve", "self.jpg"]),
        ("serve --po", ["--port"]),
        ("serve --backend o", ["onnx"]),
    ],
)
def test_completion(words, expected, tmp_path):
    """As bash asks for it."""
    script = output_of(sys.executable, "-m", "autocolor.cli", "--print-completion", "bash")
    (tmp_path / "completion.sh").write_text(script)
    (tmp_path / "self.jpg").touch()
    asked = (
        f"source completion.sh; COMP_WORDS=(autocolor {words}); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _shtab_autocolor; echo ${COMPREPLY[@]}"
    )
    assert output_of("bash", "-c", asked, cwd=tmp_path).split() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_every_shell_knows_serve(shell):
    script = output_of(sys.executable, "-m", "autocolor.cli", "--print-completion", shell)
    assert "serve" in script and "max" in script and "megapixels" in script


def test_version_is_the_same_everywhere():
    changes = (ROOT / "docs/changelog.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.MULTILINE).group(1) == autocolor.__version__
    citation = (ROOT / "docs/CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {autocolor.__version__}\n" in citation


def test_base_dependencies_are_what_the_package_imports():
    """And no more; an extra brings what else there is."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    imported = {
        name.partition(".")[0]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and node.module
            else []
        )
    }
    modules = {
        "pillow": "PIL",
        "pillow-heif": "pillow_heif",
        "prometheus-client": "prometheus_client",
        "protobuf": "google",
        "pymaxflow": "maxflow",
        "python-multipart": "python_multipart",
        "scikit-image": "skimage",
        "scikit-learn": "sklearn",
    }
    base = {modules.get(name, name) for name in pyproject["dependencies"]}
    unused = base - imported
    assert not unused
    extras = {
        modules.get(name, name)
        for names in pyproject["optional-dependencies"].values()
        for name in names
    }
    others = imported - base - set(sys.stdlib_module_names) - {"autocolor", "caffe"} - extras
    assert not others


@pytest.mark.skipif(
    not os.environ.get("AUTOCOLOR_TEST_INSTALL"),
    reason="downloads 250 MB; AUTOCOLOR_TEST_INSTALL=1 runs it",
)
def test_fresh_install_colorizes_within_two_minutes(tmp_path, photo_folder):
    """With nothing in any cache."""
    output_of("/usr/bin/python3", "-m", "venv", tmp_path / "venv")
    bin_folder = tmp_path / "venv/bin"
    variables = {
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "AUTOCOLOR_CACHE": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
        "PIP_NO_CACHE_DIR": "1",
    }
    variables |= {key: os.environ[key] for key in os.environ if key.startswith("PIP_")}
    start = time.monotonic()
    output_of(bin_folder / "pip", "install", "--quiet", f"{ROOT}[onnx]", env=variables)
    installed = time.monotonic()
    output_of(
        bin_folder / "autocolor",
        photo_folder / "coffee.png",
        "-o",
        tmp_path / "out.png",
        env=variables,
    )
    print(
        f"installed in {installed - start:.0f} s, first photo in "
        f"{time.monotonic() - installed:.0f} s"
    )
    assert time.monotonic() - start < 120
