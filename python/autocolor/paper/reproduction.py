"""Run the paper's experiments: train what is missing, score, and write tables and figures."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from autocolor.baselines.cheng import ChengOptions
from autocolor.baselines.registry import HISTOGRAM_TRANSFERS, Baseline, load_baseline
from autocolor.core.files import atomic_path
from autocolor.data.duplicates import describe, find_duplicates
from autocolor.evaluation.strength import choose_strengths
from autocolor.nets.backbone import Backbone, HeadNet
from autocolor.nets.colorization import ColorizationNet
from autocolor.nets.weights_io import read_weights
from autocolor.paper.experiments import (
    GREY,
    Method,
    ScoredMethod,
    histogram_methods,
    model_methods,
    score_methods,
)
from autocolor.paper.published import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5
from autocolor.paper.sample_sheet import draw_samples
from autocolor.paper.tables import Row, Table
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import Manifest
from autocolor.training.feature_cache import FeatureOptions
from autocolor.training.head import Features, HeadOptions, prepare_features, train_head, train_whole

MAIN = "hue_chroma"
"""Name of the model that the paper selects: hue and chroma, all levels, chromatic fading."""

BASELINES = {"mean": "mean colour", "welsh": "Welsh et al.", "cheng": "Cheng et al.",
             "nearest_neighbour": "nearest neighbours"}  # fmt: skip
"""Key to name of the methods that colorize without a trained colorizer of ours."""

EXPERIMENTS = ("table1", "table2", "table3", "table4", "table5", "fig7", "fig8", "fig10")
"""What can be asked for."""

# More photos are compared by the bytes of their files alone: looking at one takes some 30 ms.
_COMPARED_BY_LOOKS = 20_000
_STRENGTHS = tuple(step / 10 for step in range(1, 16))
_STRENGTH_SIDE = 256
_SECONDS = "seconds.json"
_CHENG_MINUTES = 2  # that its iterations take on two cores


@dataclass(frozen=True)
class Setting:
    """Where an experiment's data are and what may be spent.

    Attributes
    ----------
    data : Path
        Folder with ``train_lmdb``, ``validation_lmdb`` and their lists of photos, as
        ``data_prep/build_lmdb.py`` leaves them.
    photos : sequence of Path
        To score on; never trained on.
    weights : Path
        VGG-16-gray, re-balanced; with fc6 and fc7 or without.
    out : Path
        Keeps features, models and scores.
    head : HeadOptions
        Of each model; of an end-to-end training, the minutes alone.
    features : FeatureOptions
    end_to_end : bool
        Train all layers, as the paper does, on images instead of kept hypercolumns.
    device : str
        Where Caffe runs.
    """

    data: Path
    photos: Sequence[Path]
    weights: Path
    out: Path
    head: HeadOptions = HeadOptions()
    features: FeatureOptions = FeatureOptions()
    end_to_end: bool = False
    device: str = "cpu"

    def listed(self, name: str) -> list[Path]:
        """Return the photos of ``train_lmdb`` or ``validation_lmdb``."""
        lines = (self.data / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        return [Path(line) for line in lines]


def check_disjoint(setting: Setting) -> None:
    """Refuse to score on photos that are trained or validated on, or that look like one that is.

    Raises
    ------
    ValueError
        Naming them.
    """
    seen = [*setting.listed("train_lmdb"), *setting.listed("validation_lmdb")]
    found = find_duplicates(seen, setting.photos, looks=len(seen) <= _COMPARED_BY_LOOKS)
    if found:
        raise ValueError(f"photos: expected none that is trained on, but {describe(found)}")


@dataclass(frozen=True)
class Results:
    """What :meth:`Run.results` found.

    Attributes
    ----------
    tables : list of Table
    figures : tuple of str
        Those of Figures 7, 8 and 10 that were asked for.
    scores : dict of ScoredMethod
        By key of the method.
    images : int
        Photos scored.
    samples : Image or None
        The picture of Figure 10.
    """

    tables: list[Table]
    figures: tuple[str, ...]
    scores: dict[str, ScoredMethod]
    images: int
    samples: Image.Image | None


@dataclass
class Run:
    """What a run needs again and again, made when it is first asked for."""

    setting: Setting
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage of this run, without what is kept from others."""

    def __post_init__(self) -> None:
        self.last = "fc7" if "fc7" in read_weights(self.setting.weights) else "conv5_3"
        self._inner = 0.0  # seconds of the stages within the present one
        self._features: Features | None = None
        self._backbone: Backbone | None = None
        self._baselines: dict[str, Baseline] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time of a stage, without that of stages within it."""
        started = time.monotonic()
        outer, self._inner = self._inner, 0.0
        yield
        elapsed = time.monotonic() - started
        self.seconds[name] = self.seconds.get(name, 0) + elapsed - self._inner
        self._inner = outer + elapsed

    @property
    def backbone(self) -> Backbone:
        """Return the frozen network that the heads share."""
        if self._backbone is None:
            self._backbone = Backbone(
                self.setting.weights, self.last, self.setting.device, self.setting.features.width
            )
        return self._backbone

    def folder(self, model: str) -> Path:
        """Return the folder of a model."""
        return self.setting.out / "models" / model

    def train(self, models: Sequence[str]) -> None:
        """Train the models that are missing, and choose their strengths on validation photos."""
        setting = self.setting
        for model in models:
            network = _networks(self.last, setting.features.width)[model]
            if setting.end_to_end:
                seconds = train_whole(
                    self.folder(model), model, network, setting.data, setting.weights,
                    setting.head.minutes, setting.device,
                )  # fmt: skip
            else:
                seconds = train_head(
                    self.folder(model), model, network, self._prepared(), setting.head
                )
            self.seconds[f"training {model}"] = seconds
        unknown = [model for model in models if not self._strength_file(model).exists()]
        if unknown:
            with self.timed("choosing strengths"):
                choices = choose_strengths(
                    {model: self.colorizer(model) for model in unknown},
                    setting.listed("validation_lmdb"),
                    _STRENGTHS,
                    smaller_side=_STRENGTH_SIDE,
                )
            for model, choice in choices.items():
                folder = self.folder(model)
                replace(Manifest.load(folder), strength=choice.strength).save(folder)
                with atomic_path(self._strength_file(model)) as partial:
                    partial.write_text(json.dumps({"strength": choice.strength}), encoding="utf-8")

    def _strength_file(self, model: str) -> Path:
        """Return a file whose name has the hash of the weights for which the strength was chosen."""
        return self.folder(model) / f"strength_{self.identity(model)[:16]}.json"

    def identity(self, model: str) -> str:
        """Return the hash of a model's weights."""
        with (self.folder(model) / "weights.caffemodel").open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _prepared(self) -> Features:
        if self._features is None:
            setting = self.setting
            options = replace(setting.features, levels=f"data..{self.last}")
            self._features = prepare_features(
                setting.data, setting.weights, setting.out / "features", options,
                device=setting.device,
            )  # fmt: skip
            self.seconds["features"] = self._features.seconds
        return self._features

    def colorizer(self, model: str) -> Colorizer:
        """Return a model, on the shared frozen network unless it was trained end to end."""
        folder, device = self.folder(model), self.setting.device
        if self.setting.end_to_end:
            return Colorizer(folder, device)
        width = self.setting.features.width
        return Colorizer(folder, device, net=HeadNet(folder, self.backbone, device, width))

    def score(self, keys: Sequence[str]) -> dict[str, ScoredMethod]:
        """Score methods by their keys, training and preparing what they need."""
        models = _models_of(keys)
        self.train(models)
        colorizers = {model: self.colorizer(model) for model in models}
        known: dict[str, Method] = {}
        identity: dict[str, str] = {}
        for model, colorizer in colorizers.items():
            found = model_methods(model, colorizer.manifest.variant)
            if model == MAIN:
                found |= histogram_methods(model, HISTOGRAM_TRANSFERS["clusters"])
            known |= found
            mark = f"{self.identity(model)} {colorizer.manifest.strength}"
            identity |= dict.fromkeys(found, mark)
        known |= {key: self._baseline(key) for key in keys if key in BASELINES}
        learnt_from = hashlib.sha256(self.setting.weights.read_bytes())
        learnt_from.update((self.setting.data / "train_lmdb.txt").read_bytes())
        options = _cheng_options(self.setting.head.minutes)
        identity |= dict.fromkeys(BASELINES, f"{learnt_from.hexdigest()} {options}")
        methods = {key: known[key] for key in keys if key != GREY}
        with self.timed("scoring"):
            scores, _ = score_methods(
                methods, colorizers, self.setting.photos, self.setting.out / "scores", identity,
                prepare=self._prepare,
            )  # fmt: skip
        return scores

    def results(self, names: Sequence[str], rows: Sequence[str] | None = None) -> Results:
        """Make tables and figures.

        Parameters
        ----------
        names : sequence of str
            Of `EXPERIMENTS`.
        rows : sequence of str, optional
            Keys of the rows that the tables are to have; grey is always there.

        Raises
        ------
        ValueError
            If a row is in none of the tables, and where photos cannot be used.
        """
        all_tables = _tables(self.last)
        tables = [all_tables[name] for name in names if name in all_tables]
        if rows is not None:
            known = [row.key for table in tables for row in table.rows]
            if unknown := [row for row in rows if row not in known]:
                raise ValueError(
                    f"rows: expected some of {', '.join(dict.fromkeys(known))}, received "
                    f"{', '.join(unknown)}"
                )
            tables = [
                replace(table, rows=tuple(r for r in table.rows if r.key in (GREY, *rows)))
                for table in tables
            ]
        figures = tuple(name for name in names if name not in all_tables)
        keys = [row.key for table in tables for row in table.rows]
        for figure, methods in (("fig7", FIGURE_7), ("fig8", FIGURE_8)):
            if figure in figures:
                keys += methods
        scores = self.score(tuple(dict.fromkeys(keys)))
        samples = None
        if "fig10" in figures:
            self.train([MAIN])
            with self.timed("figure 10"):
                samples = draw_samples(self.colorizer(MAIN), self.setting.photos)
        return Results(tables, figures, scores, scores[GREY].metrics.images, samples)

    def longest(self) -> dict[str, float]:
        """Return the most seconds that each stage has taken, in this run or an earlier one.

        A stage whose results are kept takes next to nothing when it is run again.
        """
        path = self.setting.out / _SECONDS
        known: dict[str, float] = {}
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
        for stage, seconds in self.seconds.items():
            known[stage] = max(seconds, known.get(stage, 0.0))
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        return known

    def _baseline(self, key: str) -> Method:
        return lambda scene: self._baselines[key](scene.lightness)

    def _prepare(self, keys: Sequence[str]) -> None:
        """Let the baselines among some methods learn, unless they have before."""
        for key in keys:
            if key in BASELINES and key not in self._baselines:
                with self.timed(f"preparing {key}"):
                    self._baselines[key] = load_baseline(
                        key,
                        self.setting.listed("train_lmdb"),
                        backbone=self.backbone,
                        cache=self.setting.out / "baselines",
                        cheng_options=_cheng_options(self.setting.head.minutes),
                    )


