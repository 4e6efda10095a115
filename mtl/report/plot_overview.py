"""All methods under all conditions at a glance."""

import matplotlib as mpl
import numpy as np
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from mtl.report.figure import INK, panels, short, short_titles
from mtl.report.summary import GroupSummary
from mtl.report.workdir import Method

MIN_GROUPS, MIN_METHODS = 2, 6
"""Fewer conditions or methods are read from the tables as fast."""

ROW_HEIGHT = 0.2  # inches per method
STRONGEST = 100.0
"""Δm in percent at which the colour is full."""


def plot_overview(groups: tuple[GroupSummary, ...]) -> Figure | None:
    """Draws a heat map of Δm, a row per method and a column per condition, the best mean rank on top.

    Args:
      groups: the comparison.

    Returns:
      The figure; None without a single-task baseline, or with few methods or conditions.
    """
    cells = {
        (row.method, group.group): (row.delta_m.mean, row.mean_rank)
        for group in groups
        for row in group.methods
        if row.delta_m.n
    }
    shown = [g.group for g in groups if any(group == g.group for _, group in cells)]
    methods = list(dict.fromkeys(method for method, _ in cells))
    if len(shown) < MIN_GROUPS or len(methods) < MIN_METHODS:
        return None
    found = np.array([[cells.get((m, g), (np.nan, np.nan)) for g in shown] for m in methods])
    order = np.argsort(np.nanmean(found[..., 1], axis=1), kind="stable")
    values, methods = found[order, :, 0], [methods[i] for i in order]
    titles = short_titles(shown)
    margin = 0.35 + 0.07 * max(len(_label(m)) for m in methods)
    figure, ((axis,),) = panels(
        1,
        1,
        title="Δm (%) against single-task, mean over seeds, test split; below 0 (blue) is better.\n"
        "Sorted by mean rank over tasks and conditions",
        legends=[],
        height=max(1.2, ROW_HEIGHT * len(methods)),
        left=margin,
        bottom=0.15 + 0.06 * max(len(line) for t in titles.values() for line in t.split("\n")),
    )
    norm = SymLogNorm(linthresh=2.0, vmin=-STRONGEST, vmax=STRONGEST)
    axis.imshow(values, cmap=mpl.colormaps["RdBu_r"], norm=norm, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value) > 12 else INK
            axis.text(j, i, f"{value:.3g}", ha="center", va="center", size=7, color=colour)
    axis.set_yticks(range(len(methods)), [_label(m) for m in methods])
    axis.set_xticks(range(len(shown)), [titles[g] for g in shown], rotation=60, ha="right", size=7)
    axis.grid(visible=False)
    return figure


def _label(method: Method) -> str:
    return " × ".join(map(short, method))
