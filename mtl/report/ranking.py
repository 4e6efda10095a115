"""Ranks of the methods over seeds: Friedman's test and the critical difference."""

import math
from typing import NamedTuple

import numpy as np

from mtl import metrics
from mtl.metrics import HIGHER_IS_BETTER, FriedmanTest
from mtl.report.summary import LEVEL, GroupSummary, Measure
from mtl.report.workdir import Method, Place, Table

ALL_TASKS = "all tasks"


class Ranking(NamedTuple):
    """How the methods of a group rank, with seeds as blocks.

    Attributes:
      name: the task, or `ALL_TASKS`: within each seed the methods' ranks are averaged over tasks first,
        since tasks of one run are not independent blocks.
      methods: `[k]` the methods ranked, best first.
      test: Friedman's test, its mean ranks `[k]` in the order of `methods`.
      difference: Nemenyi's critical difference of mean ranks; NaN below two methods or seeds.
      cliques: runs of methods that are not shown to differ, as indices into `methods`.
      left_out: methods with a failed or missing seed; to leave out the seed would flatter them.
    """

    name: str
    methods: tuple[Method, ...]
    test: FriedmanTest
    difference: float
    cliques: tuple[tuple[int, ...], ...]
    left_out: tuple[Method, ...]


def rankings(table: Table, group: GroupSummary) -> tuple[Ranking, ...]:
    """Ranks the methods on the test split, over all tasks and on each.

    Args:
      table: the results of the group.
      group: its comparison.

    Returns:
      The ranking over all tasks first (when there are several), then one per task.
    """
    methods = [row.method for row in group.methods]
    per_task = [_values(table, methods, measure) for measure in group.primary]
    rankings = []
    if len(per_task) > 1:
        complete = [m for m in methods if all(m in values for values in per_task)]
        if complete:
            cost = [[values[m] for m in complete] for values in per_task]  # [tasks, methods, seeds]
            higher = [HIGHER_IS_BETTER[metric] for _, metric in group.primary]
            ranks = metrics.mean_rank(np.transpose(cost, (2, 1, 0)), higher)
            rankings.append(_ranking(ALL_TASKS, methods, dict(zip(complete, ranks.T)), False))
    for (task, metric), values in zip(group.primary, per_task):
        rankings.append(_ranking(task, methods, values, HIGHER_IS_BETTER[metric]))
    return tuple(rankings)


def _values(table: Table, methods: list[Method], measure: Measure) -> dict[Method, np.ndarray]:
    """Method → `[N]` values over all seeds of the group, for methods that have them all."""
    columns = {m: table[m].get(Place("test", *measure), {}) for m in methods}
    seeds = sorted(set().union(*columns.values()))
    arrays = {m: np.array([column.get(s, math.nan) for s in seeds]) for m, column in columns.items()}
    return {m: array for m, array in arrays.items() if len(seeds) and np.isfinite(array).all()}


def _ranking(name: str, methods: list[Method], values: dict[Method, np.ndarray], higher: bool) -> Ranking:
    columns = np.array(list(values.values())).T if values else np.zeros((0, 0))
    test = metrics.friedman_test(columns, higher)
    order = np.argsort(test.mean_ranks, kind="stable")
    test = test._replace(mean_ranks=test.mean_ranks[order])
    ranked = tuple(list(values)[i] for i in order)
    judged = len(ranked) > 1 and test.n > 1
    difference = metrics.critical_difference(len(ranked), test.n, LEVEL) if judged else math.nan
    bars = metrics.cliques(test.mean_ranks, difference) if judged else ()
    return Ranking(name, ranked, test, difference, bars, tuple(m for m in methods if m not in values))
