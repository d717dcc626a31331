"""Balanced, seeded splits of small trees, in all the layouts people have on disk."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from autocolor.data.imagenet import validation_photos
from autocolor.data.photo_lists import ListedPhoto, ListError, read_photo_list
from autocolor.data.splits import (
    SplitError,
    UsablePhotos,
    balanced_splits,
    find_listed,
    seeded_order,
    write_splits,
)
from autocolor.data.sun import category_photos, find_categories, random_subsets
from autocolor.imaging.images import find_photos

SYNSETS = ("n01440764", "n02084071", "n03000134")
PER_CLASS = 8


def photo(rng, mode="RGB"):
    return Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).convert(mode)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Photos in folders of synsets: of each class one encoded as greyscale, one cut short."""
    root = tmp_path_factory.mktemp("val")
    rng = np.random.default_rng(0)
    for number in range(1, len(SYNSETS) * PER_CLASS + 1):
        path = root / SYNSETS[number % 3] / f"ILSVRC2012_val_{number:08d}.JPEG"
        path.parent.mkdir(exist_ok=True)
        photo(rng, "L" if number in (4, 5, 6) else "RGB").save(path)
        if number in (7, 8, 9):
            path.write_bytes(path.read_bytes()[:400])
    # Grey, but stored with three channels: this one stays in.
    photo(rng, "L").convert("RGB").save(root / SYNSETS[0] / "ILSVRC2012_val_00000003.JPEG")
    return root


@pytest.fixture(scope="module")
def flat(tree, tmp_path_factory):
    """The same photos in one folder, and files of labels in every form."""
    folder = tmp_path_factory.mktemp("flat")
    (folder / "images").mkdir()
    order = ("n03000134", "n01440764", "n02084071")  # of the development kit's numbers
    lines = {"val.txt": [], "ground_truth.txt": [], "solution.csv": ["ImageId,PredictionString"]}
    for path in sorted(tree.rglob("*.JPEG"), key=lambda path: path.name):
        (folder / "images" / path.name).symlink_to(path)
        synset = path.parent.name
        lines["val.txt"].append(f"{path.name} {SYNSETS.index(synset)}")
        lines["ground_truth.txt"].append(str(order.index(synset) + 1))
        lines["solution.csv"].append(f"{path.stem},{synset} 1 2 3 4 {synset} 5 6 7 8 ")
    lines["synsets.txt"] = [f"{synset} some words" for synset in order]
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n")
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [
        (2, "n01440764", "b", 0),
        (4, "n00001740", "an inner node", 3),
        (1, "n03000134", "a", 0),
        (3, "n02084071", "c", 0),
    ]
    savemat(folder / "meta.mat", {"synsets": np.array(rows, dtype=fields)})
    return folder


def split(photos, seed=0, sizes=None):
    usable = UsablePhotos()
    return balanced_splits(photos, sizes or {"cval1k": 3, "ctest10k": 12}, seed, usable), usable


def names(photos):
    return [(photo.path.name, photo.label) for photo in photos]


def test_order_is_that_of_a_hash(tmp_path):
    """Frozen: another order would make other lists of the same seed."""
    paths = [tmp_path / name for name in "abcdef"]
    order = seeded_order(paths, "0", lambda path: path.name)
    assert "".join(path.name for path in order) == "fcbeda"
    expected = sorted("abcdef", key=lambda name: hashlib.sha256(f"0/{name}".encode()).hexdigest())
    assert [path.name for path in order] == expected
    assert seeded_order(paths[::-1], "0", lambda path: path.name) == order
    assert seeded_order(paths[1:], "0", lambda path: path.name) == [
        p for p in order if p.name != "a"
    ]


def test_splits_are_balanced_disjoint_and_readable(tree):
    splits, usable = split(validation_photos(tree))
    assert Counter(label for _, label in splits["cval1k"]) == {0: 1, 1: 1, 2: 1}
    assert Counter(label for _, label in splits["ctest10k"]) == {0: 4, 1: 4, 2: 4}
    assert not set(splits["cval1k"]) & set(splits["ctest10k"])
    for path, label in splits["cval1k"] + splits["ctest10k"]:
        assert path.parent.name == SYNSETS[label]
        with Image.open(path) as image:
            image.load()
            assert image.mode == "RGB"
    # All that can be used: of each class one is grey and one is cut short.
    everything, usable = split(validation_photos(tree), sizes={"cval1k": 3, "ctest10k": 15})
    reasons = Counter("greyscale" in reason for _, reason in usable.left_out)
    assert reasons == {True: 3, False: 3}
    assert "ILSVRC2012_val_00000003.JPEG" in dict(
        names(everything["cval1k"] + everything["ctest10k"])
    )


