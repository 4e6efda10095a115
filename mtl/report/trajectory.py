"""Curves over training: the mean over seeds at every logged step."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mtl.metrics import PRIMARY, mean_interval
from mtl.report.workdir import Group, Method, Record, Study, number

MAX_POINTS = 200
"""Points per curve; more would not be seen."""


class Trajectory(NamedTuple):
    """A quantity over training.

    Attributes:
      steps: `[P]` training steps.
      mean: `[P]` mean over seeds, NaN where a seed has no value.
      low: `[P]` lower end of the 95 % interval, NaN below two seeds.
      high: `[P]` upper end.
    """

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def trajectories(study: Study, part: str) -> dict[tuple[Group, Method, str], Trajectory]:
    """Collects one quantity of the records.

    Args:
      study: the study's results.
      part: `loss` or `weight`, or `metrics` for the primary metric on validation.

    Returns:
      (group, method, task) → trajectory.
    """
    logged: dict[tuple[Group, Method, str], dict[int, dict[int, float]]] = {}
    for record in study.records:
        for task, value in _values(study, record, part):
            steps = logged.setdefault((record.group, record.method, task), {})
            steps.setdefault(record.step, {})[record.seed] = value
    return {key: _over_seeds(steps) for key, steps in logged.items()}


def gate_trajectories(study: Study) -> dict[tuple[Group, Method, str], tuple[Trajectory, ...]]:
    """Collects how many experts the gates use: exp(entropy), 1 for a polarised gate and E for a uniform one.

    Unlike the weights of single experts, which mean nothing across seeds, it can be averaged over them.

    Args:
      study: the study's results.

    Returns:
      (group, method, gate) → one trajectory per task, or one where tasks share the gate.
    """
    logged: dict[tuple[Group, Method, str], list[dict[int, dict[int, float]]]] = {}
    for record in study.records:
        if record.kind == "val":
            for gate, found in record.content.get("gates", {}).items():
                entropy = found["entropy"]
                lines = logged.setdefault((record.group, record.method, gate), [{} for _ in entropy])
                for line, value in zip(lines, entropy, strict=True):
                    line.setdefault(record.step, {})[record.seed] = math.exp(number(value))
    return {key: tuple(map(_over_seeds, lines)) for key, lines in logged.items()}


def _values(study: Study, record: Record, part: str) -> Iterator[tuple[str, float]]:
    if part == "metrics" and record.kind == "val":
        for task in study.tasks:
            value = record.content["metrics"].get(task.name, {}).get(PRIMARY[task.kind])
            if value is not None:
                yield task.name, number(value)
    if part != "metrics" and record.kind == "train":
        for name, value in record.content[part].items():
            yield name, number(value)


def _over_seeds(logged: dict[int, dict[int, float]]) -> Trajectory:
    seeds = max(map(len, logged.values()))
    # Steps that only some seeds logged would make the mean jump; a resumed run may hold a few.
    common = sorted(step for step, values in logged.items() if len(values) == seeds)
    steps = common[:: -(-len(common) // MAX_POINTS)]
    intervals = [mean_interval(list(logged[step].values())) for step in steps]
    mean, low, high = (np.array(c) for c in list(zip(*intervals))[:3])
    return Trajectory(np.array(steps), mean, low, high)
