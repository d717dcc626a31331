"""The page of licences names every package of the lock and of the photos."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from licences import LicenceError, locked_packages, of_distribution, photo_packages

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_names_every_package(tmp_path):
    subprocess.run(
        [sys.executable, "tools/release/licences.py", "--page", tmp_path / "licences.md"],
        cwd=ROOT,
        check=True,
    )
    page = (tmp_path / "licences.md").read_text(encoding="utf-8")
    with (ROOT / "data_prep/photos.tsv").open(encoding="utf-8", newline="") as stream:
        names = {row["package"] for row in csv.DictReader(stream, delimiter="\t")}
    names |= {name for name, _ in locked_packages(ROOT / "tools/requirements.txt")}
    assert len(names) > 100
    for name in names:
        assert f"| `{name}` |" in page, name
    assert "| `numpy` | " + page.split("| `numpy` | ")[1].split(" |")[0] + " | BSD" in page
    assert "not installed here" not in page


def test_every_lock_has_hashes():
    text = (ROOT / "tools/requirements.txt").read_text(encoding="utf-8")
    entries = text.replace("\\\n", " ").splitlines()
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)


def test_a_package_without_a_known_licence_is_named(tmp_path):
    photos, licences = tmp_path / "photos.tsv", tmp_path / "licences.tsv"
    photos.write_text("source\tpackage\napt\tsome-photos\n")
    licences.write_text("package\tlicence\nothers\tMIT\n")
    with pytest.raises(LicenceError) as raised:
        photo_packages(photos, licences)
    assert str(raised.value) == f"{licences}: expected the licence of some-photos"
    licences.write_text("package\tlicence\nsome-photos\tMIT\n")
    assert photo_packages(photos, licences) == [("apt", "some-photos", 1, "MIT")]


def test_a_package_that_is_not_installed():
    assert of_distribution("no-such-package") == "not installed here"
