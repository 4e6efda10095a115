"""From a config to groups of runs, with every mistake found before anything is trained."""

import functools
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from mtl import data, weightings
from mtl.data import Columns, Dataset
from mtl.errors import InputError, unknown_name
from mtl.extractors import SingleTask
from mtl.models import PRESETS, MultiTaskModel, build_model, model_arguments, zero_perturbations
from mtl.sweep.config import Spec, hparams, label, without_label
from mtl.tasks import Task
from mtl.train import Budget, TrainSettings, budget, train_settings
from mtl.transfers import Independent

BASELINE_WEIGHTING = "static"


class Run(NamedTuple):
    """One training.

    Attributes:
      hparams: swept arguments, as the results name them.
      seed: root seed.
    """

    hparams: str
    seed: int


class Group(NamedTuple):
    """Runs that share one program.

    Attributes:
      id: a folder name, unique in the study.
      model: index into `Plan.models`.
      weighting: index into `Plan.weightings`; None for the plain static sum of the baseline.
      settings: the train section.
      budget: its steps.
      data: index into `Plan.data`.
      runs: one entry per run.
    """

    id: str
    model: int
    weighting: int | None
    settings: TrainSettings
    budget: Budget
    data: int
    runs: tuple[Run, ...]


class Plan(NamedTuple):
    """A study, ready to run.

    Attributes:
      name: the study's name.
      dataset: the data set's name.
      tasks: T tasks.
      models: label, spec and module of every model.
      weightings: label and spec of every weighting.
      data: for every entry the data sets of its runs: one shared by all, or one per run.
      groups: what to train, in order.
    """

    name: str
    dataset: str
    tasks: tuple[Task, ...]
    models: tuple[tuple[str, Spec, MultiTaskModel], ...]
    weightings: tuple[tuple[str, Spec], ...]
    data: tuple[tuple[Dataset, ...], ...]
    groups: tuple[Group, ...]


def make_plan(
    config: Mapping[str, Any], *, data_dir: str | None = None, manual_dir: str | None = None
) -> Plan:
    """Loads the data, builds every model and weighting once, and lays out the groups.

    Runs that differ in the seed form one group; so do runs that differ in the data set's swept
    arguments, when every seed draws its own data set and the shapes agree.

    Args:
      config: a plain, checked config.
      data_dir: where prepared data sets live.
      manual_dir: where raw files lie.

    Returns:
      The plan.

    Raises:
      InputError: any name, argument or value is wrong.
    """
    seeds = range(config["seeds"])
    specs = _weighting_specs(config)
    settings = [(values, train_settings({**config["train"], **values})) for values in _grid(config, "train")]
    variants = _datasets(config, seeds, data_dir, manual_dir)
    schema = variants[0][1][0].schema
    names = [t.name for t in schema.tasks]
    kinds = [t.kind for t in schema.tasks]
    for _, s in settings:
        train_settings(s._asdict(), names)
    for _, spec in specs:
        weightings.build(without_label(spec), kinds=kinds)
    models = _models(config, schema)
    pairs = _pairs(models, specs)
    _check_taps(models, specs, pairs, variants[0][1][0].splits["train"])
    pools = _pool(variants, seeds)
    groups = []
    for (values, s), (m, w) in itertools.product(settings, pairs):
        for d, (sets, entries) in enumerate(pools):
            runs = tuple(Run(hparams({**dataset_values, **values}), seed) for dataset_values, seed in entries)
            batches = 1 if w is None else weightings.needs(without_label(specs[w][1])).batches
            steps = budget(s, len(sets[0].splits["train"]["labels"]), batches)
            weighting = BASELINE_WEIGHTING if w is None else specs[w][0]
            name = _identifier(models[m][0], weighting, runs)
            groups.append(Group(name, m, w, s, steps, d, runs))
    return Plan(
        name=config["name"],
        dataset=variants[0][1][0].name,
        tasks=schema.tasks,
        models=models,
        weightings=specs,
        data=tuple(sets for sets, _ in pools),
        groups=tuple(groups),
    )


def _weighting_specs(config: Mapping[str, Any]) -> tuple[tuple[str, Spec], ...]:
    specs = tuple((label(s), s) for s in config["weightings"])
    _no_duplicates("weightings", [name for name, _ in specs])
    for _, spec in specs:
        weightings.parse(without_label(spec))
    return specs


def _models(config: Mapping[str, Any], schema: Any) -> tuple[tuple[str, Spec, MultiTaskModel], ...]:
    specs = list(config["models"])
    baseline = config["report"].get("baseline", "")
    labels = [label(s) for s in specs]
    if baseline and baseline not in labels:
        specs.insert(0, baseline)
        labels.insert(0, baseline)
    _no_duplicates("models", labels)
    dtype = config["train"].get("dtype", "float32")
    full = [_with_defaults(without_label(spec), config["model"]) for spec in specs]
    # A key may wait for a model that this study leaves out, but some model must take it.
    taken = frozenset().union(*(model_arguments(spec) for spec in (*full, *PRESETS)))
    for key in config["model"]:
        if key not in taken:
            raise unknown_name("key in config.model, which no model takes:", key, taken)
    return tuple(
        (name, spec, build_model(spec, schema, dtype=dtype)) for name, spec in zip(labels, full, strict=True)
    )


def _with_defaults(spec: Spec, defaults: Mapping[str, Any]) -> Spec:
    """Adds the arguments of `config.model` that the model takes and does not set itself."""
    own = {"name": spec} if isinstance(spec, str) else dict(spec)
    taken = model_arguments(own)
    return {**{k: v for k, v in defaults.items() if k in taken}, **own}