def test_the_seed_decides_and_the_layout_does_not(tree, flat):
    expected, _ = split(validation_photos(tree))
    labels = [
        ("val.txt", None),
        ("solution.csv", None),
        ("ground_truth.txt", "synsets.txt"),
        ("ground_truth.txt", "meta.mat"),
    ]
    for label, synsets in labels:
        photos = validation_photos(flat / "images", flat / label, synsets and flat / synsets)
        again, _ = split(photos[::-1])
        for name, chosen in expected.items():
            assert names(again[name]) == names(chosen), label
    other, _ = split(validation_photos(tree), seed=1)
    assert names(other["ctest10k"]) != names(expected["ctest10k"])
    raw = validation_photos(flat / "images", flat / "ground_truth.txt")
    by_synset = dict(names(validation_photos(tree)))
    assert {(label, by_synset[path.name]) for path, label in raw} == {(0, 2), (1, 0), (2, 1)}


def test_errors_say_what_is_wrong(tree, flat, tmp_path):
    photos = validation_photos(tree)
    with pytest.raises(SplitError, match="cval1k: expected a multiple of the 3 classes, got 4"):
        split(photos, sizes={"cval1k": 4})
    with pytest.raises(SplitError, match=r"class 0 \(n01440764\): expected 7 .* got 6 of 8"):
        split(photos, sizes={"cval1k": 21})
    with pytest.raises(ListError, match="expected photos, got none"):
        validation_photos(tmp_path)
    lines = (flat / "val.txt").read_text().splitlines()
    (tmp_path / "val.txt").write_text("\n".join(lines[1:]))
    with pytest.raises(ListError, match=r"no class for 1 of 24 .* ILSVRC2012_val_00000001"):
        validation_photos(flat / "images", tmp_path / "val.txt")
    (tmp_path / "synsets.txt").write_text("n1\nn2\n")
    with pytest.raises(ListError, match="number 3 is not among those of"):
        validation_photos(flat / "images", flat / "ground_truth.txt", tmp_path / "synsets.txt")
    savemat(tmp_path / "other.mat", {"other": 1})
    with pytest.raises(ListError, match=r"expected the development kit's meta\.mat"):
        validation_photos(flat / "images", flat / "ground_truth.txt", tmp_path / "other.mat")
    (tmp_path / "n1").mkdir()
    for folder in (tmp_path, tmp_path / "n1"):
        (folder / "a.jpg").touch()
    with pytest.raises(ListError, match="two photos have one name"):
        validation_photos(tmp_path)
    (tmp_path / "n1" / "a.jpg").unlink()
    with pytest.raises(ListError, match="expected it in the folder of a class"):
        validation_photos(tmp_path)


