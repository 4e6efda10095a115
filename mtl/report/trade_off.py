"""Trade-offs between the tasks of a group: the Pareto front, hypervolume, fronts of static weights."""

import math
from typing import NamedTuple

import numpy as np

from mtl import metrics
from mtl.metrics import HIGHER_IS_BETTER, Interval
from mtl.report.summary import NO_VALUE, GroupSummary, is_static
from mtl.report.workdir import Method, Place, Study, Table

MAX_TASKS = 6
"""With more tasks hardly any method dominates another, and the volume says little."""


class Position(NamedTuple):
    """Where a method stands among the others.

    Attributes:
      on_front: no other method's means are at least as good on all tasks and better on one.
      front_share: share of seeds in which that holds for its runs.
      hypervolume: volume that its runs dominate, mean over seeds with 95 % interval.
    """

    on_front: bool
    front_share: float
    hypervolume: Interval


class StaticFront(NamedTuple):
    """What one model reaches with static weights alone.

    Attributes:
      model: the model.
      methods: its methods with static weights, two or more.
      hypervolume: volume that they dominate together, mean over seeds with 95 % interval.
    """

    model: str
    methods: tuple[Method, ...]
    hypervolume: Interval


class TradeOff(NamedTuple):
    """The trade-off within a group.

    Attributes:
      worst: `[T]` the reference point of the hypervolume: on each task the worst run of the group.
      best: `[T]` on each task the best run; worst to best is 1 in the unit of the volume.
      positions: method → its place; methods with a failed or missing seed have none.
      static_fronts: one per model with several static weightings.
    """

    worst: np.ndarray
    best: np.ndarray
    positions: dict[Method, Position]
    static_fronts: tuple[StaticFront, ...]


def trade_off(study: Study, group: GroupSummary) -> TradeOff | None:
    """Compares the methods of a group on all tasks at once, test split.

    Args:
      study: the study's results.
      group: the comparison.

    Returns:
      The trade-off; None with one task, more than `MAX_TASKS`, or fewer than two complete methods.
    """
    if not 2 <= len(group.primary) <= MAX_TASKS:
        return None
    methods = [row.method for row in group.methods]
    values = _values(study.tables[group.group], methods, group)
    if len(values) < 2:
        return None
    runs = np.array(list(values.values()))  # [methods, seeds, tasks]
    sign = np.array([1.0 if HIGHER_IS_BETTER[metric] else -1.0 for _, metric in group.primary])
    gains = sign * runs
    worst, best = gains.min(axis=(0, 1)), gains.max(axis=(0, 1))
    unit = np.where(best > worst, best - worst, 1.0)
    scaled = (gains - worst) / unit
    on_front = metrics.pareto_mask(gains.mean(axis=1), True)
    shares = np.mean([metrics.pareto_mask(gains[:, s], True) for s in range(gains.shape[1])], axis=0)
    positions = {
        method: Position(bool(on), float(share), _volume(scaled[i : i + 1]))
        for i, (method, on, share) in enumerate(zip(values, on_front, shares))
    }
    fronts = []
    for model in dict.fromkeys(m.model for m in values if m.model != study.baseline):
        rows = [i for i, m in enumerate(values) if m.model == model and is_static(m, study)]
        if len(rows) > 1:
            own = tuple(list(values)[i] for i in rows)
            fronts.append(StaticFront(model, own, _volume(scaled[rows])))
    return TradeOff(sign * worst, sign * best, positions, tuple(fronts))


def _values(table: Table, methods: list[Method], group: GroupSummary) -> dict[Method, np.ndarray]:
    """Method → `[seeds, tasks]`, for methods with a value for every seed of the group."""
    places = [Place("test", *measure) for measure in group.primary]
    seeds = sorted({s for m in methods for place in places for s in table[m].get(place, {})})
    arrays = {
        m: np.array([[table[m].get(place, {}).get(s, math.nan) for place in places] for s in seeds])
        for m in methods
    }
    return {m: array for m, array in arrays.items() if np.isfinite(array).all()}


def _volume(points: np.ndarray) -> Interval:
    """Volume over the worst run of points `[methods, seeds, tasks]`, mean and interval over seeds."""
    if not points.size:
        return NO_VALUE
    origin = np.zeros(points.shape[2])
    volumes = [metrics.hypervolume(points[:, s], origin, True) for s in range(points.shape[1])]
    return metrics.mean_interval(volumes)
