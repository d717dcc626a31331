"""How Sphinx makes the documentation site; tools/docs.sh runs it."""

import os
import re
from functools import partialmethod
from pathlib import Path

import matplotlib as mpl
from nbclient import NotebookClient
from sphinx.application import Sphinx

import autocolor

# A kernel may take longer than nbclient's minute to start on a machine that does other work as well.
NotebookClient.__init__ = partialmethod(NotebookClient.__init__, startup_timeout=600)

ROOT = Path(__file__).resolve().parents[1]

project = "autocolor"
author = "the authors of autocolor"
copyright = author
version = release = autocolor.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["gallery/**", "generated/gallery/*.py", "generated/gallery/*.ipynb"]
default_role = "code"  # `name` in a docstring is code, with or without double backquotes
nitpicky = True
# Types in signatures are those of other projects, or aliases; nothing is looked up in the network.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!autocolor\.).*"),
    (r"py:.*", r"autocolor\.[\w.]+\.[A-Z]\w*"),
]

html_theme = "furo"
html_title = f"autocolor {release}"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_dark_style = "monokai"

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # docstrings say more than the annotations: shapes, ranges and units
numpydoc_show_class_members = False  # autodoc shows them

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "dollarmath"]

# The tutorial runs while the site is built, unless its cells have been run already.
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "docs" / "notebooks")
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"/\w+\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "download_all_examples": False,
    "write_computation_times": False,
    "thumbnail_size": (400, 280),
    "image_scrapers": ("matplotlib",),
}
mpl.rcParams["savefig.dpi"] = 100

# Pages whose text stands elsewhere in the repository.
ELSEWHERE = {
    "readme": "README.md",
    "layers": "caffe_layers/README.md",
    "networks": "prototxt/README.md",
}


def _rewrite_links(text: str, page: str) -> str:
    """Point relative links of `page`, a path in the repository, to where the site has their targets.

    The text of a link to anything else, such as a folder of prototxt, stays without the link.
    """
    pages = {path: f"{name}.md" for name, path in ELSEWHERE.items()}

    def rewrite(match: re.Match[str]) -> str:
        image, words, target, anchor = match.groups(default="")
        path = os.path.normpath(Path(page).parent / target)
        if path in pages:
            return f"{image}[{words}]({pages[path]}{anchor})"
        if path.startswith("docs/") and (ROOT / path).is_file():
            return f"{image}[{words}]({path.removeprefix('docs/')}{anchor})"
        return words

    pattern = r"(!?)\[([^\]]*)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)"
    return re.sub(pattern, rewrite, text)


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    path = ELSEWHERE.get(name, f"docs/{name}.md")
    if "/" in name or not (ROOT / path).is_file():
        return
    if name in ELSEWHERE:
        app.env.note_dependency(str(ROOT / path))
        source[0] = (ROOT / path).read_text(encoding="utf-8")
    source[0] = _rewrite_links(source[0], path)


def _keep_signature(*event: object) -> tuple[object, object]:
    """Spare signatures numpydoc's treatment, which fails on aliases of types."""
    signature, returned = event[-2:]
    return signature, returned


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _keep_signature, priority=1)
    app.connect("source-read", _read)
