"""Task against task: who gains where, relative to single-task."""

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtl.metrics import HIGHER_IS_BETTER, Interval, pareto_mask
from mtl.report.assess import Assessment
from mtl.report.figure import (
    INK,
    Look,
    cut,
    model_handles,
    panels,
    plain,
    short,
    short_titles,
    weighting_handles,
)
from mtl.report.summary import NO_VALUE, GroupSummary, Measure, MethodSummary
from mtl.report.words import METRIC_NAMES, METRIC_UNITS, metric_name

MAX_TASKS = 3


def plot_tasks(assessments: tuple[Assessment, ...], look: Look) -> Figure | None:
    """Scatters pairs of tasks, one panel per group and pair.

    Axes show the gain over single-task with its paired 95 % interval, better to the right and upwards;
    without a baseline they show the metrics themselves in the same orientation. Where a model was trained
    with several static weights, a dashed line shows what they reach.

    Args:
      assessments: the groups.
      look: colours and markers.

    Returns:
      The figure; None with fewer than two tasks.
    """
    groups = tuple(found.summary for found in assessments)
    pairs = list(itertools.combinations(groups[0].primary[:MAX_TASKS], 2))
    if not pairs:
        return None
    columns = len(pairs) if len(pairs) > 1 else min(3, len(groups))
    cells = list(itertools.product(assessments, pairs))
    shown, note = cut(cells, 1, "panels")
    rows = -(-len(shown) // columns)
    baselines = {group.baseline for group in groups if group.baseline}
    methods = {row.method for group in groups for row in group.methods} - baselines
    model_legend = model_handles(look, (m.model for m in methods))
    for model in sorted({baseline.model for baseline in baselines}):
        cross = Line2D([], [], ls="", marker="+", ms=11, mew=2, color=INK, label=plain(model))
        model_legend.append(cross)
    weighting_legend = weighting_handles(look, (m.weighting for m in methods), line=False)
    title = "Primary metrics, test split, 95 % intervals over seeds; up and right is better"
    if baselines:
        title = "Gain over single-task, test split, 95 % intervals over seeds; shaded: better on both"
    titles = short_titles(group.group for group in groups)
    title_lines = max(text.count("\n") + 1 for text in titles.values())
    figure, axes = panels(
        rows,
        columns,
        title=title + note,
        legends=[handles for handles in (model_legend, weighting_legend) if handles],
        height=3.0,
        wrap=len(shown),
        left=1.0,
        gap_x=1.0,
        gap_y=0.75 + 0.16 * title_lines,
    )
    for axis, (found, (x, y)) in zip(axes.flat, shown):
        group = found.summary
        for row in group.methods:
            _draw(axis, group, row, x, y, look)
        for front in found.trade_off.static_fronts if found.trade_off else ():
            _draw_front(axis, group, [row for row in group.methods if row.method in front.methods], x, y)
        _frame(axis, group, x, y)
        axis.set_title(titles[group.group], size=9, color=INK)
        axis.set_xlabel(_axis_name(group, x), size=9, color=INK)
        axis.set_ylabel(_axis_name(group, y), size=9, color=INK)
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


def _draw_front(axis: Axes, group: GroupSummary, rows: list[MethodSummary], x: Measure, y: Measure) -> None:
    points = np.array([[_position(group, row, m).mean for m in (x, y)] for row in rows])
    higher = [group.baseline is not None or HIGHER_IS_BETTER[m[1]] for m in (x, y)]
    front = points[pareto_mask(points, higher)]
    front = front[np.argsort(front[:, 0] if higher[0] else -front[:, 0])]
    # From left to right each point is lower than the one before: between them the lower height is reached.
    axis.step(*front.T, where="pre", color=INK, lw=1.1, ls=(0, (4, 3)), zorder=2)


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
    (_, right), (_, top) = axis.get_xlim(), axis.get_ylim()
    axis.fill_between([0, right], 0, top, color="#009e73", alpha=0.07, lw=0, zorder=0)
    axis.set_xlim(right=right)
    axis.set_ylim(top=top)


def _axis_name(group: GroupSummary, measure: Measure) -> str:
    task, metric = measure
    if group.baseline is None:
        return f"{short(task)}\n{metric_name(metric, unit=True)}"
    unit = f" ({METRIC_UNITS[metric]})" if metric in METRIC_UNITS else ""
    return f"{short(task)}\ngain in {METRIC_NAMES.get(metric, metric)}{unit}, better →"
