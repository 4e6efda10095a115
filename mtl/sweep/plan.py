"""From a config to groups of runs, with every mistake found before anything is trained."""

import functools
import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from mtl import weightings
from mtl.data import Columns, Dataset
from mtl.errors import InputError, unknown_name
from mtl.extractors import SingleTask
from mtl.models import (
    PRESETS,
    MultiTaskModel,
    build_model,
    initial_variables,
    model_arguments,
    zero_perturbations,
)
from mtl.sweep.config import Spec, hparams, label, without_label
from mtl.sweep.grid import grid
from mtl.sweep.sources import Load, Source, load_sources, loader
from mtl.sweep.start import start_from
from mtl.tasks import Task
from mtl.train import DEVICE_KEYS, Budget, TrainSettings, budget, layout_of, part_mask, train_settings
from mtl.transfers import Independent
from mtl.types import PyTree

BASELINE_WEIGHTING = "static"

NUMBERS = ("learning_rate", "weight_decay")
"""Keys of `config.train` that a program takes as arguments: their values share one compilation."""


class Run(NamedTuple):
    """One training.

    Attributes:
      hparams: swept arguments, as the results name them.
      seed: root seed.
      weighting: index into `Plan.weightings`; None for the plain static sum of the baseline.
      settings: the train section.
      source: index into `Plan.sources`.
    """

    hparams: str
    seed: int
    weighting: int | None
    settings: TrainSettings
    source: int


class Group(NamedTuple):
    """Runs that share one program: they differ in seed, data and numbers only.

    Attributes:
      id: a folder name, unique in the study.
      model: index into `Plan.models`.
      budget: the steps of every run.
      runs: one entry per run.
      branches: the weightings of its program, as `Run.weighting`; several if programs are shared. A run's
        is the one among them that has its structure.
    """

    id: str
    model: int
    budget: Budget
    runs: tuple[Run, ...]
    branches: tuple[int | None, ...]

    @property
    def sources(self) -> tuple[int, ...]:
        """The data sets that the runs read, each once."""
        return tuple(dict.fromkeys(run.source for run in self.runs))


class Plan(NamedTuple):
    """A study, ready to run.

    Attributes:
      name: the study's name.
      dataset: the data set's name.
      tasks: T tasks; those of a group have the losses of its data sets, see `group_tasks`.
      models: label, spec and module of every model.
      weightings: label and spec of every weighting.
      sources: what data sets the runs read.
      sample: the first data set of every variant of the grid.
      load: loads a data set from its arguments.
      groups: what to train, in order.
    """

    name: str
    dataset: str
    tasks: tuple[Task, ...]
    models: tuple[tuple[str, Spec, MultiTaskModel], ...]
    weightings: tuple[tuple[str, Spec], ...]
    sources: tuple[Source, ...]
    sample: tuple[Dataset, ...]
    load: Load
    groups: tuple[Group, ...]


def make_plan(
    config: Mapping[str, Any], *, data_dir: str | None = None, manual_dir: str | None = None
) -> Plan:
    """Makes the plan of a study, see `plan_with`.

    Args:
      config: a plain, checked config.
      data_dir: where prepared data sets live.
      manual_dir: where raw files lie.

    Returns:
      The plan.

    Raises:
      InputError: any name, argument or value is wrong.
    """
    return plan_with(config, loader(data_dir, manual_dir))


def plan_with(config: Mapping[str, Any], load: Load) -> Plan:
    """Loads the data, builds every model and weighting once, and lays out the groups.

    Runs that differ in the seed form one group; so do runs that differ in numbers (learning rate, weight
    decay, arguments of a weighting that `weightings.numbers` names) or in data sets of one shape, and, with
    `train.share_programs`, runs of different weightings that read the same. Groups are cut to
    `train.group_runs` runs and `train.group_gib` of memory, whatever the machine, so that a study can be
    continued on another one.

    Args:
      config: a plain, checked config.
      load: loads a data set from its arguments.

    Returns:
      The plan.

    Raises:
      InputError: any name, argument or value is wrong.
    """
    specs = _weighting_specs(config)
    settings = [(values, train_settings({**config["train"], **values})) for values in grid(config, "train")]
    sample, sources = load_sources(config, load)
    schema = sample[0].schema
    kinds = [t.kind for t in schema.tasks]
    for _, s in settings:
        train_settings(s._asdict(), schema.tasks)
        _check_optimizers(s.optimizers, specs)
        layout_of(1, s)
    for _, spec in specs:
        weightings.build(without_label(spec), kinds=kinds)
    models = _models(config, schema)
    pairs = _pairs(models, specs)
    _check_taps(models, specs, pairs, sample[0].splits["train"])
    entries: list[tuple[int, Run, Budget]] = []
    for (values, s), (m, w) in itertools.product(settings, pairs):
        spec = BASELINE_WEIGHTING if w is None else without_label(specs[w][1])
        batches = weightings.needs(spec).batches
        for i, source in enumerate(sources):
            seeds = [source.arguments["seed"]] if config["dataset"]["resample"] else range(config["seeds"])
            swept = hparams({**source.values, **values})
            steps = budget(s, source.rows, batches)
            entries += [(m, Run(swept, seed, w, s, i), steps) for seed in seeds]
    plan = Plan(
        name=config["name"],
        dataset=sample[0].name,
        tasks=schema.tasks,
        models=models,
        weightings=specs,
        sources=sources,
        sample=sample,
        load=load,
        groups=(),
    )
    plan = plan._replace(groups=grouped(plan, entries))
    for group in plan.groups:
        _check_parts(plan, group)
    return plan


