"""Run the paper's experiments: train what is missing, score, and write tables and figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from autocolor.baselines.cheng import ChengOptions
from autocolor.baselines.registry import NEED_BACKBONE, load_scene_method
from autocolor.core.errors import InputError
from autocolor.core.files import file_sha256, write_atomically
from autocolor.data.duplicates import describe, find_duplicates
from autocolor.data.photo_lists import list_photos
from autocolor.evaluation.evaluate import GREY, SceneMethod
from autocolor.evaluation.strength import choose_strengths
from autocolor.histograms.decode import METHODS, DecodeOptions, check_strength
from autocolor.nets.backbone import Backbone, HeadNet
from autocolor.nets.colorization import ColorizationNet
from autocolor.nets.weights_io import read_weights
from autocolor.paper.experiments import GIVEN_HISTOGRAM, ScoredMethod, scene_method, score_methods
from autocolor.paper.published import (
    TABLE_1,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    Published,
    Row,
    Table,
)
from autocolor.paper.stages import Stages
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import Manifest
from autocolor.training.feature_cache import FeatureOptions
from autocolor.training.head import Features, HeadOptions, prepare_features, train_head, train_whole

MAIN = "hue_chroma"
"""Name of the model that the paper selects: hue and chroma, all levels, chromatic fading."""

COMPETITORS = {
    "mean": "mean colour",
    "welsh": "Welsh et al.",
    "cheng": "Cheng et al.",
    "nearest_neighbour": "nearest neighbours",
    "deshpande": "Deshpande et al.",
}
"""Key to name of the methods that colorize without a trained colorizer of ours."""

SCENE_COMPETITORS = {
    "deshpande+scene": "Deshpande et al. + GT Scene",
    "deshpande (C)": "Deshpande et al. (C)",
    "deshpande (Q)": "Deshpande et al. (Q)",
}
"""Those that are told a photo's class of scenes."""

TABLES_AND_FIGURES = ("table1", "table2", "table3", "table4", "table5", "fig7", "fig8", "fig10")
"""What can be asked for."""

OF_ONE_MODEL = ("table4", "table5", "fig10")
"""What can be made of a model that is given."""

OF_SCENES = ("table3", "table4", "fig7", "fig8")
"""What is made of photos of a few classes of scenes, as the paper's are of SUN-6 and SUN-A."""

_ALL_COMPETITORS = {**COMPETITORS, **SCENE_COMPETITORS}
# More photos are compared by the bytes of their files alone: looking at one takes some 30 ms.
_COMPARED_BY_LOOKS = 20_000
_STRENGTHS = tuple(step / 10 for step in range(1, 16))
_STRENGTH_SIDE = 256
_CHENG_MINUTES = 2  # that its iterations take on two cores


@dataclass(frozen=True)
class ReproductionConfig:
    """Where an experiment's data are and what may be spent."""

    #: Folder with ``train_lmdb``, ``validation_lmdb`` and their lists of photos, as
    #: ``data_prep/build_lmdb.py`` leaves them
    data: Path
    photos: Sequence[Path]  #: To score on; never trained on
    weights: Path  #: VGG-16-gray, re-balanced; with fc6 and fc7 or without
    out: Path  #: Keeps features, models and scores
    #: Of each model; of an end-to-end training, the minutes alone
    head: HeadOptions = HeadOptions()
    features: FeatureOptions = FeatureOptions()
    #: Train all layers, as the paper does, on images instead of kept hypercolumns
    end_to_end: bool = False
    device: str = "cpu"  #: Where Caffe runs
    #: Folder of a model that is scored instead of training any; `data` and `weights` are not used
    #: then
    model: Path | None = None
    strength: float = 1.0  #: Of the rows of Table 5; the paper has none, that is 1
    seed: int = 0  #: Of the samples in Table 5
    #: Photos that the competitors learn from, in folders named by classes of scenes, as `photos` are;
    #: `OF_SCENES` then have the methods that are told the class. Those of ``train_lmdb`` unless given
    references: Sequence[Path] = ()

    def __post_init__(self) -> None:
        check_strength(self.strength)
        if self.seed < 0:
            raise InputError("seed", f"expected at least 0, got {self.seed}")

    def listed(self, name: str) -> list[Path]:
        """Return the photos of ``train_lmdb`` or ``validation_lmdb``."""
        return list_photos(self.data / f"{name}.txt")


