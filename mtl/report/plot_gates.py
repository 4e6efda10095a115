"""How much each task's gate uses each expert."""

import itertools
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

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
from mtl.report.summary import GroupSummary
from mtl.report.workdir import Group, Method, Study


class Utilisation(NamedTuple):
    """Gate weights of one run at its selected step.

    Attributes:
      mean: `[G,E]` mean gate weight over rows.
      sd: `[G,E]` standard deviation over rows.
    """

    mean: np.ndarray
    sd: np.ndarray


def plot_gates(study: Study, groups: tuple[GroupSummary, ...], look: Look) -> Figure | None:
    """Draws bars per expert and task: a row per group, model and gate, a panel per weighting.

    Args:
      study: the study's results.
      groups: their comparison.
      look: colours and markers.

    Returns:
      The figure; None when no model has gates.

    Reference:
      Tang et al., "Progressive Layered Extraction", RecSys 2020, figure 8.
    """
    gates = _utilisation(study)
    if not gates:
        return None
    weightings = [w for w in look.weightings if any(m.weighting == w for _, m, _ in gates)]
    kinds = list(dict.fromkeys((m.model, name) for _, m, name in gates))
    blocks = [
        (group.group, model, name)
        for group, (model, name) in itertools.product(groups, sorted(kinds))
        if any((group.group, Method(model, w), name) in gates for w in weightings)
    ]
    rows, note = cut(blocks, len(weightings), "rows")
    handles: list = [Patch(color=colour, label=plain(t)) for t, colour in look.tasks.items()]
    if any(len(u.mean) == 1 for u in gates.values()) and len(look.tasks) > 1:
        handles.append(Patch(color=FAINT, label="shared gate"))
    titles = short_titles(group.group for group in groups)
    figure, axes = panels(
        len(rows),
        len(weightings),
        # Experts of different seeds have nothing in common, so seeds are not averaged.
        title=f"Gate weights at the selected step, first seed:\nmean ± deviation over test rows{note}",
        legends=[handles],
        height=1.25,
        left=label_margin(titles, 2),
    )
    for line, (group, model, name) in zip(axes, rows):
        for axis, weighting in zip(line, weightings):
            utilisation = gates.get((group, Method(model, weighting), name))
            if utilisation is not None:
                _draw(axis, utilisation, list(look.tasks.values()))
        for axis in line[1:]:
            axis.tick_params(labelleft=False)
        label_row(line[0], titles[group], short(model), short(name))
    for axis, weighting in zip(axes[0], weightings):
        axis.set_title(short(weighting), size=9, color=INK)
    for axis in axes[-1]:
        axis.set_xlabel("expert", size=8, color=INK)
    return figure


def _utilisation(study: Study) -> dict[tuple[Group, Method, str], Utilisation]:
    first: dict[tuple[Group, Method, str], tuple[int, Utilisation]] = {}
    for record in study.records:
        for name, gate in record.content["gates"].items() if record.kind == "gates" else ():
            key = (record.group, record.method, name)
            if key not in first or record.seed < first[key][0]:
                arrays = (np.asarray(gate[k], np.float64) for k in ("utilisation", "utilisation_sd"))
                first[key] = (record.seed, Utilisation(*arrays))
    return {key: utilisation for key, (_, utilisation) in first.items()}


def _draw(axis: Axes, utilisation: Utilisation, task_colours: list[str]) -> None:
    gates, experts = utilisation.mean.shape
    colours = task_colours if gates > 1 else [FAINT]
    width = 0.8 / gates
    for g, colour in zip(range(gates), colours):
        axis.bar(
            np.arange(1, experts + 1) + (g - (gates - 1) / 2) * width,
            utilisation.mean[g],
            width,
            yerr=utilisation.sd[g],
            color=colour,
            error_kw={"elinewidth": 0.8, "ecolor": "#888888"},
        )
    axis.set_xticks(range(1, experts + 1, max(1, experts // 8)))
    axis.set_ylim(0, max(1.0, float(np.nanmax(utilisation.mean + utilisation.sd))))
