"""How many experts each task's gate uses, over training."""

import itertools

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtl.report.figure import (
    FAINT,
    INK,
    Look,
    cut,
    label_margin,
    label_row,
    panels,
    plain,
    short,
    short_titles,
)
from mtl.report.plot_weights import DASHES
from mtl.report.summary import GroupSummary
from mtl.report.trajectory import gate_trajectories
from mtl.report.workdir import Method, Study


def plot_gate_paths(study: Study, groups: tuple[GroupSummary, ...], look: Look) -> Figure | None:
    """Draws exp(entropy) of the gates: a row per group, model and gate, a panel per weighting.

    A gate that uses E experts alike has E, a polarised one 1.

    Args:
      study: the study's results.
      groups: their comparison.
      look: colours and markers.

    Returns:
      The figure; None when no model has gates.
    """
    paths = gate_trajectories(study)
    if not paths:
        return None
    weightings = [w for w in look.weightings if any(m.weighting == w for _, m, _ in paths)]
    kinds = sorted({(method.model, gate) for _, method, gate in paths})
    blocks = [
        (group.group, model, gate)
        for group, (model, gate) in itertools.product(groups, kinds)
        if any((group.group, Method(model, w), gate) in paths for w in weightings)
    ]
    rows, note = cut(blocks, len(weightings), "rows")
    dashes = dict(zip(look.tasks, itertools.cycle(DASHES)))
    handles = [
        Line2D([], [], color=colour, ls=dashes[task], lw=2, label=plain(task))
        for task, colour in look.tasks.items()
    ]
    if any(len(lines) == 1 for lines in paths.values()) and len(look.tasks) > 1:
        handles.append(Line2D([], [], color=FAINT, lw=2, label="shared gate"))
    titles = short_titles(group.group for group in groups)
    what = "Experts in use (exp of the gates' entropy) on validation rows"
    figure, axes = panels(
        len(rows),
        len(weightings),
        title=f"{what},\nmean and 95 % interval over seeds{note}",
        legends=[handles],
        height=1.25,
        left=label_margin(titles, 2),
    )
    for line, (group, model, gate) in zip(axes, rows):
        for axis, weighting in zip(line, weightings):
            lines = paths.get((group, Method(model, weighting), gate), ())
            styles = [(c, dashes[t]) for t, c in look.tasks.items()] if len(lines) > 1 else [(FAINT, "-")]
            for path, (colour, dash) in zip(lines, styles):
                axis.plot(path.steps, path.mean, color=colour, ls=dash, lw=1.5)
                axis.fill_between(path.steps, path.low, path.high, color=colour, alpha=0.18, lw=0)
            if axis.lines:
                axis.set_ylim(0.9, max(2.0, axis.get_ylim()[1]))
        for axis in line[1:]:
            axis.sharey(line[0])
        label_row(line[0], titles[group], short(model), short(gate))
    for axis, weighting in zip(axes[0], weightings):
        axis.set_title(short(weighting), size=9, color=INK)
    for axis in axes[-1]:
        axis.set_xlabel("training step", size=8, color=INK)
    return figure