def _cheng_options(minutes: float) -> ChengOptions:
    """Return fewer iterations than the default where less time than that is given to each model."""
    options = ChengOptions()
    share = min(1.0, minutes / _CHENG_MINUTES)
    return replace(options, iterations=max(options.tests, round(share * options.iterations)))


def _networks(last: str, width: float) -> dict[str, ColorizationNet]:
    """Return the models of Tables 1 and 2 by name, with levels up to `last`."""
    levels = f"data..{last}"
    models = {
        MAIN: ColorizationNet("hue_chroma", levels, width=width),
        "lab_l2": ColorizationNet("lab_l2", levels, width=width),
        "lab_marginal": ColorizationNet("lab_marginal", levels, width=width),
        "lab_joint": ColorizationNet("lab_joint", levels, width=width),
    }
    for ablation in _ablations(last):
        if ablation != levels:
            models[_ablation_model(ablation, last)] = ColorizationNet(levels=ablation, width=width)
    return models


def _ablations(last: str) -> tuple[str, ...]:
    if last == "fc7":
        return tuple(TABLE_2)
    return ("data..conv5_3", "conv4_1..conv5_3", "conv5_1..conv5_3", "conv5_3")


def _ablation_model(levels: str, last: str) -> str:
    return MAIN if levels == f"data..{last}" else f"{MAIN}_{levels.replace('..', '-')}"


