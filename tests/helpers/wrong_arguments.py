"""What tools refuse, with the exit status and the last line: 2 for a wrong argument, 1 for a bad file.

In arguments stand {photos} for a folder of three photos, {model} for a model folder, {empty} for an empty
folder and {out} for a path where nothing is yet, and where nothing may be afterwards.
"""

from __future__ import annotations

from typing import NamedTuple


class Wrong(NamedTuple):
    """A command line that is refused."""

    tool: str
    arguments: str
    status: int
    message: str


_BUILD, _EVALUATE = "data_prep/build_lmdb.py", "tools/evaluate.py"
_REPRODUCE, _TRANSFER = "tools/paper/reproduce.py", "tools/paper/transfer_benchmark.py"
_SUBSETS, _IMAGENET = "tools/paper/random_subsets.py", "data_prep/imagenet_splits.py"
_PHOTOS, _BOTH = "--photos {photos} --out {out}", "--model {model} --photos {photos} --out {out}"

WRONG = [
    Wrong(_BUILD, f"{_PHOTOS} --processes 0", 2, "--processes: expected at least 1, got 0"),
    Wrong(_BUILD, f"{_PHOTOS} --views none", 2, "--views: invalid int value: 'none'"),
    Wrong(_BUILD, f"{_PHOTOS} --side 8 --minimum-side 9", 2, "expected --minimum-side <= --side"),
    Wrong(_BUILD, "--photos {out} --out {out}", 1, "out: no such"),
    Wrong(
        _BUILD, f"{_PHOTOS} --shards 2 --only-shard 2", 2, "--only-shard: expected 0 to 1, got 2"
    ),
    Wrong(_BUILD, f"{_PHOTOS} --scheduler x://a", 1, "no Dask scheduler at x://a"),
    Wrong(_EVALUATE, "--out {out}", 2, "expected --photos or --merge"),
    Wrong(_EVALUATE, "--out {out} --model m", 2, "expected --photos or --merge"),
    Wrong(
        _EVALUATE, "--out {out} --merge a --photos p", 2, "--merge takes the photos from the parts"
    ),
    Wrong(_EVALUATE, "--out {out} --merge a --part 1/2", 2, "not allowed with argument"),
    Wrong(_EVALUATE, f"{_BOTH} --part 3/2", 2, "expected 1 <= number <= count"),
    Wrong(_EVALUATE, f"{_BOTH} --part half", 2, "expected I/N such as 1/4"),
    Wrong(_EVALUATE, f"{_BOTH} --gallery -1", 2, "--gallery: expected at least 0"),
    Wrong(_EVALUATE, f"{_BOTH} --processes 0", 2, "--processes: expected at least"),
    Wrong(_EVALUATE, f"{_BOTH} --model {{model}}", 2, "--model: two are called"),
    Wrong(
        _EVALUATE, "--model {model} --photos {empty} --out {out}", 1, "expected photos, got none"
    ),
    Wrong(
        _REPRODUCE, "table5 --model none --photos {photos} --out {out}", 1, "none: no such model"
    ),
    Wrong(
        _REPRODUCE, "table5 --model {model} --photos none --out {out}", 1, "none: no such folder"
    ),
    Wrong(
        _REPRODUCE, "table5 --model {model} --photos {empty} --out {out}", 1, "at least one colour"
    ),
    Wrong(_REPRODUCE, f"table1 {_BOTH}", 2, "model: expected some of table4"),
    Wrong(_REPRODUCE, f"table5 {_BOTH} --seed -1", 2, "seed: expected at least 0"),
    Wrong(_REPRODUCE, f"table5 {_BOTH} --score 0", 2, "--score: expected at least 1"),
    Wrong(_REPRODUCE, "table5 --model {model} --list none --out {out}", 1, "none: no such folder"),
    Wrong(_REPRODUCE, f"table5 {_BOTH} --strength -1", 2, "strength: expected"),
    Wrong(_TRANSFER, "--model none --photos {photos} --out {out}", 1, "none: no such model folder"),
    Wrong(
        _TRANSFER, "--model {model} --photos none --out {out}", 1, "none: no such folder or file"
    ),
    Wrong(
        _TRANSFER, "--model {model} --photos {empty} --out {out}", 1, "at least one colour photo"
    ),
    Wrong(_TRANSFER, f"{_BOTH} --side 0", 2, "side: expected at least 1"),
    Wrong(_TRANSFER, f"{_BOTH} --weights -1", 2, "--weights: expected at least 0"),
    Wrong(_REPRODUCE, f"table1 {_BOTH} --scenes {{photos}}", 2, "--scenes: expected one of table3"),
    Wrong(_REPRODUCE, f"table5 {_BOTH} --minutes 0", 2, "--minutes: expected a positive number"),
    Wrong(_REPRODUCE, f"table5 {_BOTH} --passes 0", 2, "--passes: expected at least 1, got 0"),
    Wrong(_SUBSETS, f"{_BOTH} --size 3", 2, "--size: expected fewer than the 3 photos, got 3"),
    Wrong(_SUBSETS, f"{_BOTH} --subsets 1", 2, "--subsets: expected at least 2, got 1"),
    Wrong("tools/paper/deshpande_split.py", "{photos}", 1, "No such file"),
    Wrong("tools/release/looks.py", "--photos {photos} --show {empty}", 1, "a folder of photos"),
    Wrong("tools/bench/run.py", "--only nothing", 2, "nothing: no benchmark has this name"),
    Wrong("data_prep/fetch_photos.py", "--out {out} --list {out}", 1, "No such file"),
    Wrong(_IMAGENET, "--images {photos} --out {out} --ctest-images 0", 2, "at least 1, got 0"),
    Wrong("tools/parse_log.py", "{out} --csv {out}", 2, "would be overwritten"),
    Wrong("tools/parse_log.py", "{out}", 1, "No such file"),
]
