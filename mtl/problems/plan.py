"""From a config to what a study of a problem runs, with every mistake found before anything runs."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax

from mtl import weightings
from mtl.errors import InputError, unknown_name
from mtl.problems.toy2d import Toy2D, toy2d
from mtl.sweep.config import Spec, label, without_label
from mtl.tasks import Task
from mtl.train import TrainSettings, train_settings

PROBLEMS: dict[str, Callable[..., Toy2D]] = {"toy2d": toy2d}

MODEL = "point"
"""The one model: the parameters are the point itself."""

RECORDS = 500
"""Records per run, unless `train.eval_every` says otherwise."""

USED = ("steps", "learning_rate", "optimizer", "weight_decay", "clip_norm", "schedule", "eval_every")
"""Keys of `config.train` that mean something without batches, epochs and a validation split."""


class Group(NamedTuple):
    """One weighting from all starts.

    Attributes:
      id: a file name, unique in the study.
      label: the name under which the weighting is reported.
      spec: what it is made from.
      runs: seeds, each the index of a start.
    """

    id: str
    label: str
    spec: Spec
    runs: tuple[int, ...]


class Plan(NamedTuple):
    """A study, ready to run.

    Attributes:
      name: the study's name.
      dataset: the problem's name.
      problem: the problem.
      settings: the train section.
      every: steps between records; also the epoch of weightings that have one.
      groups: what to run, in order.
    """

    name: str
    dataset: str
    problem: Toy2D
    settings: TrainSettings
    every: int
    groups: tuple[Group, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The objectives."""
        return self.problem.tasks

    @property
    def sample(self) -> tuple[Toy2D, ...]:
        """What stands in the place of data sets."""
        return (self.problem,)


def is_problem(config: Mapping[str, Any]) -> bool:
    """Says whether a config's data set is a problem."""
    dataset = config.get("dataset")
    return isinstance(dataset, Mapping) and str(dataset.get("name")) in PROBLEMS


def make_plan(config: Mapping[str, Any], **folders: str | None) -> Plan:
    """Makes the problem and builds every weighting once, so that mistakes are found before anything runs.

    Args:
      config: a plain, checked config whose `dataset.name` is in `PROBLEMS`.
      **folders: `data_dir` and `manual_dir`, which no problem needs.

    Returns:
      The plan.

    Raises:
      InputError: any name, argument or value is wrong.
    """
    del folders
    arguments = {k: v for k, v in config["dataset"].items() if k not in ("name", "resample")}
    name = config["dataset"]["name"]
    if set(arguments) - {"scale"}:
        raise unknown_name(f"argument of problem {name!r}:", min(set(arguments) - {"scale"}), ("scale",))
    problem = PROBLEMS[name](**arguments)
    settings = _settings(config, problem)
    _check_rest(config, problem)
    runs = tuple(range(config["seeds"]))
    specs = [(label(s), s) for s in config["weightings"]]
    labels = [found for found, _ in specs]
    every = settings.eval_every or max(1, settings.steps // RECORDS)
    for found, spec in specs:
        if labels.count(found) > 1:
            raise InputError(f"config.weightings names {found!r} twice; give one of them a 'label'")
        make_weighting(problem, spec, every)
    groups = tuple(Group(_identifier(found), found, spec, runs) for found, spec in specs)
    return Plan(config["name"], name, problem, settings, every, groups)


def _settings(config: Mapping[str, Any], problem: Toy2D) -> TrainSettings:
    settings = train_settings(config["train"], problem.tasks)
    if settings.steps == 0:
        raise InputError(f"train.steps is 0, but {problem.name!r} has no epochs; set the number of steps")
    defaults = TrainSettings()._asdict()
    for key, value in settings._asdict().items():
        if key not in USED and value != defaults[key]:
            raise InputError(
                f"train.{key} is {value!r}, which means nothing for the problem {problem.name!r}; "
                f"leave it at {defaults[key]!r}"
            )
    return settings


def _check_rest(config: Mapping[str, Any], problem: Toy2D) -> None:
    if config["dataset"].get("resample"):
        raise InputError(f"config.dataset.resample is true, but {problem.name!r} draws no data; leave it out")
    if list(config["models"]) != [MODEL] or config["model"]:
        raise InputError(
            f"config.models is {list(config['models'])!r} with arguments {dict(config['model'])!r}, expected "
            f"[{MODEL!r}] without: the parameters of {problem.name!r} are the point itself"
        )
    starts = len(problem.starts)
    if config["seeds"] > starts:
        raise InputError(
            f"config.seeds is {config['seeds']}, expected at most {starts}, its published starts"
        )
    for section in ("sweep", "report"):
        for key, value in config[section].items():
            if value:
                raise InputError(
                    f"config.{section}.{key} is {value!r}, but the study of a problem has none; set it empty"
                )


def make_weighting(problem: Toy2D, spec: Spec, every: int) -> optax.GradientTransformationExtraArgs:
    """Builds a weighting for a problem's tasks.

    Args:
      problem: the problem.
      spec: the weighting's spec; its label is ignored.
      every: steps that count as an epoch.

    Returns:
      The weighting.

    Raises:
      InputError: the name or an argument is unknown, or a value is out of range.
    """
    kinds = [t.kind for t in problem.tasks]
    return weightings.build(without_label(spec), kinds=kinds, steps_per_epoch=every)


def _identifier(weighting: str) -> str:
    digest = hashlib.sha256(weighting.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9_.]+", "-", weighting)[:60].strip("-") + f"-{digest}"
