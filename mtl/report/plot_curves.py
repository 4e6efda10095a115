"""Training curves: small multiples by model, one row per group and task."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mtl.report.figure import (
    INK,
    Look,
    cut,
    label_margin,
    label_row,
    panels,
    short,
    short_titles,
    weighting_handles,
)
from mtl.report.summary import GroupSummary
from mtl.report.trajectory import trajectories
from mtl.report.workdir import Method, Study

LOG_RATIO = 10.0
"""Losses that span more than this factor are drawn on a logarithmic axis."""


def plot_curves(study: Study, groups: tuple[GroupSummary, ...], look: Look) -> Figure | None:
    """Draws the training loss of every task, mean and 95 % interval over seeds.

    Args:
      study: the study's results.
      groups: their comparison.
      look: colours and markers.

    Returns:
      The figure; None without training records.
    """
    curves = trajectories(study, "loss")
    models = [m for m in look.models if any(method.model == m for _, method, _ in curves)]
    if not models:
        return None
    blocks = list(itertools.product(groups, study.tasks))
    rows, note = cut(blocks, len(models), "rows")
    weightings = {method.weighting for _, method, _ in curves}
    titles = short_titles(group.group for group in groups)
    figure, axes = panels(
        len(rows),
        len(models),
        title=f"Training loss by task, mean and 95 % interval over seeds{note}",
        legends=[weighting_handles(look, weightings, line=True)],
        height=1.45,
        left=label_margin(titles, 2),
    )
    for line, (group, task) in zip(axes, rows):
        drawn = []
        for axis, model in zip(line, models):
            for weighting, colour in look.weightings.items():
                curve = curves.get((group.group, Method(model, weighting), task.name))
                if curve is not None:
                    axis.plot(curve.steps, curve.mean, color=colour, lw=1.4)
                    axis.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.18, lw=0)
                    drawn.append(curve.mean)
        values = np.concatenate(drawn) if drawn else np.array([np.nan])
        _same_scale(line, values)
        unit = "" if task.kind == "regression" else " (nats)"
        label_row(line[0], titles[group.group], short(task.name), f"loss{unit}")
    for axis, model in zip(axes[0], models):
        axis.set_title(short(model), size=9, color=INK)
    for axis in axes[-1]:
        axis.set_xlabel("training step", size=8, color=INK)
    return figure


def _same_scale(axes: np.ndarray, values: np.ndarray) -> None:
    """Gives a row of panels one scale, so that models can be compared by eye."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return
    low, high = finite.min(), finite.max()
    logarithmic = low > 0 and high / low > LOG_RATIO
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    for i, axis in enumerate(axes):
        if logarithmic:
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_locator(NullLocator())
            axis.set_ylim(low / 1.15, high * 1.15)
        else:
            axis.set_ylim(low - room, high + room)
        if i:
            axis.tick_params(labelleft=False, which="both")