def grouped(plan: Plan, entries: Sequence[tuple[int, Run, Budget]]) -> tuple[Group, ...]:
    """Puts runs that share a program together.

    Args:
      plan: what the runs refer to.
      entries: model, run and budget of every run.

    Returns:
      The groups, in the order of their first runs.
    """
    together: dict[Any, tuple[dict[str, int | None], list[Run]]] = {}
    for m, run, steps in entries:
        spec = weighting_spec(plan, run)
        method, fixed = structure(spec), train_structure(run.settings)
        what = (run.settings.share_programs and weightings.reads(spec)) or method
        source = plan.sources[run.source]
        key = m, what, fixed, source.shapes, source.tasks, steps
        branches, runs = together.setdefault(key, ({}, []))
        branches.setdefault(method, run.weighting)
        runs.append(run)
    return tuple(
        Group(_identifier(plan.models, plan.weightings, m, part), m, steps, part, tuple(branches.values()))
        for (m, *_, steps), (branches, runs) in together.items()
        for part in _cut(runs, plan.models[m][2], plan.sample, steps)
    )


def group_tasks(plan: Plan, group: Group) -> tuple[Task, ...]:
    """The tasks of a group's runs, with the losses that these have."""
    return plan.sources[group.runs[0].source].tasks


def numbers(plan: Plan, group: Group, run: Run) -> dict[str, Any]:
    """The numbers of a run that its program takes as arguments.

    Args:
      plan: the study.
      group: one of its groups.
      run: one of the group's runs.

    Returns:
      The same keys for all runs of a group: for `train` the values by key, for `branch` the position of the
      run's weighting among the group's, and for `weighting` the values by key of each of these, the run's own
      where it is.
    """
    specs = [spec_of(plan, weighting) for weighting in group.branches]
    own = weighting_spec(plan, run)
    branch = [structure(spec) for spec in specs].index(structure(own))
    return {
        "train": {key: getattr(run.settings, key) for key in NUMBERS},
        "branch": branch,
        "weighting": [weightings.numbers(own if b == branch else spec) for b, spec in enumerate(specs)],
    }


def structure(spec: Spec) -> str:
    """What of a weighting a program depends on.

    Args:
      spec: a weighting.

    Returns:
      Its name and arguments without their numbers, as text.
    """
    name, arguments = weightings.parse(spec)
    free = {k: len(v) if isinstance(v, tuple) else "a number" for k, v in weightings.numbers(spec).items()}
    return repr((name, sorted({**arguments, **free}.items(), key=str)))


def train_structure(settings: TrainSettings) -> str:
    """What of a train section a program depends on: all of it but `NUMBERS`, as text."""
    return repr({k: v for k, v in settings._asdict().items() if k not in NUMBERS})


def _cut(
    runs: list[Run], model: MultiTaskModel, sample: Sequence[Dataset], steps: Budget
) -> Iterator[tuple[Run, ...]]:
    """Cuts runs into groups by their number and by the memory of their states and data sets."""
    row: Any = {name: column[:1] for name, column in sample[0].splits["train"].items()}
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    params = jax.tree.leaves(jax.eval_shape(functools.partial(initial_variables, model), keys, row))
    settings = runs[0].settings
    optimizers = len(sample[0].schema.tasks) if settings.optimizers == "per_loss" else 1
    # A state and its successor hold parameters and two moments each; the best parameters are kept apart.
    state = (2 * (1 + 2 * optimizers) + 1) * 4 * sum(x.size for x in params)
    data = max(sum(c.nbytes for split in d.splits.values() for c in split.values()) for d in sample)
    stream = sample[0].stream
    call = steps.steps_per_call * settings.batch_size
    # Of rows that stream every order has one call that trains, one that is read, and those ahead.
    ahead = 0 if stream is None else stream.blocks.row_bytes * call * (settings.prefetch + 2)
    part: list[Run] = []
    # Runs of one data set stand together, so that a group holds few of them.
    for run in sorted(runs, key=lambda r: (r.source, r.seed)):
        sources = {r.source for r in (*part, run)}
        orders = {(r.source, r.seed) for r in (*part, run)}
        size = state * (len(part) + 1) + data * len(sources) + ahead * len(orders)
        if part and (len(part) == settings.group_runs or size > settings.group_gib * 2**30):
            yield tuple(part)
            part = []
        part.append(run)
    yield tuple(part)


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
        stats = jax.eval_shape(functools.partial(initial_variables, model), keys, row)
        params = stats.pop("params")
        try:
            jax.eval_shape(functools.partial(zero_perturbations, model, batch=row), params, stats=stats)
        except InputError as e:
            raise InputError(f"{name} x {specs[w][0]}: {e}") from None


