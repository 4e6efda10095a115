"""What the results say: means, gains over single-task, tests, Δm, ranks."""

import math
import re
from typing import NamedTuple

import numpy as np

from mtl import metrics
from mtl.metrics import HIGHER_IS_BETTER, PRIMARY, Interval, PairedTest
from mtl.report.workdir import Group, Method, Place, Seeds, Study, Table

LEVEL = 0.05
"""Adjusted p-values below this count as a difference."""

NO_TEST = PairedTest(math.nan, math.nan, math.nan, math.nan, 0)

NO_VALUE = Interval(math.nan, math.nan, math.nan, 0)

Measure = tuple[str, str]
"""(task, metric)."""


class Comparison(NamedTuple):
    """One method against a reference method on one metric.

    Attributes:
      gain: paired test over common seeds; positive = better, in units of the metric.
      p_adjusted: Holm-adjusted p-value; NaN where not tested.
    """

    gain: PairedTest = NO_TEST
    p_adjusted: float = math.nan


class MethodSummary(NamedTuple):
    """One row of the comparison.

    Attributes:
      method: model and weighting.
      intervals: (task, metric) → mean with 95 % interval over seeds, test split.
      versus_baseline: (task, metric) → comparison with the single-task baseline.
      versus_static: (task, primary metric) → comparison with the best static weighting.
      delta_m: Δm in percent against the baseline, interval over seeds; negative = better.
      mean_rank: rank of the primary metrics' means among the group's methods, averaged over tasks.
      seesaw: some task's gain interval lies above 0 and another's below; None without a baseline.
    """

    method: Method
    intervals: dict[Measure, Interval]
    versus_baseline: dict[Measure, Comparison]
    versus_static: dict[Measure, Comparison]
    delta_m: Interval
    mean_rank: float
    seesaw: bool | None


class GroupSummary(NamedTuple):
    """The comparison within one data set and one point of the grid.

    Attributes:
      group: data set and hyper-parameters.
      primary: (task, primary metric) of every task.
      baseline: the single-task method; None if the study has none.
      best_static: the method with static weights, baseline excluded, that is best on validation;
        None if there is none.
      methods: all methods, baseline first.
    """

    group: Group
    primary: tuple[Measure, ...]
    baseline: Method | None
    best_static: Method | None
    methods: tuple[MethodSummary, ...]


def summarise(study: Study) -> tuple[GroupSummary, ...]:
    """Compares all methods of a study, group by group.

    Args:
      study: the study's results.

    Returns:
      One summary per data set and hyper-parameters, in natural order.
    """
    return tuple(_summarise_group(study, g) for g in sorted(study.tables, key=natural_order))