def check_disjoint(config: ReproductionConfig) -> None:
    """Refuse to score on photos that are trained or validated on, or that look like one that is."""
    seen = list(config.references)
    if config.model is None:
        seen += [*config.listed("train_lmdb"), *config.listed("validation_lmdb")]
    found = find_duplicates(seen, config.photos, looks=len(seen) <= _COMPARED_BY_LOOKS)
    if found:
        raise InputError("photos", f"expected none that is trained on, but {describe(found)}")


@dataclass(frozen=True)
class Results:
    """What :meth:`Reproduction.results` found."""

    tables: list[Table]
    #: Those of Figures 7, 8 and 10 that were asked for, with the methods that they plot: key to name
    figures: dict[str, dict[str, str]]
    scores: dict[str, ScoredMethod]  #: By key of the method
    images: int  #: Photos scored
    skipped: list[tuple[Path, str]]  #: (path, reason)


class Reproduction:
    """What a reproduction needs again and again, made when it is first asked for.

    Parameters
    ----------
    config : ReproductionConfig
    report : callable
        Called with a line for each stage that ends.
    """

    def __init__(
        self, config: ReproductionConfig, report: Callable[[str], None] = lambda line: None
    ) -> None:
        model = config.model
        self.config = config
        self.stages = Stages(config.out, report)
        self.main = MAIN if model is None else "model"
        self.variant = MAIN if model is None else Manifest.load(model).variant
        self.last = "conv5_3"
        if model is None and "fc7" in read_weights(config.weights):
            self.last = "fc7"

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen network that the heads share."""
        config = self.config
        return Backbone(config.weights, self.last, config.device, config.features.width)

    def folder(self, model: str) -> Path:
        """Return the folder of a model."""
        if self.config.model is not None:
            return self.config.model
        return self.config.out / "models" / model

    def train(self, models: Sequence[str]) -> None:
        """Train the models that are missing, and choose their strengths on validation photos."""
        config = self.config
        if config.model is not None:
            return
        for model in models:
            network = _networks(self.last, config.features.width)[model]
            target = self.folder(model), model, network
            with self.stages.timed(f"training {model}") as cost:
                if config.end_to_end:
                    minutes, device = config.head.minutes, config.device
                    cost.seconds = train_whole(
                        *target, config.data, config.weights, minutes, device
                    )
                else:
                    cost.seconds = train_head(*target, self._features, config.head)
        unknown = [model for model in models if not self._strength_file(model).exists()]
        if unknown:
            with self.stages.timed("choosing strengths"):
                choices = choose_strengths(
                    {model: self.colorizer(model) for model in unknown},
                    config.listed("validation_lmdb"),
                    _STRENGTHS,
                    smaller_side=_STRENGTH_SIDE,
                )
            for model, choice in choices.items():
                folder = self.folder(model)
                replace(Manifest.load(folder), strength=choice.strength).save(folder)
                write_atomically(
                    self._strength_file(model), json.dumps({"strength": choice.strength})
                )

    def _strength_file(self, model: str) -> Path:
        """Return a file whose name has the hash of the weights for which the strength was chosen."""
        return self.folder(model) / f"strength_{self.identity(model)[:16]}.json"

    def identity(self, model: str) -> str:
        """Return the hash of a model's weights."""
        folder = self.folder(model)
        return file_sha256(folder / Manifest.load(folder).weights)

    @cached_property
    def _features(self) -> Features:
        config = self.config
        options = replace(config.features, levels=f"data..{self.last}")
        folder = config.out / "features"
        with self.stages.timed("features") as cost:
            features = prepare_features(
                config.data / "train_lmdb",
                config.data / "validation_lmdb",
                config.weights,
                folder,
                options,
                device=config.device,
            )
            cost.seconds = features.seconds
        return features

    def colorizer(self, model: str) -> Colorizer:
        """Return a model, on the shared frozen network unless it was trained end to end."""
        folder, device = self.folder(model), self.config.device
        if self.config.end_to_end or self.config.model is not None:
            return Colorizer(folder, device)
        width = self.config.features.width
        return Colorizer(folder, device, net=HeadNet(folder, self.backbone, device, width))

    def score(self, keys: Sequence[str]) -> tuple[dict[str, ScoredMethod], list[tuple[Path, str]]]:
        """Score methods by their keys, training and preparing what they need: see `score_methods`."""
        config = self.config
        models = {key: self._model_of(key) for key in keys if key not in (GREY, *_ALL_COMPETITORS)}
        names = list(dict.fromkeys(models.values()))
        self.train(names)
        colorizers = {name: self.colorizer(name) for name in names}
        loaders: dict[str, Callable[[], SceneMethod]] = {}
        identity = {}
        for key in keys:
            if key in _ALL_COMPETITORS:
                loaders[key] = partial(self._baseline, key)
                identity[key] = self._learnt_from(key)
            elif key != GREY:
                model, colorizer = models[key], colorizers[models[key]]
                identity[key] = f"{self.identity(model)} {colorizer.manifest} {config.seed}"
                loaders[key] = partial(scene_method, key, model, colorizer, seed=config.seed)
        folder = config.out / ("scores_scenes" if config.references else "scores")
        with self.stages.timed("scoring"):
            return score_methods(loaders, config.photos, folder, identity)

    def _model_of(self, key: str) -> str:
        return self.main if key in GIVEN_HISTOGRAM else key.partition("@")[0].partition("/")[0]

    def _learnt_from(self, key: str) -> str:
        """Return what a competitor depends on."""
        digest = hashlib.sha256()
        if key in NEED_BACKBONE:
            digest.update(self.config.weights.read_bytes())
        digest.update("\n".join(map(str, self._references())).encode("utf-8", "surrogateescape"))
        return f"{digest.hexdigest()} {_cheng_options(self.config.head.minutes)}"

    def results(self, names: Sequence[str], rows: Sequence[str] | None = None) -> Results:
        """Make tables and figures.

        Parameters
        ----------
        names : sequence of str
            Of `TABLES_AND_FIGURES`; with a model that is given, of `OF_ONE_MODEL`.
        rows : sequence of str, optional
            Keys of the rows that the tables are to have; grey is always there.
        """
        if self.config.model is not None:
            self._check_names(names)
        scenes = bool(self.config.references)
        all_tables = _tables(self.last, self.main, self.variant, self.config.strength, scenes)
        tables = [all_tables[name] for name in names if name in all_tables]
        if rows is not None:
            known = [row.key for table in tables for row in table.rows]
            if unknown := [row for row in rows if row not in known]:
                raise InputError(
                    "rows",
                    f"expected some of {', '.join(dict.fromkeys(known))}, got {', '.join(unknown)}",
                )
            tables = [
                replace(table, rows=tuple(r for r in table.rows if r.key in (GREY, *rows)))
                for table in tables
            ]
        plotted = _figures(self.main, scenes)
        figures = {name: plotted[name] for name in names if name in plotted}
        keys = [row.key for table in tables for row in table.rows]
        keys += [key for methods in figures.values() for key in methods]
        scores, skipped = self.score(tuple(dict.fromkeys(keys)))
        if "fig10" in figures:
            self.train([self.main])
        return Results(tables, figures, scores, scores[GREY].metrics.images, skipped)

    def _check_names(self, names: Sequence[str]) -> None:
        known = (*OF_ONE_MODEL, *(OF_SCENES if self.config.references else ()))
        if unknown := [name for name in names if name not in known]:
            raise InputError(
                "model", f"expected some of {', '.join(known)}, got {', '.join(unknown)}"
            )
        DecodeOptions(method="sample").methods(self.variant)  # refuses a model without histograms
        if "table4" in names and self.variant != MAIN:
            raise InputError("table4", f"expected a model of hue and chroma, got {self.variant}")

    def _references(self) -> Sequence[Path]:
        return self.config.references or self.config.listed("train_lmdb")

    def _baseline(self, key: str) -> SceneMethod:
        """Return a competitor, which learns unless it has before."""
        with self.stages.timed(f"preparing {key}"):
            return load_scene_method(
                key,
                self._references(),
                backbone=self.backbone if key in NEED_BACKBONE else None,
                cache=self.config.out / "baselines",
                cheng_options=_cheng_options(self.config.head.minutes),
            )


