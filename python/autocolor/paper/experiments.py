"""The paper's experiments: which methods are compared, and their scores on photos.

Methods that use one model share its prediction for a photo. Scores are kept, so that a run that was
cut off, or another table with the same rows, computes what is missing only.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autocolor.baselines.registry import HISTOGRAM_TRANSFERS
from autocolor.control.energy import CHI_SQUARE_WEIGHT, Transfer, apply_bias, minimize_energy
from autocolor.control.targets import image_targets
from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.files import write_atomically
from autocolor.data.photo_lists import ListedPhoto
from autocolor.evaluation.evaluate import GREY, EvaluationProtocol, Scene, SceneMethod
from autocolor.evaluation.metrics import ColorMetrics
from autocolor.evaluation.parts import merge_parts, score_part
from autocolor.histograms.decode import DecodeOptions, decode
from autocolor.histograms.prediction import Prediction
from autocolor.runtime.colorizer import Colorizer

_FADED = "+CF"


GIVEN_HISTOGRAM = ("C", "Q", "E")
"""Keys of the methods that are given the true histogram (Table 4)."""


def scene_method(key: str, name: str, colorizer: Colorizer, *, seed: int = 0) -> SceneMethod:
    """Return the method that takes colours from a model's histograms in the way that its key says.

    ``NAME@1`` is the paper's way, at strength 1; ``NAME@chosen`` has the strength that was chosen on
    validation photos. ``NAME/median@1`` and so on are the other rows of Table 5, without chromatic
    fading unless their name ends in ``+CF``. Of those that are given the true histogram, on a
    hue/chroma model, ``C`` and ``Q`` recolour the automatic result by cluster correspondence and by
    quantile matching, ``E`` bends the predicted histograms (Eq. 6). Methods of one `name` share the
    model's prediction for a photo; `seed` is that of samples.
    """
    if key == "E":
        return lambda scene: colorize_by_energy(predicted(scene, name, colorizer), scene.truth)[0]
    if key in GIVEN_HISTOGRAM:
        transfer = HISTOGRAM_TRANSFERS["clusters" if key == "C" else "quantiles"]
        return lambda scene: transfer(predicted(scene, name, colorizer).colorize(), scene.truth)
    way, _, strength = key.partition("@")
    inference = way.partition("/")[2]
    options = DecodeOptions(
        method=inference.removesuffix(_FADED) or None,
        fading=not inference or inference.endswith(_FADED),
        strength=None if strength == "chosen" else float(strength),
    )

    return lambda scene: predicted(scene, name, colorizer).decode(options, scene.rng(seed))


def predicted(scene: Scene, name: str, colorizer: Colorizer) -> Prediction:
    """Return what a model predicts for a scene; computed when it is first asked for."""
    return scene.once(name, lambda: colorizer.predict(scene.lightness))


def colorize_by_energy(
    prediction: Prediction, truth: FloatArray, weight: float = CHI_SQUARE_WEIGHT
) -> tuple[Float32Array, list[Transfer]]:
    """Colorize with the histograms of hue and chroma bent towards those of an image (E, Eq. 6).

    The colours are taken at strength 1: a model's own strength makes up for its doubt about chroma,
    which the target, the histograms of `truth` (..., 3), takes away. `weight` is lambda of Eq. 6.

    Returns
    -------
    rgb : (H, W, 3) float32 array in [0, 1]
    transfers : list of Transfer
        Of hue and of chroma.
    """
    bins = prediction.outputs[0].shape[-1]
    targets = image_targets(truth, "hue_chroma", bins).values()
    tiles = [prediction.channel_tiles(index) for index in range(2)]
    found = [
        minimize_energy(tile, target, weight) for tile, target in zip(tiles, targets, strict=True)
    ]
    light = prediction.lightness
    rgb = np.empty((*light.shape, 3), np.float32)
    for (rows, hue), (_, chroma) in zip(tiles[0](), tiles[1](), strict=True):
        hue, chroma = apply_bias(hue, found[0].bias), apply_bias(chroma, found[1].bias)
        rgb[rows] = decode("hue_chroma", (hue, chroma), light[rows])
    return rgb, found


@dataclass(frozen=True)
class ScoredMethod:
    """A method's scores and what they cost."""

    metrics: ColorMetrics
    #: Of the method itself; a model's prediction counts for the method that first needs it
    seconds_per_photo: float


