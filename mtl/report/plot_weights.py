"""Task weights over training, as the weighting applied them."""

import itertools

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtl.report.figure import INK, Look, cut, label_margin, label_row, panels, plain, short, short_titles
from mtl.report.summary import GroupSummary
from mtl.report.trajectory import trajectories
from mtl.report.workdir import Method, Study

DASHES = ("-", (0, (4, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
"""Equal weights lie on one another; dashes let the lower line show."""


def plot_weights(study: Study, groups: tuple[GroupSummary, ...], look: Look) -> Figure | None:
    """Draws a panel per weighting, one row per group and model, one line per task.

    The single-task baseline is left out: its tasks share nothing that a weight could divide.

    Args:
      study: the study's results.
      groups: their comparison.
      look: colours and markers.

    Returns:
      The figure; None without training records of a multi-task model.
    """
    curves = {
        key: curve for key, curve in trajectories(study, "weight").items() if key[1].model != study.baseline
    }
    if not curves:
        return None
    weightings = [w for w in look.weightings if any(m.weighting == w for _, m, _ in curves)]
    models = [name for name in look.models if any(m.model == name for _, m, _ in curves)]
    rows, note = cut(list(itertools.product(groups, models)), len(weightings), "rows")
    dashes = dict(zip(look.tasks, itertools.cycle(DASHES)))
    handles = [
        Line2D([], [], color=colour, ls=dashes[task], lw=2, label=plain(task))
        for task, colour in look.tasks.items()
    ]
    titles = short_titles(group.group for group in groups)
    figure, axes = panels(
        len(rows),
        len(weightings),
        title=f"Task weights applied during training, mean and 95 % interval over seeds{note}",
        legends=[handles],
        height=1.3,
        left=label_margin(titles, 2),
        gap_x=0.5,
    )
    for line, (group, model) in zip(axes, rows):
        for axis, weighting in zip(line, weightings):
            for task, colour in look.tasks.items():
                curve = curves.get((group.group, Method(model, weighting), task))
                if curve is not None:
                    axis.plot(curve.steps, curve.mean, color=colour, ls=dashes[task], lw=1.5)
                    axis.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.18, lw=0)
            if axis.lines:
                low, high = axis.get_ylim()
                axis.set_ylim(min(0.0, low), high + 0.1 * (high - min(0.0, low)))
        label_row(line[0], titles[group.group], short(model), "weight")
    for axis, weighting in zip(axes[0], weightings):
        axis.set_title(short(weighting), size=9, color=INK)
    for axis in axes[-1]:
        axis.set_xlabel("training step", size=8, color=INK)
    return figure
