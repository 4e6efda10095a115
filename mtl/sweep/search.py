"""Search: hyper-parameters chosen on validation, for every method with the same number of trials.

Every method (model × weighting) has an Optuna study of its own, in one storage. Trials are asked in batches;
those that differ in numbers and seeds train as one group. The test split is out of reach of a search: its
place is taken by validation. What is chosen is then trained over all seeds as any other study.

Reference:
  T. Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", KDD 2019.
"""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mtl.data import Dataset
from mtl.errors import InputError
from mtl.files import to_json, write_atomic
from mtl.progress import Progress
from mtl.sweep import optuna_study
from mtl.sweep.config import Spec
from mtl.sweep.engine import SIGHT_SECONDS
from mtl.sweep.hosts import ALONE, Hosts, deal, meet
from mtl.sweep.merge import merge
from mtl.sweep.plan import BASELINE_WEIGHTING, Plan, plan_with
from mtl.sweep.programs import Programs
from mtl.sweep.sources import Load, loader, same_columns
from mtl.sweep.space import Axis, axes, check_space, corners, decode
from mtl.sweep.store import clean
from mtl.sweep.trials import run_batch


class Method(NamedTuple):
    """A model × weighting of the study.

    Attributes:
      model: the model's label.
      model_spec: what it is made from.
      weighting: the weighting's label.
      weighting_spec: what it is made from; None for a model whose tasks share nothing.
      axes: what is searched.
    """

    model: str
    model_spec: Mapping[str, Any]
    weighting: str
    weighting_spec: Spec | None
    axes: tuple[Axis, ...]

    @property
    def name(self) -> str:
        """How the storage and `search.json` name it."""
        return f"{self.model} x {self.weighting}"


class Search(NamedTuple):
    """A search, checked.

    Attributes:
      config: the study's config.
      options: its section `search` with all defaults.
      methods: what is searched for.
      num_tasks: T.
      load: loads a data set from its arguments.
    """

    config: Mapping[str, Any]
    options: Mapping[str, Any]
    methods: tuple[Method, ...]
    num_tasks: int
    load: Load


def check_search(
    config: Mapping[str, Any], plan: Plan, *, data_dir: str | None = None, manual_dir: str | None = None
) -> Search:
    """Checks the search of a study, with the ends of all ranges.

    Args:
      config: a plain, checked config with a section `search`.
      plan: what was made of it.
      data_dir: where prepared data sets live.
      manual_dir: where raw files lie.

    Returns:
      The search.

    Raises:
      InputError: a key, a range or a value at an end of one is wrong.
    """
    for grid in ("dataset", "train"):
        if config["sweep"].get(grid):
            raise InputError(f"config.sweep.{grid} is a grid beside a search; leave one of the two out")
    labels = [name for name, _, _ in plan.models]
    options = check_space(config["sweep"]["search"], labels, [name for name, _ in plan.weightings])
    optuna_study.check_url(options["storage"])
    methods = []
    for m, w in dict.fromkeys((group.model, run.weighting) for group in plan.groups for run in group.runs):
        own, spec = (BASELINE_WEIGHTING, None) if w is None else plan.weightings[w]
        found = axes(options, labels[m], own if spec is not None else None, len(plan.tasks))
        built: Any = plan.models[m][1]  # with the arguments for all models, and without a label
        methods.append(Method(labels[m], built, own, spec, found))
    search = Search(
        config, options, tuple(methods), len(plan.tasks), _remembered(loader(data_dir, manual_dir))
    )
    for method in search.methods:
        for drawn in corners(method.axes):
            values = decode(method.axes, drawn)
            tried = _plan(search, method, values, seeds=1, name="tried")
            if not same_columns(tried.sample[0].schema, plan.sample[0].schema):
                raise InputError(
                    f"config.sweep.search.dataset: {values['dataset']} changes the columns or tasks "
                    "of the data set; a study compares methods on one schema, in which only losses may vary"
                )
    return search