def score_methods(
    loaders: Mapping[str, Callable[[], SceneMethod]],
    paths: Sequence[Path],
    folder: Path,
    identity: Mapping[str, str],
    *,
    progress: bool = True,
) -> tuple[dict[str, ScoredMethod], list[tuple[Path, str]]]:
    """Score methods on photos at full resolution, those alone whose scores are not kept yet.

    Parameters
    ----------
    loaders : dict of callables
        Return methods, by key; those that are to be scored are called. "No colorization" is scored
        too.
    folder : Path
        Keeps a file of scores for each method, and until they are complete one with a line a photo,
        from which a run that was cut off goes on.
    identity : dict of str
        What each method depends on, such as the hash of its weights: other scores are not used.

    Returns
    -------
    scores : dict of ScoredMethod
        By key.
    skipped : list of (path, reason)
        Photos that cannot be scored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = "".join(f"{path.name}\0{path.stat().st_size}\n" for path in paths)
    photos = hashlib.sha256(listed.encode()).hexdigest()
    kept = {}
    for key in (GREY, *loaders):
        scope = {"photos": photos, "identity": identity.get(key, "")}
        kept[key] = folder / (key.translate(str.maketrans("/@ ", "___")) + ".json"), scope
    scores: dict[str, ScoredMethod] = {}
    skipped: list[tuple[Path, str]] = []
    for key, (file, scope) in kept.items():
        if found := _read_scores(file, scope):
            scores[key], skipped = found
    if missing := [key for key in kept if key not in scores]:
        sources = [
            _Source(key, kept[key][1]["identity"], loaders[key]) for key in missing if key != GREY
        ]
        digest = hashlib.sha256(f"{photos} {[source.identity() for source in sources]}".encode())
        unfinished = folder / f"unfinished_{digest.hexdigest()[:16]}.jsonl"
        protocol = EvaluationProtocol(extras=False)
        score_part(
            sources, list(map(ListedPhoto, paths)), unfinished, protocol=protocol, progress=progress
        )
        evaluation, _ = merge_parts([unfinished])
        skipped = evaluation.skipped
        for key in missing:
            spent = [second for source in sources if source.name == key for second in source.spent]
            scores[key] = ScoredMethod(evaluation.metrics[key], float(np.mean(spent or 0)))
            file, scope = kept[key]
            content = {
                **scope,
                "seconds_per_photo": scores[key].seconds_per_photo,
                "skipped": [[str(name), reason] for name, reason in skipped],
                "metrics": scores[key].metrics.to_dict(),
            }
            write_atomically(file, json.dumps(content))
        unfinished.unlink()
    return {key: scores[key] for key in kept}, skipped


@dataclass(frozen=True, eq=False)
class _Source:
    """A method for :mod:`autocolor.evaluation.parts`, with the seconds that it took for each photo."""

    name: str
    depends_on: str
    loader: Callable[[], SceneMethod]
    spent: list[float] = field(default_factory=list)

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "depends_on": self.depends_on}

    def load(self) -> SceneMethod:
        method = self.loader()

        def colorize(scene: Scene) -> FloatArray:
            started = time.perf_counter()
            rgb = method(scene)
            self.spent.append(time.perf_counter() - started)
            return rgb

        return colorize


def _read_scores(
    path: Path, scope: Mapping[str, str]
) -> tuple[ScoredMethod, list[tuple[Path, str]]] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if scope.items() <= content.items():
            skipped = [(Path(name), reason) for name, reason in content["skipped"]]
            metrics = ColorMetrics.from_dict(content["metrics"])
            return ScoredMethod(metrics, content["seconds_per_photo"]), skipped
    except (OSError, ValueError):
        pass
    return None