def natural_order(names: tuple[str, ...]) -> list[list[tuple[float, str]]]:
    """Sort key under which `steps=200` comes before `steps=1000`.

    Args:
      names: the strings of a `Group` or `Method`.

    Returns:
      The key.
    """
    # Splitting at numbers alternates text and number, so like is compared with like.
    return [
        [(float(part), "") if i % 2 else (0.0, part) for i, part in enumerate(parts)]
        for parts in (re.split(r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)", name) for name in names)
    ]


def is_static(method: Method, study: Study) -> bool:
    """Whether a method uses fixed loss weights.

    Args:
      method: the method.
      study: the study, whose config says what a labelled weighting is.

    Returns:
      True for `static`, `static(…)`, `static:…` and the like, and for every label of a static weighting.
    """
    specs = [s for s in study.config["config"].get("weightings", ()) if isinstance(s, dict)]
    labels = {s.get("label") for s in specs if s.get("name") == "static"}
    return method.weighting in labels or re.match(r"static\b", method.weighting) is not None


def best_mean(intervals: list[Interval], higher: bool) -> float:
    """The best mean of a column.

    Args:
      intervals: the column.
      higher: whether higher is better.

    Returns:
      The mean; NaN for a column without rivals.
    """
    means = np.array([i.mean for i in intervals])
    if np.count_nonzero(~np.isnan(means)) < 2:
        return math.nan
    return float(np.nanmax(means) if higher else np.nanmin(means))


def _summarise_group(study: Study, group: Group) -> GroupSummary:
    table = study.tables[group]
    primary = tuple((task.name, PRIMARY[task.kind]) for task in study.tasks)
    methods = sorted(
        table,
        key=lambda m: (
            m.model != study.baseline,
            natural_order((m.model,)),
            not is_static(m, study),
            natural_order((m.weighting,)),
        ),
    )
    baseline = methods[0] if methods[0].model == study.baseline else None
    shared = [m for m in methods if m.model != study.baseline]
    best_static = _best_on_validation(table, [m for m in shared if is_static(m, study)], primary)
    versus_baseline = _compare(table, [m for m in methods if m != baseline], baseline, primary)
    versus_static = _compare(table, [m for m in shared if m != best_static], best_static, primary)
    intervals = {m: _intervals(table[m], study) for m in methods}
    means = [[intervals[m].get(measure, NO_VALUE).mean for measure in primary] for m in methods]
    ranks = metrics.mean_rank(means, [HIGHER_IS_BETTER[metric] for _, metric in primary])
    rows = tuple(
        MethodSummary(
            method=method,
            intervals=intervals[method],
            versus_baseline=versus_baseline.get(method, {}),
            versus_static=versus_static.get(method, {}),
            delta_m=_delta_m(table, method, baseline, primary),
            mean_rank=float(rank),
            seesaw=_seesaw(versus_baseline.get(method, {}), primary),
        )
        for method, rank in zip(methods, ranks)
    )
    return GroupSummary(group, primary, baseline, best_static, rows)


def _intervals(places: dict[Place, Seeds], study: Study) -> dict[Measure, Interval]:
    order = {task.name: i for i, task in enumerate(study.tasks)}
    primary = {(task.name, PRIMARY[task.kind]) for task in study.tasks}
    test = [(p.task, p.metric) for p in places if p.split == "test"]
    test.sort(key=lambda measure: (order[measure[0]], measure not in primary, measure[1]))
    return {m: metrics.mean_interval(list(places[Place("test", *m)].values())) for m in test}


def _compare(
    table: Table, methods: list[Method], reference: Method | None, primary: tuple[Measure, ...]
) -> dict[Method, dict[Measure, Comparison]]:
    """Tests methods against a reference on the test split; Holm over methods × primary metrics."""
    if reference is None:
        return {}
    gains = {
        (method, (place.task, place.metric)): _gain(place, seeds, table[reference].get(place, {}))
        for method in methods
        for place, seeds in table[method].items()
        if place.split == "test" and place.metric in HIGHER_IS_BETTER
    }
    family = [(m, measure) for m in methods for measure in primary if (m, measure) in gains]
    adjusted = dict(zip(family, metrics.holm([gains[key].p_value for key in family])))
    comparisons: dict[Method, dict[Measure, Comparison]] = {method: {} for method in methods}
    for (method, measure), gain in gains.items():
        p_adjusted = float(adjusted.get((method, measure), math.nan))
        comparisons[method][measure] = Comparison(gain, p_adjusted)
    return comparisons


def _gain(place: Place, ours: Seeds, theirs: Seeds) -> PairedTest:
    seeds = sorted(ours.keys() & theirs.keys())
    sign = 1 if HIGHER_IS_BETTER[place.metric] else -1
    return metrics.paired_test([sign * ours[s] for s in seeds], [sign * theirs[s] for s in seeds])


def _seesaw(comparisons: dict[Measure, Comparison], primary: tuple[Measure, ...]) -> bool | None:
    gains = [comparisons[measure].gain for measure in primary if measure in comparisons]
    return metrics.seesaw([g.low for g in gains], [g.high for g in gains]) if gains else None


def _delta_m(table: Table, method: Method, baseline: Method | None, primary: tuple[Measure, ...]) -> Interval:
    """Δm per seed against the baseline's run of the same seed, then the interval over seeds."""
    if baseline is None or method == baseline:
        return NO_VALUE
    places = [Place("test", *measure) for measure in primary]
    ours, theirs = ([table[m].get(p, {}) for p in places] for m in (method, baseline))
    seeds = sorted(set.intersection(*(set(column) for column in (*ours, *theirs))))
    if not seeds:
        return NO_VALUE
    delta = metrics.delta_m(
        [[column[s] for column in ours] for s in seeds],
        [[column[s] for column in theirs] for s in seeds],
        [HIGHER_IS_BETTER[metric] for _, metric in primary],
    )
    return metrics.mean_interval(delta)


def _best_on_validation(
    table: Table, candidates: list[Method], primary: tuple[Measure, ...]
) -> Method | None:
    """The candidate with the lowest Δm on validation, measured against the candidates' mean.

    Chosen on validation, so that the test split stays untouched by the choice; the candidates' own
    mean makes tasks of different scale comparable and is there without a single-task baseline.
    """
    if not candidates:
        return None
    missing = {0: math.nan}
    values = [
        [list(table[m].get(Place("val", *measure), missing).values()) for measure in primary]
        for m in candidates
    ]
    means = np.array([[np.mean(seeds) for seeds in row] for row in values])
    higher = [HIGHER_IS_BETTER[metric] for _, metric in primary]
    score = metrics.delta_m(means, means.mean(axis=0), higher)
    return None if np.isnan(score).all() else candidates[int(np.nanargmin(score))]
