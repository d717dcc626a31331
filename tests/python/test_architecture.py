"""The packages of the library stand on floors: a module imports from lower floors, or its own package."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from helpers.floors_picture import draw

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "python" / "autocolor"

# From the ground up. What shares a floor does not know of each other; "" is the library's __init__.
FLOORS = (
    ("core",),
    ("imaging",),
    ("data", "histograms"),
    ("runtime", "control"),
    ("nets", "evaluation", "video", ""),
    ("training", "web", "batch"),
    ("baselines", "cli"),
    ("paper",),
)
PICTURE = ROOT / "docs" / "architecture.svg"
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}


def module_name(path: Path, library: Path) -> str:
    """Name of a module without "autocolor.": that of a package is the package's."""
    parts = path.relative_to(library).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, modules: set[str]) -> Iterator[str]:
    """Modules of the library that a file imports, at its top, in functions or for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: expected an absolute import"
            # `from autocolor.web import serve` imports a module, `… import NAME` what is in one.
            names = [
                whole if whole.removeprefix("autocolor.") in modules else str(node.module)
                for whole in (f"{node.module}.{alias.name}" for alias in node.names)
            ]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "autocolor":
                assert rest in modules, f"{path}:{node.lineno}: there is no {name}"
                yield rest


def read_graph(library: Path) -> dict[str, set[str]]:
    """Module to the modules that it imports."""
    files = {module_name(path, library): path for path in library.rglob("*.py")}
    modules = set(files)
    return {name: set(imports(path, modules)) - {name} for name, path in files.items()}


def imports_upward(graph: dict[str, set[str]]) -> list[str]:
    def package(module: str) -> str:
        return module.partition(".")[0]

    return [
        f"{module} imports {other}"
        for module, others in sorted(graph.items())
        for other in sorted(others)
        if package(module) != package(other) and FLOOR[package(module)] <= FLOOR[package(other)]
    ]


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_package_has_a_floor() -> None:
    graph = read_graph(LIBRARY)
    assert {module.partition(".")[0] for module in graph} == set(FLOOR)
    assert len(FLOOR) == sum(map(len, FLOORS))


def test_the_page_shows_the_floors_and_says_what_each_package_is() -> None:
    """After a change of FLOORS: PYTHONPATH=tests python tests/python/test_architecture.py."""
    assert PICTURE.read_text(encoding="utf-8") == draw(FLOORS)
    page = PICTURE.with_suffix(".md").read_text(encoding="utf-8")
    assert f"]({PICTURE.name})" in page
    described = re.findall(r"^\*\*`([a-z_]+)`\*\*", page, re.MULTILINE)
    assert sorted(described) == sorted(package or "autocolor" for package in FLOOR)


def test_imports_point_down() -> None:
    graph = read_graph(LIBRARY)
    assert sum(map(len, graph.values())) > 300
    assert imports_upward(graph) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert find_circle(read_graph(LIBRARY)) == []


def test_what_points_up_or_round_is_found(tmp_path: Path) -> None:
    files = defaultdict(str)
    files["imaging/color.py"] = "def f():\n    from autocolor.data import photos\n"
    files["data/photos.py"] = "from autocolor.imaging.color import lightness\n"
    files["histograms/bins.py"] = "import autocolor.data.photos\n"
    files["core/files.py"] = "from autocolor import __version__\n"
    for name in (*list(files), "__init__.py", "core/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(files[name])
    graph = read_graph(tmp_path)
    assert imports_upward(graph) == [
        "core.files imports ",
        "histograms.bins imports data.photos",
        "imaging.color imports data.photos",
    ]
    assert set(find_circle(graph)) == {"data.photos", "imaging.color"}


if __name__ == "__main__":
    PICTURE.write_text(draw(FLOORS), encoding="utf-8")
