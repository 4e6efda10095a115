"""Task against task: who gains where, relative to single-task."""

import itertools

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtl.metrics import HIGHER_IS_BETTER, Interval
from mtl.report.figure import (
    INK,
    Look,
    cut,
    model_handles,
    panels,
    plain,
    short_titles,
    weighting_handles,
)
from mtl.report.summary import NO_VALUE, GroupSummary, Measure, MethodSummary
from mtl.report.words import METRIC_NAMES, METRIC_UNITS, method_name, metric_name

MAX_TASKS = 3


def plot_tasks(groups: tuple[GroupSummary, ...], look: Look) -> Figure | None:
    """Scatters pairs of tasks, one panel per group and pair.

    Axes show the gain over single-task with its paired 95 % interval, better to the right and upwards;
    without a baseline they show the metrics themselves in the same orientation.

    Args:
      groups: the comparison.
      look: colours and markers.

    Returns:
      The figure; None with fewer than two tasks.
    """
    pairs = list(itertools.combinations(groups[0].primary[:MAX_TASKS], 2))
    if not pairs:
        return None
    columns = len(pairs) if len(pairs) > 1 else min(3, len(groups))
    cells = list(itertools.product(groups, pairs))
    shown, note = cut(cells, 1, "panels")
    rows = -(-len(shown) // columns)
    baselines = {group.baseline for group in groups if group.baseline}
    methods = {row.method for group in groups for row in group.methods} - baselines
    handles = model_handles(look, (m.model for m in methods))
    handles += weighting_handles(look, (m.weighting for m in methods), line=False)
    for baseline in sorted(baselines):
        label = plain(f"{method_name(baseline)} (baseline)")
        handles.append(Line2D([], [], ls="", marker="+", ms=11, mew=2, color=INK, label=label))
    title = "Gain over single-task" if baselines else "Primary metrics"
    figure, axes = panels(
        rows,
        columns,
        title=f"{title}, test split, 95 % intervals over seeds; up and right is better{note}",
        handles=handles,
        height=3.0,
        wrap=len(shown),
    )
    titles = short_titles(group.group for group in groups)
    for axis, (group, (x, y)) in zip(axes.flat, shown):
        for row in group.methods:
            _draw(axis, group, row, x, y, look)
        _frame(axis, group, x, y)
        axis.set_title(titles[group.group], size=9, color=INK)
        axis.set_xlabel(_axis_name(group, x), size=9, color=INK)
        axis.set_ylabel(_axis_name(group, y), size=9, color=INK)
    figure.subplots_adjust(hspace=0.35, wspace=0.3)
    return figure


def _position(group: GroupSummary, row: MethodSummary, measure: Measure) -> Interval:
    if group.baseline is None:
        return row.intervals.get(measure, NO_VALUE)
    if measure not in row.versus_baseline:
        return NO_VALUE
    gain = row.versus_baseline[measure].gain
    return Interval(gain.difference, gain.low, gain.high, gain.n)


def _draw(axis: Axes, group: GroupSummary, row: MethodSummary, x: Measure, y: Measure, look: Look) -> None:
    if row.method == group.baseline:
        axis.plot(0, 0, marker="+", ms=13, mew=2, color=INK, zorder=3)
        return
    at_x, at_y = _position(group, row, x), _position(group, row, y)
    axis.errorbar(
        at_x.mean,
        at_y.mean,
        xerr=at_x.high - at_x.mean,
        yerr=at_y.high - at_y.mean,
        fmt=look.models[row.method.model],
        color=look.weightings[row.method.weighting],
        ms=7,
        mec="white",
        mew=0.7,
        elinewidth=1,
        alpha=0.85,
        zorder=4,
    )


def _frame(axis: Axes, group: GroupSummary, x: Measure, y: Measure) -> None:
    axis.margins(0.12)
    if group.baseline is None:
        if not HIGHER_IS_BETTER[x[1]]:
            axis.invert_xaxis()
        if not HIGHER_IS_BETTER[y[1]]:
            axis.invert_yaxis()
        return
    axis.axhline(0, color="#999999", lw=0.8, zorder=1)
    axis.axvline(0, color="#999999", lw=0.8, zorder=1)
    corners = {(0.98, 0.97): "both better", (0.02, 0.03): "both worse"}
    for (right, up), text in corners.items():
        axis.text(
            right,
            up,
            text,
            transform=axis.transAxes,
            ha="right" if right > 0.5 else "left",
            va="top" if up > 0.5 else "bottom",
            size=8,
            color="#777777",
        )


def _axis_name(group: GroupSummary, measure: Measure) -> str:
    task, metric = measure
    if group.baseline is None:
        return plain(f"{task}: {metric_name(metric, unit=True)}")
    unit = f" ({METRIC_UNITS[metric]})" if metric in METRIC_UNITS else ""
    return plain(f"{task}: gain in {METRIC_NAMES.get(metric, metric)}{unit}, better →")