def _models_of(keys: Sequence[str]) -> list[str]:
    """Return the models that methods need, each once."""
    needed = [MAIN if key in ("C", "Q", "E") else key.split("@")[0].split("/")[0] for key in keys]
    return [model for model in dict.fromkeys(needed) if model != GREY and model not in BASELINES]


def _tables(last: str) -> dict[str, Table]:
    cval1k, sun6 = "ImageNet/cval1k", "SUN-6"
    no_fc = (
        "The paper's rows with fc6 and fc7 need weights that no package registry has; the rows "
        "without a number of the paper's stand in for them."
    )
    variants = {"Lab, L2": "lab_l2", "Lab, K = 32": "lab_marginal", "Lab, K = 16 × 16": "lab_joint"}
    return {
        "table1": Table(
            "table1", "Table 1: system variants", cval1k,
            (
                Row("no colorization", GREY, TABLE_1["no colorization"]),
                *(Row(name, f"{model}@1", TABLE_1[name]) for name, model in variants.items()),
                Row("hue/chroma, K = 32", f"{MAIN}/median@1", TABLE_1["hue/chroma, K = 32"]),
                Row("+ chromatic fading", f"{MAIN}@1", TABLE_1["+ chromatic fading"]),
                *(
                    Row(f"{name}, chosen strength", f"{model}@chosen")
                    for name, model in {**variants, "hue/chroma with fading": MAIN}.items()
                ),
            ),
        ),
        "table2": Table(
            "table2", "Table 2: levels of the hypercolumn", cval1k,
            (
                Row("no colorization", GREY, TABLE_1["no colorization"]),
                *(
                    Row(levels, f"{_ablation_model(levels, last)}@1", TABLE_2.get(levels))
                    for levels in _ablations(last)
                ),
                *(
                    Row(f"{levels}, chosen strength", f"{_ablation_model(levels, last)}@chosen")
                    for levels in _ablations(last)
                ),
            ),
            missing="" if last == "fc7" else no_fc,
        ),
        "table3": Table(
            "table3", "Table 3: competing methods", sun6,
            (
                Row("no colorization", GREY, TABLE_3["no colorization"]),
                *(Row(name, key, TABLE_3.get(name)) for key, name in BASELINES.items()),
                Row("ours", f"{MAIN}@chosen", TABLE_3["ours"]),
            ),
            missing="Deshpande et al.'s own colorizer and its scene classes are not built here.",
        ),
        "table4": Table(
            "table4", "Table 4: given the true histogram", sun6,
            (
                Row("no colorization", GREY, TABLE_3["no colorization"]),
                Row("ours, automatic", f"{MAIN}@chosen", TABLE_3["ours"]),
                Row("ours (C)", "C"),
                Row("ours (Q)", "Q", TABLE_4["ours (Q)"]),
                Row("ours (E)", "E", TABLE_4["ours (E)"]),
            ),
            missing="The paper's C and Q of Deshpande et al. recolour that colorizer's results "
            f"({TABLE_4['Deshpande et al. (C)'].rmse} and {TABLE_4['Deshpande et al. (Q)'].rmse}); "
            "here C recolours ours.",
        ),
        "table5": Table(
            "table5", "Table 5: inference methods of hue/chroma", cval1k,
            (
                Row("no colorization", GREY, TABLE_1["no colorization"]),
                Row("sample", f"{MAIN}/sample@1", TABLE_5["sample"]),
                Row("mode", f"{MAIN}/mode@1", TABLE_5["mode"]),
                Row("expectation", f"{MAIN}/expectation@1", TABLE_5["expectation"]),
                Row("expectation + CF", f"{MAIN}/expectation+CF@1", TABLE_5["expectation + CF"]),
                Row("median", f"{MAIN}/median@1", TABLE_5["median"]),
                Row("median + CF", f"{MAIN}@1", TABLE_5["median + CF"]),
            ),
        ),
    }  # fmt: skip


FIGURE_7 = {
    GREY: "no colorization", "welsh": "Welsh et al.", "cheng": "Cheng et al.",
    f"{MAIN}@chosen": "ours", "C": "ours (C)", "Q": "ours (Q)", "E": "ours (E)",
}  # fmt: skip
"""Methods of Fig. 7, errors by pixel."""

FIGURE_8 = {GREY: "no colorization", "cheng": "Cheng et al.", f"{MAIN}@chosen": "ours"}
"""Methods of Fig. 8, PSNR by photo."""