def run_search(
    search: Search,
    workdir: Path,
    stop_requested: Callable[[], bool] = lambda: False,
    hosts: Hosts = ALONE,
) -> Plan:
    """Runs all trials that are not finished, and plans the study with what they have chosen.

    Args:
      search: the search.
      workdir: the study's folder; `search.json` is written there and the trials' files below `search/`.
      stop_requested: asked after every compiled call; true ends the search with a checkpoint.
      hosts: the processes among which the methods are dealt out.

    Returns:
      The plan of the chosen trials over all seeds of the study.

    Raises:
      Stopped: `stop_requested` said so; the same call continues later.
      InputError: no trial of a method has a value.
    """
    folder = workdir / "search"
    folder.mkdir(exist_ok=True)
    if hosts.this == 0:
        clean(workdir)
        optuna_study.mend_journal(folder)
    mine = set(deal(hosts, [method.name for method in search.methods], "methods"))
    with Progress(search.options["trials"] * len(mine), "trials") as progress:
        for i, method in enumerate(search.methods):
            if method.name in mine:
                progress.label(method.name)
                _search_method(search, method, folder / f"{i:03d}", stop_requested, progress)
    meet(hosts, "searched")
    plans, told = [], {}
    for method in search.methods:
        study = _open(search, method, folder)
        optuna_study.wait_for(study, search.options["trials"], SIGHT_SECONDS)
        chosen = optuna_study.chosen(study)
        if not chosen:
            raise InputError(
                f"config.sweep.search: no trial of {method.name} has a finite value on validation; narrow "
                "its ranges, in another --workdir"
            )
        for trial in chosen:
            front = f" #{trial.number}" if search.options["objective"] == "tasks" else ""
            values = decode(method.axes, trial.params)
            plans.append(
                _plan(search, method, values, seeds=search.config["seeds"], name=method.weighting + front)
            )
        arguments = {t.number: decode(method.axes, t.params) for t in study.get_trials()}
        told[method.name] = optuna_study.summary(study, arguments)
    if hosts.this == 0:
        write_atomic(workdir / "search.json", to_json(told, indent=1) + "\n")
    return merge(plans)


def describe_search(search: Search) -> str:
    """Says in a line what a search takes beside the study itself."""
    options, methods = search.options, len(search.methods)
    runs = methods * options["trials"] * options["seeds"]
    return (
        f"before it a search of {runs} runs: {methods} methods x {options['trials']} trials x "
        f"{options['seeds']} seeds, in batches of {options['batch']} trials"
    )


def _search_method(
    search: Search, method: Method, folder: Path, stop_requested: Callable[[], bool], progress: Progress
) -> None:
    """Runs the trials of one method, batch after batch.

    Which trials make a batch and what a trial draws depend on the trials before it only, so that a search
    that was killed goes on as if nothing had happened.
    """
    options = search.options
    study = _open(search, method, folder.parent)
    programs: Programs | None = None
    for first in range(0, options["trials"], options["batch"]):
        numbers = range(first, min(first + options["batch"], options["trials"]))
        batch = optuna_study.ask(study, method.axes, numbers, options["sampler"])
        if not all(trial.state.is_finished() for trial in batch):
            plans = [_trial_plan(search, method, trial) for trial in batch]
            merged = merge(plans, before=programs.plan if programs else None)
            merged = merged._replace(load=_without_test(search.load))
            # What is compiled for one batch serves the next.
            programs = programs or Programs(merged)
            programs.plan = merged
            run_batch(programs, folder / f"{first:05d}", study, batch, options, stop_requested)
        progress.advance(len(numbers))


def _open(search: Search, method: Method, folder: Path) -> optuna_study.Study:
    objectives = search.num_tasks if search.options["objective"] == "tasks" else 1
    name = f"{search.config['name']}: {method.name}"
    return optuna_study.open_study(
        folder, search.options["storage"], name, objectives, search.options["pruner"]
    )


def _plan(search: Search, method: Method, values: Mapping[str, Any], *, seeds: int, name: str) -> Plan:
    """The plan of one method with the arguments of one trial.

    Args:
      search: the search.
      method: the method.
      values: the arguments, by section.
      seeds: number of seeds.
      name: the weighting's label.
    """
    config = search.config
    weighting: Any = BASELINE_WEIGHTING
    if method.weighting_spec is not None:
        spec = method.weighting_spec
        own = {"name": spec} if isinstance(spec, str) else spec
        weighting = {**own, **values["weighting"], "label": name}
    tried = {
        **config,
        "dataset": {**config["dataset"], **values["dataset"]},
        "train": {**config["train"], **values["train"]},
        "models": ({**method.model_spec, **values["model"], "label": method.model},),
        "weightings": (weighting,),
        "seeds": seeds,
        "sweep": {},
        "report": {**config["report"], "baseline": ""},
    }
    return plan_with(tried, search.load)


def _trial_plan(search: Search, method: Method, trial: optuna_study.FrozenTrial) -> Plan:
    """The plan of a trial; its runs carry the trial's number."""
    values = decode(method.axes, trial.params)
    plan = _plan(search, method, values, seeds=search.options["seeds"], name=f"#{trial.number}")
    groups = [
        g._replace(runs=tuple(r._replace(hparams=str(trial.number)) for r in g.runs)) for g in plan.groups
    ]
    return plan._replace(groups=tuple(groups))


def _remembered(load: Load) -> Load:
    """Keeps the data sets loaded last: trials ask for the same ones again and again."""

    @functools.lru_cache(maxsize=8)
    def by_text(text: str) -> Dataset:
        return load(json.loads(text))

    return lambda arguments: by_text(json.dumps(dict(arguments), sort_keys=True))


def _without_test(load: Load) -> Load:
    """Loads data sets with validation in the place of the test split, which a search must not see."""

    def search_load(arguments: Mapping[str, Any]) -> Dataset:
        dataset = load(arguments)
        return dataset._replace(splits={**dataset.splits, "test": dataset.splits["val"]})

    return search_load
