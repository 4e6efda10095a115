"""The comparison as a table for other programs: `summary.csv`."""

import csv
import io
import math

from mtl.report.summary import Comparison, GroupSummary

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
)


def summary_csv(groups: tuple[GroupSummary, ...]) -> str:
    """Writes the comparison as CSV text, one row per method, task and metric.

    `gain…` columns compare with the single-task baseline and `static…` columns with the best static
    weighting, positive = better; p-values stand on each task's primary metric only. Rows with an empty
    task hold Δm (percent), the mean rank and the seesaw (1 or 0). An empty cell has no value.

    Args:
      groups: the comparison.

    Returns:
      The text, in a fixed order.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    for group in groups:
        for row in group.methods:
            head = (*group.group, *row.method, "test")
            for measure, interval in row.intervals.items():
                cells: list[float] = [*interval]
                for versus in (row.versus_baseline, row.versus_static):
                    gain, p_adjusted = versus.get(measure, Comparison())
                    p_value = gain.p_value if measure in group.primary else math.nan
                    cells += [gain.difference, gain.low, gain.high, p_value, p_adjusted]
                writer.writerow([*head, *measure, *map(_text, cells)])
            if row.delta_m.n:
                writer.writerow([*head, "", "delta_m", *map(_text, row.delta_m), *[""] * 10])
            seeds = min((i.n for i in row.intervals.values()), default=0)
            rank = (row.mean_rank, math.nan, math.nan, seeds)
            writer.writerow([*head, "", "mean_rank", *map(_text, rank), *[""] * 10])
            if row.seesaw is not None:
                flag = (int(row.seesaw), math.nan, math.nan, seeds)
                writer.writerow([*head, "", "seesaw", *map(_text, flag), *[""] * 10])
    return file.getvalue()


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.10g}"