def _shares_nothing(model: MultiTaskModel) -> bool:
    alone = isinstance(model.extractor, SingleTask) and isinstance(model.transfer, Independent)
    return alone and model.side_tower is None


def _check_optimizers(optimizers: str, specs: Sequence[tuple[str, Spec]]) -> None:
    """Refuses weightings that cannot work with several optimisers."""
    for name, spec in specs:
        method, _ = weightings.parse(without_label(spec))
        if optimizers == "per_loss" and method in weightings.UNWEIGHTED:
            raise InputError(
                f"train.optimizers is 'per_loss', but weighting {name!r} does not weigh this step's "
                "gradients; leave one of them out"
            )
        if optimizers == "per_owner" and method not in weightings.SCALARIZATIONS:
            raise InputError(
                f"train.optimizers is 'per_owner', but weighting {name!r} gives private parameters their own "
                "gradient whatever its weights; use it with weighted losses such as 'alternating'"
            )


def _no_duplicates(key: str, labels: Sequence[str]) -> None:
    for name in labels:
        if labels.count(name) > 1:
            raise InputError(
                f"config.{key} names {name!r} twice; give one of them a 'label' to tell them apart"
            )


def _identifier(models: Sequence[tuple], specs: Sequence[tuple], model: int, runs: Sequence[Run]) -> str:
    name = models[model][0]
    used = dict.fromkeys(run.weighting for run in runs)
    labels = [BASELINE_WEIGHTING if w is None else specs[w][0] for w in used]
    anywhere = {key: TrainSettings._field_defaults[key] for key in DEVICE_KEYS}
    each = [(r.hparams, r.seed, r.weighting, r.settings._replace(**anywhere), r.source) for r in runs]
    told = repr((name, each, labels))
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9_.]+", "-", f"{name}-{labels[0]}")[:60].strip("-") + f"-{digest}"


def beginning(plan: Plan, group: Group) -> Callable[[dict[str, PyTree]], dict[str, PyTree]] | None:
    """How the initial variables of a group's runs are changed before training; None if they are not."""
    settings = group.runs[0].settings
    if not settings.init_from:
        return None
    keys = [
        {
            "model": plan.models[group.model][0],
            "weighting": weighting_label(plan, run),
            "hparams": run.hparams,
            "seed": run.seed,
        }
        for run in group.runs
    ]
    return functools.partial(start_from, keys=keys, settings=settings)


def _check_parts(plan: Plan, group: Group) -> None:
    """Refuses parts that a model does not have, and a start that its parameters do not fit."""
    settings = group.runs[0].settings
    begin = beginning(plan, group)
    if begin is None and not settings.freeze:
        return
    row: Any = {name: column[:1] for name, column in plan.sample[0].splits["train"].items()}
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    model = plan.models[group.model][2]
    variables = jax.eval_shape(functools.partial(initial_variables, model), keys, row)
    try:
        part_mask(variables["params"], settings.freeze)
        if begin is not None:
            runs = len(group.runs)
            begin(jax.tree.map(lambda x: jax.ShapeDtypeStruct((runs, *x.shape), x.dtype), variables))
    except InputError as e:
        raise InputError(f"{plan.models[group.model][0]}: {e}") from None


def weighting_label(plan: Plan, run: Run) -> str:
    """The name under which a run's weighting is reported."""
    return BASELINE_WEIGHTING if run.weighting is None else plan.weightings[run.weighting][0]


def weighting_spec(plan: Plan, run: Run) -> Spec:
    """A run's weighting, as `weightings.build` takes it."""
    return spec_of(plan, run.weighting)


def spec_of(plan: Plan, weighting: int | None) -> Spec:
    """A weighting of the plan, or that of the baseline, as `weightings.build` takes it."""
    return BASELINE_WEIGHTING if weighting is None else without_label(plan.weightings[weighting][1])
