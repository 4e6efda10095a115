"""Δm of every method with its interval, sorted."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl.report.figure import (
    INK,
    Look,
    cut,
    model_handles,
    panels,
    short,
    short_titles,
    weighting_handles,
)
from mtl.report.summary import GroupSummary
from mtl.report.workdir import Method

ROW_HEIGHT = 0.21  # inches per method


def plot_delta(groups: tuple[GroupSummary, ...], look: Look) -> Figure | None:
    """Draws one panel per group, the best method on top.

    Args:
      groups: the comparison.
      look: colours and markers.

    Returns:
      The figure; None without a single-task baseline.
    """
    with_delta = [g for g in groups if any(row.delta_m.n for row in g.methods)]
    if not with_delta:
        return None
    columns = min(2, len(with_delta))
    shown, note = cut(with_delta, 1, "groups")
    methods = [row.method for g in shown for row in g.methods if row.delta_m.n]
    tallest = max(sum(row.delta_m.n > 0 for row in g.methods) for g in shown)
    longest = max(len(_label(method)) for method in methods)
    label_width = 0.35 + 0.07 * longest
    titles = short_titles(g.group for g in groups)
    title_lines = max(text.count("\n") + 1 for text in titles.values())
    figure, axes = panels(
        -(-len(shown) // columns),
        columns,
        title=f"Δm against single-task, test split, 95 % intervals over seeds; left of 0 is better{note}",
        legends=[
            model_handles(look, (m.model for m in methods)),
            weighting_handles(look, (m.weighting for m in methods), line=False),
        ],
        height=max(1.2, ROW_HEIGHT * tallest + 0.3),
        wrap=len(shown),
        left=label_width,
        gap_x=label_width + 0.1,
        gap_y=0.6 + 0.16 * title_lines,
    )
    for axis, group in zip(axes.flat, shown):
        _draw(axis, group, look)
        axis.set_title(titles[group.group], size=9, color=INK)
        axis.set_xlabel("Δm (%), ← better", size=9, color=INK)
    return figure


def _label(method: Method) -> str:
    return " × ".join(map(short, method))


def _draw(axis: Axes, group: GroupSummary, look: Look) -> None:
    rows = sorted((r for r in group.methods if r.delta_m.n), key=lambda r: -r.delta_m.mean)
    for height, row in enumerate(rows):
        axis.errorbar(
            row.delta_m.mean,
            height,
            xerr=row.delta_m.high - row.delta_m.mean,
            fmt=look.models[row.method.model],
            color=look.weightings[row.method.weighting],
            ms=7,
            mec="white",
            mew=0.7,
            elinewidth=1.3,
        )
    axis.axvline(0, color="#999999", lw=0.8, zorder=1)
    axis.set_yticks(range(len(rows)), [_label(row.method) for row in rows])
    axis.set_ylim(-0.7, len(rows) - 0.3)