def _pairs(models: Sequence[tuple], specs: Sequence[tuple]) -> list[tuple[int, int | None]]:
    """Models × weightings; a model whose tasks share nothing is trained once, with the plain sum."""
    pairs: list[tuple[int, int | None]] = []
    for m, (_, _, model) in enumerate(models):
        if not _shares_nothing(model):
            pairs += [(m, w) for w in range(len(specs))]
        else:
            pairs.append((m, None))
    return pairs


def _check_taps(
    models: Sequence[tuple], specs: Sequence[tuple], pairs: Sequence[tuple], columns: Columns
) -> None:
    """Refuses a weighting that reads a tap for a model that has none; only shapes are worked out."""
    row: Any = {name: column[:1] for name, column in columns.items()}
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    for m, w in pairs:
        if w is None or not weightings.parse(without_label(specs[w][1]))[1].get("tap"):
            continue
        name, _, model = models[m]
        params = jax.eval_shape(model.init, keys, row)["params"]
        try:
            jax.eval_shape(functools.partial(zero_perturbations, model, batch=row), params)
        except InputError as e:
            raise InputError(f"{name} x {specs[w][0]}: {e}") from None


def _shares_nothing(model: MultiTaskModel) -> bool:
    return isinstance(model.extractor, SingleTask) and isinstance(model.transfer, Independent)


def _grid(config: Mapping[str, Any], section: str) -> list[dict[str, Any]]:
    for key in config["sweep"]:
        if key not in ("dataset", "train"):
            raise unknown_name("section of config.sweep:", key, ("dataset", "train"))
    grid = config["sweep"].get(section, {})
    if section == "train" and "dtype" in grid:
        raise InputError("config.sweep.train.dtype cannot be swept; set config.train.dtype per study")
    for key, values in grid.items():
        if key not in config[section]:
            raise unknown_name(f"config.sweep.{section} key", key, config[section])
        if not isinstance(values, list | tuple) or not values:
            raise InputError(
                f"config.sweep.{section}.{key} is {values!r}, expected a tuple of values such as (1, 2)"
            )
        kind = type(config[section][key])
        if kind in (int, float, str, bool):
            for v in values:
                if not isinstance(v, (int, float) if kind is float else kind):
                    raise InputError(f"config.sweep.{section}.{key} has {v!r}, expected {kind.__name__}")
    return [dict(zip(grid, v, strict=True)) for v in itertools.product(*grid.values())]


def _datasets(
    config: Mapping[str, Any], seeds: Sequence[int], data_dir: str | None, manual_dir: str | None
) -> list[tuple[dict[str, Any], tuple[Dataset, ...]]]:
    """For every swept variant the data sets of its seeds: one for all, or one each with `resample`."""
    variants: list[tuple[dict[str, Any], tuple[Dataset, ...]]] = []
    for values in _grid(config, "dataset"):
        arguments = {**config["dataset"], **values}
        name, resample = arguments.pop("name", None), arguments.pop("resample", False)
        if not isinstance(name, str):
            raise InputError(f"config.dataset.name is {name!r}, expected the name of a data set")
        if not isinstance(resample, bool):
            raise InputError(f"config.dataset.resample is {resample!r}, expected true or false")
        draws: list[dict[str, Any]] = [{"seed": s} for s in seeds] if resample else [{}]
        sets = tuple(
            data.load(name, data_dir=data_dir, manual_dir=manual_dir, **{**arguments, **draw})
            for draw in draws
        )
        if variants and sets[0].schema != variants[0][1][0].schema:
            raise InputError(
                f"config.sweep.dataset: {hparams(values)} changes the columns or tasks of the data set; "
                "a study compares methods on one schema"
            )
        variants.append((values, sets))
    return variants


def _pool(
    variants: Sequence[tuple[dict[str, Any], tuple[Dataset, ...]]], seeds: Sequence[int]
) -> list[tuple[tuple[Dataset, ...], list[tuple[dict[str, Any], int]]]]:
    """Puts data sets that can be stacked into one pool: resampled, and of one shape."""
    pools: dict[Any, tuple[list[Dataset], list[tuple[dict[str, Any], int]]]] = {}
    for v, (values, sets) in enumerate(variants):
        shapes = [{k: (sorted(c), len(c["labels"])) for k, c in d.splits.items()} for d in sets]
        key = str(shapes[0]) if len(sets) > 1 and all(s == shapes[0] for s in shapes) else v
        if len(sets) == 1:
            pools[key] = ([sets[0]], [(values, seed) for seed in seeds])
        elif key == v:
            raise InputError(
                "config.dataset.resample: the draws of different seeds have different shapes; set it to False"
            )
        else:
            pool = pools.setdefault(key, ([], []))
            pool[0].extend(sets)
            pool[1].extend((values, seed) for seed in seeds)
    return [(tuple(sets), runs) for sets, runs in pools.values()]


def _no_duplicates(key: str, labels: Sequence[str]) -> None:
    for name in labels:
        if labels.count(name) > 1:
            raise InputError(
                f"config.{key} names {name!r} twice; give one of them a 'label' to tell them apart"
            )


def _identifier(model: str, weighting: str, runs: Sequence[Run]) -> str:
    digest = hashlib.sha256(repr((model, weighting, tuple(runs))).encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9_.]+", "-", f"{model}-{weighting}")[:60].strip("-") + f"-{digest}"


def weighting_label(plan: Plan, group: Group) -> str:
    """The name under which a group's weighting is reported."""
    return BASELINE_WEIGHTING if group.weighting is None else plan.weightings[group.weighting][0]