def _cheng_options(minutes: float) -> ChengOptions:
    """Return fewer iterations than the default where less time than that is given to each model."""
    options = ChengOptions()
    share = min(1.0, minutes / _CHENG_MINUTES)
    return replace(options, iterations=max(options.tests, round(share * options.iterations)))


def _networks(last: str, width: float) -> dict[str, ColorizationNet]:
    """Return the models of Tables 1 and 2 by name, with levels up to `last`."""
    levels = f"data..{last}"
    variants = (MAIN, "lab_l2", "lab_marginal", "lab_joint")
    models = {variant: ColorizationNet(variant, levels, width=width) for variant in variants}
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


def _tables(last: str, main: str, variant: str, strength: float, scenes: bool) -> dict[str, Table]:
    """Return the tables; those of one model are of the model `main`, Table 5 at `strength`."""
    cval1k, sun6 = "ImageNet/cval1k", "SUN-6"
    grey, grey_sun = Row(GREY, GREY, TABLE_1[GREY]), Row(GREY, GREY, TABLE_3[GREY])
    no_fc = (
        "The paper's rows with fc6 and fc7 need weights that no package registry has; the rows "
        "without a number of the paper's stand in for them."
    )
    told = list(SCENE_COMPETITORS.items()) if scenes else []
    no_classes = (
        "Deshpande et al.'s results with the class of the scene (GT Scene, C and Q) need photos of "
        "classes: `--scenes`."
    )
    variants = {"Lab, L2": "lab_l2", "Lab, K = 32": "lab_marginal", "Lab, K = 16 × 16": "lab_joint"}
    ablations = {levels: _ablation_model(levels, last) for levels in _ablations(last)}
    inference = TABLE_5 if variant == MAIN else dict.fromkeys(METHODS)
    tables = [
        Table(
            "table1",
            "Table 1: system variants",
            cval1k,
            (
                grey,
                *_at_one(variants, TABLE_1),
                Row("hue/chroma, K = 32", f"{MAIN}/median@1", TABLE_1["hue/chroma, K = 32"]),
                Row("+ chromatic fading", f"{MAIN}@1", TABLE_1["+ chromatic fading"]),
                *_at_chosen({**variants, "hue/chroma with fading": MAIN}),
            ),
        ),
        Table(
            "table2",
            "Table 2: levels of the hypercolumn",
            cval1k,
            (grey, *_at_one(ablations, TABLE_2), *_at_chosen(ablations)),
            missing="" if last == "fc7" else no_fc,
        ),
        Table(
            "table3",
            "Table 3: competing methods",
            sun6,
            (
                grey_sun,
                *(Row(name, key, TABLE_3.get(name)) for key, name in COMPETITORS.items()),
                *(Row(name, key, TABLE_3[name]) for key, name in told[:1]),
                Row("ours", f"{main}@chosen", TABLE_3["ours"]),
            ),
            missing="" if scenes else no_classes,
        ),
        Table(
            "table4",
            "Table 4: given the true histogram",
            sun6,
            (
                grey_sun,
                Row("ours, automatic", f"{main}@chosen", TABLE_3["ours"]),
                *(Row(name, key, TABLE_4[name]) for key, name in told[1:]),
                Row("ours (C)", "C"),
                Row("ours (Q)", "Q", TABLE_4["ours (Q)"]),
                Row("ours (E)", "E", TABLE_4["ours (E)"]),
            ),
            missing="" if scenes else no_classes,
        ),
        Table(
            "table5",
            f"Table 5: inference methods of {'hue/chroma' if variant == MAIN else variant}",
            cval1k,
            (
                grey,
                *(
                    Row(name, f"{main}{_way(name)}@{strength:g}", numbers)
                    for name, numbers in inference.items()
                ),
            ),
        ),
    ]
    return {table.name: table for table in tables}


def _at_one(models: Mapping[str, str], published: Mapping[str, Published]) -> list[Row]:
    """Return the rows of models, by the names of rows, at the paper's strength."""
    return [Row(name, f"{model}@1", published.get(name)) for name, model in models.items()]


def _at_chosen(models: Mapping[str, str]) -> list[Row]:
    return [Row(f"{name}, chosen strength", f"{model}@chosen") for name, model in models.items()]


def _way(name: str) -> str:
    """Return the part of a key that says how colours are taken; "" is median + CF, the default."""
    return "" if name == "median + CF" else f"/{name.replace(' ', '')}"


def _figures(main: str, scenes: bool) -> dict[str, dict[str, str]]:
    """Return the methods, key to name, of Figures 7 and 8; `main` is the model that is ours."""
    ours = {f"{main}@chosen": "ours"}
    given = {"C": "ours (C)", "Q": "ours (Q)", "E": "ours (E)"}
    cheng = {"cheng": "Cheng et al."}
    told = SCENE_COMPETITORS if scenes else {}
    return {
        "fig7": {GREY: GREY, "welsh": "Welsh et al.", **cheng, **told, **ours, **given},
        "fig8": {GREY: GREY, **cheng, **ours},
        "fig10": {},
    }
