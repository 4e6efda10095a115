"""Models under several conditions: loss curves by model, and the distribution of final losses by condition.

Reference:
  Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD
  2018, Figures 4 and 5, whose layout this follows.
"""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from mtl.metrics import PRIMARY
from mtl.report.figure import COLOURS, INK, label_row, panels, plain, short, short_titles
from mtl.report.summary import GroupSummary
from mtl.report.trajectory import trajectories
from mtl.report.workdir import Group, Method, Place, Study

FEW_SEEDS = 20
"""Below this many seeds a histogram shows little but noise."""

BINS = 40
TAIL = 0.99
"""The histograms end at this quantile of all values; the last bin holds the rest."""


def plot_conditions(study: Study, groups: tuple[GroupSummary, ...]) -> Figure | None:
    """Draws mean training losses and final test values of a study that varies its data.

    Args:
      study: the study's results at the chosen settings.
      groups: their comparison, one per condition.

    Returns:
      The figure; None for fewer than two conditions, fewer than 20 seeds, several weightings, or tasks of
      different kinds.
    """
    methods = sorted({method for table in study.tables.values() for method in table})
    kinds = {task.kind for task in study.tasks}
    finals = {(g.group, m): _finals(study, g.group, m) for g in groups for m in methods}
    seeds = max((len(values) for values in finals.values()), default=0)
    one_weighting = len({method.weighting for method in methods}) == 1
    if len(groups) < 2 or not one_weighting or len(kinds) > 1 or seeds < FEW_SEEDS:
        return None
    titles = short_titles(group.group for group in groups)
    shades = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, len(groups)))
    hues = [COLOURS[i % len(COLOURS)] for i in range(len(methods))]
    figure, axes = panels(
        2,
        max(len(methods), len(groups)),
        title="Mean training loss over tasks with 95 % interval over seeds, and the runs' final values",
        legends=[
            [Line2D([], [], color=c, lw=2, label=titles[g.group]) for g, c in zip(groups, shades)],
            [Line2D([], [], color=c, lw=6, alpha=0.5, label=plain(m.model)) for m, c in zip(methods, hues)],
        ],
        height=2.2,
        gap_y=0.8,
    )
    _curves(axes[0], study, groups, methods, shades)
    edges = _edges(np.concatenate(list(finals.values())))
    for axis, group in zip(axes[1], groups):
        for method, colour in zip(methods, hues):
            values = np.minimum(finals[group.group, method], edges[-1])
            axis.hist(values, bins=edges, color=colour, alpha=0.4)
            axis.hist(values, bins=edges, color=colour, histtype="step", lw=1.2)
        axis.set_title(titles[group.group], size=9, color=INK)
        axis.set_xlabel(f"test {PRIMARY[study.tasks[0].kind]}, mean over tasks", size=8, color=INK)
        axis.sharey(axes[1, 0])
    for row, used in zip(axes, (len(methods), len(groups))):
        for axis in row[used:]:
            axis.set_visible(False)
    label_row(axes[0, 0], "training loss")
    label_row(axes[1, 0], f"runs of {seeds}")
    return figure


def _finals(study: Study, group: Group, method: Method) -> np.ndarray:
    """The mean over tasks of the primary test metric, one value per seed."""
    places = study.tables[group].get(method, {})
    seeds = [places.get(Place("test", task.name, PRIMARY[task.kind]), {}) for task in study.tasks]
    common = sorted(set.intersection(*map(set, seeds)))
    return np.array([np.mean([s[seed] for s in seeds]) for seed in common])


def _edges(values: np.ndarray) -> np.ndarray:
    values = values[np.isfinite(values)]
    return np.linspace(values.min(), np.quantile(values, TAIL), BINS + 1)


def _curves(axes: np.ndarray, study: Study, groups: tuple[GroupSummary, ...], methods, shades) -> None:
    curves = trajectories(study, "loss")
    for axis, method in zip(axes, methods):
        for group, colour in zip(groups, shades):
            keys = [(group.group, method, task.name) for task in study.tasks]
            found = [curves[key] for key in keys if key in curves]
            if len(found) == len(keys):
                mean, low, high = (
                    np.mean([getattr(curve, part) for curve in found], axis=0)
                    for part in ("mean", "low", "high")
                )
                axis.plot(found[0].steps, mean, color=colour, lw=1.6)
                axis.fill_between(found[0].steps, low, high, color=colour, alpha=0.2, lw=0)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_title(short(method.model), size=9, color=INK)
        axis.set_xlabel("training step", size=8, color=INK)
        axis.sharey(axes[0])