def test_a_published_list_is_found_in_any_layout(tree, flat, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(
        "/n02084071/ILSVRC2012_val_00000001.JPEG 1\n/n01440764/ILSVRC2012_val_00000012.JPEG 0\n"
    )
    for root in (tree, flat / "images"):
        found = find_listed(path, root, find_photos(root, recursive=True))
        assert names(found) == [
            ("ILSVRC2012_val_00000001.JPEG", 1),
            ("ILSVRC2012_val_00000012.JPEG", 0),
        ]
        assert all(photo.path.is_file() for photo in found)
    for line, message in [
        ("n1/missing.JPEG 0\n", r"1 of its 3 photos are not below .*missing"),
        ("x/ILSVRC2012_val_00000001.JPEG 1\n", "lists .* twice"),
    ]:
        (tmp_path / "other.txt").write_text(path.read_text() + line)
        with pytest.raises(SplitError, match=message):
            find_listed(tmp_path / "other.txt", tree, find_photos(tree, recursive=True))
    twins = [tree / "a" / "1.jpg", tree / "b" / "1.jpg"]
    (tmp_path / "other.txt").write_text("a/1.jpg\n")
    assert find_listed(tmp_path / "other.txt", tree, twins) == [ListedPhoto(twins[0])]
    (tmp_path / "other.txt").write_text("c/1.jpg\n")
    with pytest.raises(SplitError, match="expected one such photo, there are 2"):
        find_listed(tmp_path / "other.txt", tree, twins)


def test_lists_are_written_with_what_they_are(tree, tmp_path):
    splits, usable = split(validation_photos(tree))
    record = write_splits(tmp_path / "lists", "set", splits, usable.left_out, seed=0)
    assert json.loads((tmp_path / "lists" / "set.json").read_text()) == record
    for name, chosen in splits.items():
        path = tmp_path / "lists" / f"{name}.txt"
        assert record["lists"][name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        read = [ListedPhoto(photo.resolve(), label) for photo, label in read_photo_list(path)]
        assert read == chosen
    moved = write_splits(tmp_path / "a" / "b", "set", splits, [], seed=0)
    for name, facts in record["lists"].items():
        assert moved["lists"][name]["names_sha256"] == facts["names_sha256"]


@pytest.fixture(scope="module")
def sun(tmp_path_factory):
    """47 photos of SUN-A's shape, three of them of no use; and two of each category of SUN-6."""
    root = tmp_path_factory.mktemp("sun")
    rng = np.random.default_rng(0)
    for number in range(47):
        path = root / "a" / f"category{number % 5}" / f"sun_{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(rng, "L" if number < 2 else "RGB").save(path)
    path.write_bytes(b"")
    for folder in ("b/beach", "c/castle", "o/outdoor", "k/Kitchen", "l/living_room", "b/bed-room"):
        (root / "six" / folder).mkdir(parents=True)
        for number in range(2):
            photo(rng).save(root / "six" / folder / f"{number}.jpg")
    return root


def test_sun_a_subsets(sun):
    photos = find_photos(sun / "a", recursive=True)
    usable = UsablePhotos()
    splits = random_subsets(photos, sun / "a", 3, 20, 40, 0, usable)
    assert list(splits) == [f"sun_a_{kind}_{n}" for n in (1, 2, 3) for kind in ("test", "train")]
    assert sorted(path.name for path, _ in usable.left_out) == [
        f"sun_{n:03d}.jpg" for n in (0, 1, 46)
    ]
    for number in (1, 2, 3):
        test, train = (set(splits[f"sun_a_{kind}_{number}"]) for kind in ("test", "train"))
        assert len(test) == 20
        assert len(train) == 24  # all that are left
        assert not test & train
    assert len({tuple(splits[f"sun_a_test_{number}"]) for number in (1, 2, 3)}) == 3
    assert random_subsets(photos[::-1], sun / "a", 3, 20, 40, 0, UsablePhotos()) == splits
    assert (
        random_subsets(photos, sun / "a", 1, 20, 10, 1, UsablePhotos())["sun_a_test_1"]
        != (splits["sun_a_test_1"])
    )
    with pytest.raises(SplitError, match="expected 45 photos .* got 44 of 47"):
        random_subsets(photos, sun / "a", 1, 45, 1, 0, UsablePhotos())


def test_sun_6_categories(sun):
    categories = ("beach", "castle", "outdoor", "kitchen", "living room", "bedroom")
    folders = find_categories(sun / "six", categories, {})
    assert list(folders) == list(categories)
    assert folders["living room"] == sun / "six" / "l" / "living_room"
    chosen = category_photos(folders, 6, 0, UsablePhotos())
    assert Counter(label for _, label in chosen) == dict.fromkeys(range(6), 1)
    assert category_photos(folders, 6, 0, UsablePhotos()) == chosen
    with pytest.raises(SplitError, match="'harbour': expected one folder below .* got 0"):
        find_categories(sun / "six", (*categories, "harbour"), {})
    given = find_categories(sun / "six", (*categories, "harbour"), {"harbour": sun / "a"})
    assert given["harbour"] == sun / "a"
    (sun / "six" / "x" / "beach").mkdir(parents=True)
    with pytest.raises(SplitError, match=r"'beach': .* got 2: .*six/b/beach"):
        find_categories(sun / "six", ("beach",), {})
    (sun / "six" / "x" / "beach").rmdir()
