"""The documentation site is built as a user builds it; gallery and tutorial run on the way."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
API_PAGES = sorted((DOCS / "api").glob("*.md"))
GALLERY = sorted(path.stem for path in (DOCS / "gallery").glob("plot_*.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Everything runs, also what an earlier build has run already."""
    out = tmp_path_factory.mktemp("docs")
    process = subprocess.run(
        ["bash", "tools/docs.sh", "--fresh", "--out", out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    assert process.stdout.splitlines()[-1] == str(out / "html" / "index.html")
    return out / "html"


def test_every_script_of_the_gallery_drew_a_picture(site):
    assert len(GALLERY) >= 7
    for name in GALLERY:
        page = (site / "generated" / "gallery" / f"{name}.html").read_text(encoding="utf-8")
        picture = f"sphx_glr_{name}_001.png"
        assert picture in page
        assert (site / "_images" / picture).read_bytes().startswith(b"\x89PNG")


def test_the_tutorial_ran_and_its_model_learnt(site):
    """Scores as printed: the halves of the photos that were not trained on, against no colour.

    Measured: RMSE 0.327 against 0.705, PSNR 26.43 against 20.08 dB. The solver's seed is not fixed.
    """
    page = (site / "tutorial.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", "", page)
    assert len(re.findall(r"_images/[0-9a-f]{40,}\.png", page)) >= 8
    first, last = re.search(
        r"loss ([\d.]+) in the first ten iterations, ([\d.]+) in", text
    ).groups()
    assert float(last) < 0.7 * float(first)
    score = {
        name: (float(rmse), float(psnr))
        for name, rmse, psnr in re.findall(
            r"^(no colour|tutorial|shipped) +([\d.]+) +([\d.]+) dB", text, re.MULTILINE
        )
    }
    assert set(score) == {"no colour", "tutorial", "shipped"}
    for name in ("tutorial", "shipped"):
        assert score[name][0] < score["no colour"][0]
        assert score[name][1] > score["no colour"][1]


def test_every_module_has_a_page_in_one_group(site):
    modules = {
        ".".join(path.relative_to(ROOT / "python").with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "python" / "autocolor").rglob("*.py")
    }
    listed = [
        name
        for page in API_PAGES
        for name in re.findall(r"^   (autocolor[\w.]*)$", page.read_text(), re.MULTILINE)
    ]
    missing = sorted(modules - set(listed))
    assert not missing, f"add to the page of docs/api/ where a reader would look: {missing}"
    assert sorted(listed) == sorted(modules)
    for name in modules:
        assert (site / "generated" / "api" / f"{name}.html").is_file()


def test_pages_load_nothing_from_elsewhere(site):
    loads = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["'](https?:)?//[^"']*"""
        r"""|<link\b[^>]*\bhref=["'](https?:)?//[^"']*"""
    )
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        found = loads.search(page.read_text(encoding="utf-8"))
        assert not found, f"{page.relative_to(site)}: {found.group()}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", text), sheet


def test_the_notebook_is_stored_without_outputs():
    notebook = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_notebook_runs_wherever_it_is_copied(tmp_path):
    """In another folder, with nothing of the repository beside it; its progress bars warn of nothing."""
    notebook = nbformat.reads(
        (DOCS / "tutorial.ipynb").read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT
    )
    path = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, startup_timeout=600, resources=path).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    printed = "".join(out.text for out in outputs if out.output_type == "stream")
    assert "second moments: 100%" in printed
    assert "Warning" not in printed
    assert len([out for out in outputs if "image/png" in out.get("data", {})]) >= 7
    assert not list(tmp_path.iterdir())


def test_a_wrong_reference_in_a_docstring_or_a_page_ends_the_build(tmp_path):
    """A copy of the site's configuration, with one page and one module."""
    copy = tmp_path / "repository"
    (copy / "tools").mkdir(parents=True)
    (copy / "build").mkdir()
    (copy / "docs").mkdir()
    (copy / "tools" / "docs.sh").write_text((ROOT / "tools" / "docs.sh").read_text())
    (copy / "build" / "env.sh").write_text(f"source {ROOT}/build/env.sh\n")
    (copy / "build" / "env.sh").open("a").write(f"export PYTHONPATH={copy}/python\n")
    (copy / "docs" / "conf.py").write_text((DOCS / "conf.py").read_text())
    shutil.copytree(DOCS / "gallery", copy / "docs" / "gallery")
    (copy / "python").mkdir()
    module, page = copy / "python" / "a_module.py", copy / "docs" / "index.md"
    module.write_text('"""Refers to :func:`autocolor.imaging.color.nothing`."""\n')
    page.write_text("""# Title

[Nowhere](#nowhere)

```{eval-rst}
.. automodule:: a_module
```

```{toctree}
generated/gallery/index
```
""")
    process = subprocess.run(
        ["bash", "tools/docs.sh", "--no-run"], cwd=copy, capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert "reference target not found: autocolor.imaging.color.nothing" in process.stderr
    assert "'nowhere'" in process.stderr
    assert process.stderr.strip().endswith("docs.sh: error: Sphinx reported what stands above")


def test_a_missing_value_is_refused():
    process = subprocess.run(
        ["bash", "tools/docs.sh", "--out"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    assert "--out: expected a folder" in process.stderr
