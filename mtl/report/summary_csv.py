"""The comparison as a table for other programs: `summary.csv`."""

import csv
import io
import math
from collections.abc import Iterator

from mtl.metrics import Interval
from mtl.report.assess import Assessment
from mtl.report.ranking import ALL_TASKS
from mtl.report.summary import Comparison, GroupSummary, MethodSummary

SUMMARY_COLUMNS = (
    "dataset",
    "hparams",
    "model",
    "weighting",
    "split",
    "task",
    "metric",
    "mean",
    "low",
    "high",
    "n",
    "gain",
    "gain_low",
    "gain_high",
    "p_value",
    "p_adjusted",
    "static_gain",
    "static_gain_low",
    "static_gain_high",
    "static_p_value",
    "static_p_adjusted",
    "chosen",
)

Row = tuple[str, str, list[float]]
"""Task, metric, and the numbers from `mean` on; the rest of the row is empty."""


def summary_csv(assessments: tuple[Assessment, ...]) -> str:
    """Writes the comparison as CSV text, one row per method, task and metric.

    `gain…` columns compare with the single-task baseline and `static…` columns with the best static
    weighting, positive = better; p-values stand on each task's primary metric only. Rows with an empty
    task are about all tasks, and rows with an empty model about all methods; docs/files.md lists them. An
    empty cell has no value.

    Args:
      assessments: the groups of the study.

    Returns:
      The text, in a fixed order.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    for found in assessments:
        group = found.summary
        for row in group.methods:
            head = (*group.group, *row.method, "test")
            chosen = found.chosen.get(row.method, "")
            rows = [*_measures(group, row), *_across_tasks(row), *_protocol(found, row)]
            for task, metric, numbers in rows:
                cells = [*map(_text, numbers), *[""] * (14 - len(numbers))]
                writer.writerow([*head, task, metric, *cells, chosen])
        for task, metric, numbers in _of_all_methods(found):
            cells = [*map(_text, numbers), *[""] * (14 - len(numbers))]
            writer.writerow([*group.group, "", "", "test", task, metric, *cells, ""])
    return file.getvalue()


def _measures(group: GroupSummary, row: MethodSummary) -> Iterator[Row]:
    for measure, interval in row.intervals.items():
        numbers: list[float] = [*interval]
        for versus in (row.versus_baseline, row.versus_static):
            gain, p_adjusted = versus.get(measure, Comparison())
            p_value = gain.p_value if measure in group.primary else math.nan
            numbers += [gain.difference, gain.low, gain.high, p_value, p_adjusted]
        yield (*measure, numbers)


def _across_tasks(row: MethodSummary) -> Iterator[Row]:
    seeds = min((i.n for i in row.intervals.values()), default=0)
    if row.delta_m.n:
        yield "", "delta_m", [*row.delta_m]
    yield "", "mean_rank", _alone(row.mean_rank, seeds)
    if row.seesaw is not None:
        yield "", "seesaw", _alone(row.seesaw, seeds)


def _protocol(found: Assessment, row: MethodSummary) -> Iterator[Row]:
    for ranking in found.rankings:
        if row.method in ranking.methods:
            rank = float(ranking.test.mean_ranks[ranking.methods.index(row.method)])
            task = "" if ranking.name == ALL_TASKS else ranking.name
            yield task, "rank_over_seeds", _alone(rank, ranking.test.n)
    if row.method in found.improvement:
        yield "", "probability_of_improvement", [*found.improvement[row.method]]
    position = found.trade_off.positions.get(row.method) if found.trade_off else None
    if position is not None:
        seeds = position.hypervolume.n
        yield "", "pareto", _alone(position.on_front, seeds)
        yield "", "pareto_share", _alone(position.front_share, seeds)
        yield "", "hypervolume", [*position.hypervolume]
    budget = found.budgets[row.method]
    for name in ("steps", "examples", "backward_passes", "settings"):
        value = getattr(budget, name)
        if not math.isnan(value):
            yield "", name, [float(value)]


def _of_all_methods(found: Assessment) -> Iterator[Row]:
    for ranking in found.rankings:
        task = "" if ranking.name == ALL_TASKS else ranking.name
        yield task, "friedman_p", _alone(ranking.test.p_value, ranking.test.n)
        yield task, "critical_difference", _alone(ranking.difference, ranking.test.n)
    if found.trade_off is not None:
        ends = zip(found.summary.primary, found.trade_off.worst, found.trade_off.best)
        for (task, _), worst, best in ends:
            yield task, "hypervolume_worst", [float(worst)]
            yield task, "hypervolume_best", [float(best)]
        for front in found.trade_off.static_fronts:
            yield "", f"hypervolume_static_front({front.model})", [*front.hypervolume]


def _alone(value: float, seeds: int) -> list[float]:
    """A value without an interval."""
    return [*Interval(float(value), math.nan, math.nan, seeds)]


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.10g}"
