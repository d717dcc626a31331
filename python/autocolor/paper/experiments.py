"""The paper's experiments: which methods are compared, and their scores on photos.

A method makes a colour image of a :class:`Scene`, a photo with the predictions of all models, which
are computed once for all methods that need them. Scores are kept, so that a run that was cut off,
or another table with the same rows, computes what is missing only.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from autocolor.control.quantile import transfer_quantiles
from autocolor.core.arrays import FloatArray
from autocolor.core.files import atomic_path
from autocolor.evaluation.evaluate import grey_image, read_color
from autocolor.evaluation.image_errors import Truth
from autocolor.evaluation.metrics import ColorMetrics
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError
from autocolor.paper.transfer_evaluation import colorize_by_energy
from autocolor.runtime.colorizer import Colorizer

GREY = "grey"
"""Key of the method that leaves a photo as it is."""


class Scene:
    """A photo, its lightness, and what models predict from that.

    Parameters
    ----------
    path : Path
    colorizers : dict of Colorizer
        By name of the model.

    Raises
    ------
    autocolor.imaging.images.ImageError
        If the photo cannot be read or has no colour.
    """

    def __init__(self, path: Path, colorizers: Mapping[str, Colorizer]) -> None:
        self.truth = read_color(path)
        self.key = hashlib.sha256(path.read_bytes()).hexdigest()
        self.lightness = lightness(self.truth)
        self._colorizers = colorizers
        self._predictions: dict[str, Prediction] = {}

    def prediction(self, model: str) -> Prediction:
        """Return what a model predicts; computed when it is first asked for."""
        if model not in self._predictions:
            self._predictions[model] = self._colorizers[model].predict(self.lightness)
        return self._predictions[model]

    def rng(self) -> np.random.Generator:
        """Return a generator that depends on the photo alone."""
        return np.random.default_rng(int(self.key[:16], 16))


Method = Callable[[Scene], FloatArray]
"""Colorizes a scene: (H, W, 3) RGB in [0, 1]."""


def model_methods(name: str, variant: str) -> dict[str, Method]:
    """Return the methods that take colours from a model's own histograms.

    ``NAME@1`` is the paper's way, at strength 1; ``NAME@chosen`` has the strength that was chosen on
    validation photos. A hue/chroma model also has the other rows of Table 5, ``NAME/median@1`` and
    so on, without chromatic fading unless their name ends in ``+CF``.
    """
    methods: dict[str, Method] = {
        f"{name}@1": lambda scene: scene.prediction(name).colorize(strength=1.0),
        f"{name}@chosen": lambda scene: scene.prediction(name).colorize(),
    }
    if variant != "hue_chroma":
        return methods

    def inference(method: str, fading: bool) -> Method:
        return lambda scene: scene.prediction(name).colorize(
            method=method, fading=fading, strength=1.0, rng=scene.rng()
        )

    for method in ("sample", "mode", "expectation", "median"):
        methods[f"{name}/{method}@1"] = inference(method, False)
    methods[f"{name}/expectation+CF@1"] = inference("expectation", True)
    return methods


def histogram_methods(
    name: str, correspond: Callable[[FloatArray, FloatArray], FloatArray]
) -> dict[str, Method]:
    """Return the methods that are given the true histogram (Table 4), on a hue/chroma model.

    ``C`` and ``Q`` recolour the automatic result by cluster correspondence and by quantile matching,
    ``E`` bends the predicted histograms (Eq. 6).

    Parameters
    ----------
    name : str
        Of the model.
    correspond : callable
        (automatic, truth) -> RGB, of (H, W, 3) arrays.
    """

    def automatic(scene: Scene) -> npt.NDArray[np.float32]:
        return scene.prediction(name).colorize()

    return {
        "C": lambda scene: correspond(automatic(scene), scene.truth),
        "Q": lambda scene: transfer_quantiles(automatic(scene), scene.truth),
        "E": lambda scene: colorize_by_energy(scene.prediction(name), scene.truth)[0],
    }


@dataclass(frozen=True)
class ScoredMethod:
    """A method's scores and what they cost.

    Attributes
    ----------
    metrics : ColorMetrics
    seconds_per_photo : float
        Of the method itself; a model's prediction counts for the method that first needs it.
    """

    metrics: ColorMetrics
    seconds_per_photo: float


def score_methods(
    methods: Mapping[str, Method],
    colorizers: Mapping[str, Colorizer],
    paths: Sequence[Path],
    folder: Path,
    identity: Mapping[str, str],
    *,
    prepare: Callable[[Sequence[str]], None] = lambda keys: None,
    progress: bool = True,
) -> tuple[dict[str, ScoredMethod], list[tuple[Path, str]]]:
    """Score methods on photos at full resolution, those alone whose scores are not kept yet.

    Parameters
    ----------
    methods : dict of callable
        By key. Grey is scored too.
    colorizers : dict of Colorizer
    paths : sequence of Path
    folder : Path
        Keeps a file of scores for each method.
    identity : dict of str
        What each method depends on, such as the hash of its weights: other scores are not used.
    prepare : callable
        Called first, with the keys of the methods that are to be scored.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    scores : dict of ScoredMethod
        By key.
    skipped : list of (path, reason)
        Photos that cannot be read or have no colour.

    Raises
    ------
    ValueError
        If no photo could be scored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photos = _list_identity(paths)
    everything: dict[str, Method] = {
        GREY: lambda scene: grey_image(scene.lightness),
        **methods,
    }
    scores: dict[str, ScoredMethod] = {}
    skipped: list[tuple[Path, str]] = []
    for key in everything:
        if kept := _read_scores(folder / _file_name(key), photos, identity.get(key, "")):
            scores[key], skipped = kept
    missing = {key: method for key, method in everything.items() if key not in scores}
    if missing:
        prepare(list(missing))
        metrics = {key: ColorMetrics() for key in missing}
        seconds = dict.fromkeys(missing, 0.0)
        skipped = []
        for path in tqdm(paths, unit="photo", desc="scoring", disable=not progress):
            try:
                scene = Scene(path, colorizers)
            except ImageError as error:
                skipped.append((path, str(error)))
                continue
            truth = Truth(scene.truth)
            for key, method in missing.items():
                started = time.perf_counter()
                colorized = method(scene)
                seconds[key] += time.perf_counter() - started
                metrics[key].add(truth, colorized, scene.key)
        if len(skipped) == len(paths):
            reason = f"; the first was skipped: {skipped[0][1]}" if skipped else ""
            raise ValueError(f"paths: expected at least one colour photo, received none{reason}")
        count = len(paths) - len(skipped)
        for key in missing:
            scores[key] = ScoredMethod(metrics[key], seconds[key] / count)
            _write_scores(
                folder / _file_name(key), photos, identity.get(key, ""), scores[key], skipped
            )
    return {key: scores[key] for key in everything}, skipped


def _list_identity(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()


def _file_name(key: str) -> str:
    return key.replace("/", "_").replace("@", "_") + ".json"


def _read_scores(
    path: Path, photos: str, identity: str
) -> tuple[ScoredMethod, list[tuple[Path, str]]] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if (content.get("photos"), content.get("identity")) != (photos, identity):
        return None
    skipped = [(Path(name), reason) for name, reason in content["skipped"]]
    metrics = ColorMetrics.from_dict(content["metrics"])
    return ScoredMethod(metrics, content["seconds_per_photo"]), skipped


def _write_scores(
    path: Path, photos: str, identity: str, scored: ScoredMethod, skipped: list[tuple[Path, str]]
) -> None:
    content = {
        "photos": photos,
        "identity": identity,
        "seconds_per_photo": scored.seconds_per_photo,
        "skipped": [[str(name), reason] for name, reason in skipped],
        "metrics": scored.metrics.to_dict(),
    }
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")
