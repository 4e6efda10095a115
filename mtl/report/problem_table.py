"""The comparison of a problem's study: one row per weighting, for people and for programs."""

import csv
import io
import math
import statistics
import textwrap
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mtl.report.problem_files import ProblemStudy, Run

HEADS = (
    "weighting",
    "front",
    "starts",
    "distance",
    "largest",
    "balance",
    "least",
    "most",
    "steps",
    "residual",
)
"""Columns for people."""

LEGEND = (
    "front: number of starts from which the run ends on the Pareto front; starts: which, ✓ or ×",
    "distance, largest: to the front at the end, median and maximum; 1 is a loss's range on the front",
    "balance, least, most: place on the front where it is reached, median, minimum and maximum; 0 is best "
    "for l2, 1 for l1, 0.5 halfway",
    "steps: after which a run stays on the front, median; residual: optimality gap of the solver before "
    "that, median over the run, from the worst start",
)
"""What the columns mean."""


class Row(NamedTuple):
    """One weighting over its starts; NaN where there is no value.

    Attributes:
      weighting: its label.
      reached: for every start whether the run ends on the front.
      distance_median: distance to the front at the end.
      distance_max: the largest.
      balance_median: place on the front of the runs that reach it.
      balance_min: the least.
      balance_max: the greatest.
      steps_median: steps after which a run stays on the front.
      l1_min: least value at the end of the first loss.
      l2_min: and of the second.
      residual_max: optimality gap of the weighting's solver before the front, the worst start's.
    """

    weighting: str
    reached: tuple[bool, ...]
    distance_median: float
    distance_max: float
    balance_median: float
    balance_min: float
    balance_max: float
    steps_median: float
    l1_min: float
    l2_min: float
    residual_max: float


def problem_rows(study: ProblemStudy) -> tuple[Row, ...]:
    """Summarises every weighting.

    Args:
      study: the study's files.

    Returns:
      The rows: those that reach the front from most starts first, among equals those that end nearest to
      its middle on average.
    """
    unbalance = {}
    for label, runs in study.runs.items():
        found = [abs(balance - 0.5) for balance in _ends(runs, "both", "balance")]
        unbalance[label] = statistics.fmean(found) if found else math.inf
    rows = [_row(label, runs) for label, runs in study.runs.items()]
    return tuple(sorted(rows, key=lambda row: (-sum(row.reached), unbalance[row.weighting], row.weighting)))


def row_cells(row: Row) -> tuple[str, ...]:
    """Writes a row for people, one cell per column of `HEADS`."""
    return (
        row.weighting,
        f"{sum(row.reached)}/{len(row.reached)}",
        "".join("✓" if reached else "×" for reached in row.reached),
        _cell(row.distance_median, ".1e"),
        _cell(row.distance_max, ".1e"),
        _cell(row.balance_median, ".3f"),
        _cell(row.balance_min, ".3f"),
        _cell(row.balance_max, ".3f"),
        _cell(row.steps_median, ".0f"),
        _cell(row.residual_max, ".1e") if row.residual_max else "0",
    )


def problem_csv(rows: Iterable[Row]) -> str:
    """Writes the rows as CSV text, a column per attribute of `Row` and the number of starts."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("weighting", "starts", *Row._fields[1:]))
    for row in rows:
        numbers = ("" if math.isnan(x) else f"{x:.10g}" for x in row[2:])
        writer.writerow((row.weighting, len(row.reached), sum(row.reached), *numbers))
    return file.getvalue()


def problem_text(name: str, rows: Iterable[Row]) -> str:
    """Lays the rows out for a terminal, without a newline at the end."""
    table = [HEADS, *map(row_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in table)
    legend = (textwrap.fill(line, 100, subsequent_indent="  ") for line in LEGEND)
    return "\n".join([f"{name}: at the last step", *(f"  {line}" for line in lines), "", *legend])


def _row(label: str, runs: tuple[Run, ...]) -> Row:
    distances = _ends(runs, "both", "distance_to_front")
    balances = _ends(runs, "both", "balance")
    return Row(
        weighting=label,
        reached=tuple(bool(run.values.get(("both", "reached"))) for run in runs),
        distance_median=_of(statistics.median, distances),
        distance_max=_of(max, distances),
        balance_median=_of(statistics.median, balances),
        balance_min=_of(min, balances),
        balance_max=_of(max, balances),
        steps_median=_of(statistics.median, _ends(runs, "both", "steps_to_front")),
        l1_min=_of(min, _ends(runs, "l1", "loss")),
        l2_min=_of(min, _ends(runs, "l2", "loss")),
        residual_max=_of(max, _ends(runs, "both", "residual")),
    )


def _ends(runs: tuple[Run, ...], task: str, metric: str) -> list[float]:
    return [run.values[task, metric] for run in runs if (task, metric) in run.values]


def _of(statistic: Callable[[list[float]], float], values: list[float]) -> float:
    return statistic(values) if values else math.nan


def _cell(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)
