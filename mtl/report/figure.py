"""What all plots share: colours, markers, the grid of panels, the legend above it."""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtl.report.workdir import Group, Study
from mtl.report.write import write_file

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f3c8d",
    "#8c6d31",
)
"""Told apart by colour-blind readers too (Okabe & Ito, without yellow, plus two)."""

MARKERS = "osD^vPX*<>hp"

TASK_COLOURS = ("#222222", "#d0743c", "#5b8cb8", "#8a8a8a", "#a05195", "#6a994e")
"""A palette of its own, so that a task is never taken for a weighting."""

INK, FAINT = "#333333", "#c8c8c8"
DPI = 120
PAGE_WIDTH = 11.0  # inches
MAX_PANELS = 24
LEFT, RIGHT, BOTTOM, GAP_X, GAP_Y = 0.85, 0.2, 0.6, 0.35, 0.45  # inches


class Look(NamedTuple):
    """Colours and markers, the same in every plot of a study.

    Attributes:
      weightings: weighting → colour.
      models: model → marker.
      tasks: task → colour.
    """

    weightings: dict[str, str]
    models: dict[str, str]
    tasks: dict[str, str]


def look(study: Study) -> Look:
    """Assigns colours and markers.

    Args:
      study: the study.

    Returns:
      The assignment; it depends on names only.
    """
    methods = {method for table in study.tables.values() for method in table}
    models = sorted({m.model for m in methods}, key=lambda name: (name != study.baseline, name))
    weightings = sorted({m.weighting for m in methods}, key=lambda name: (name != "static", name))
    return Look(
        dict(zip(weightings, colours(COLOURS, len(weightings)))),
        {model: MARKERS[i % len(MARKERS)] for i, model in enumerate(models)},
        dict(zip((t.name for t in study.tasks), colours(TASK_COLOURS, len(study.tasks)))),
    )


def colours(first: Sequence[str], n: int) -> Sequence[str]:
    """As many colours as there are names.

    Args:
      first: a palette, used where it is long enough.
      n: number of names.

    Returns:
      `n` hexadecimal colours.
    """
    if n <= len(first):
        return first[:n]
    return [mpl.colors.to_hex(c) for c in mpl.colormaps["turbo"](np.linspace(0.05, 0.95, n))]


def plain(text: str) -> str:
    r"""Keeps `$` in a name from being read as mathematics.

    Args:
      text: any text.

    Returns:
      The text with `\$` for `$`.
    """
    return text.replace("$", r"\$")


def short_titles(groups: Iterable[Group]) -> dict[Group, str]:
    """Names groups by what tells them apart.

    Args:
      groups: the groups of a plot.

    Returns:
      Group → its data set and hyper-parameters, without what all groups share, one per line.
    """
    parts = {group: [group.dataset, *group.hparams.split(";")] for group in groups}
    shared = set.intersection(*map(set, parts.values()))
    return {
        group: "\n".join(short(p, 32) for p in names if p not in shared) or short(group.dataset)
        for group, names in parts.items()
    }


def short(text: str, length: int = 24) -> str:
    """Makes a name from a file fit for a label.

    Args:
      text: the name.
      length: characters to keep.

    Returns:
      The name, cut with an ellipsis if longer, safe from being read as mathematics.
    """
    return plain(text if len(text) <= length else text[: length - 1] + "…")


def label_row(axis: Axes, *lines: str) -> None:
    """Labels a row of panels at its first axis.

    Args:
      axis: the first axis.
      lines: lines of the label.
    """
    axis.set_ylabel("\n".join(lines), size=8, color=INK)


def label_margin(titles: dict[Group, str], lines: int) -> float:
    """Room for the labels that `label_row` writes.

    Args:
      titles: group titles, the label's first lines.
      lines: lines below the title.

    Returns:
      Inches.
    """
    return 0.5 + 0.14 * (lines + max(title.count("\n") + 1 for title in titles.values()))


def weighting_handles(look: Look, weightings: Iterable[str], *, line: bool) -> list[Line2D]:
    """Legend entries for weightings.

    Args:
      look: colours and markers.
      weightings: those in the plot.
      line: draw a line (curves) or a dot (points).

    Returns:
      One handle per weighting, in the order of `look`.
    """
    shown = set(weightings)
    style = {"lw": 2} if line else {"ls": "", "marker": "o", "ms": 7}
    return [
        Line2D([], [], color=colour, label=plain(name), **style)
        for name, colour in look.weightings.items()
        if name in shown
    ]


def model_handles(look: Look, models: Iterable[str]) -> list[Line2D]:
    """Legend entries for models.

    Args:
      look: colours and markers.
      models: those in the plot.

    Returns:
      One handle per model, in the order of `look`.
    """
    shown = set(models)
    return [
        Line2D([], [], ls="", marker=marker, ms=7, mfc="white", mec=INK, label=plain(name))
        for name, marker in look.models.items()
        if name in shown
    ]


def panels(
    rows: int,
    columns: int,
    *,
    title: str,
    legends: Sequence[Sequence[Artist]],
    height: float,
    wrap: int | None = None,
    left: float = LEFT,
    gap_x: float = GAP_X,
    gap_y: float = GAP_Y,
    bottom: float = BOTTOM,
) -> tuple[Figure, np.ndarray]:
    """Makes a grid of panels under a title and a legend.

    Args:
      rows: rows of panels.
      columns: columns of panels.
      title: what the plot shows.
      legends: legend entries, each sequence on a line of its own.
      height: of a panel, in inches.
      wrap: number of panels in use, the last row may be part empty; None for all.
      left: margin for the first column's labels, in inches.
      gap_x: between columns, in inches.
      gap_y: between rows, in inches.
      bottom: margin for the last row's labels, in inches.

    Returns:
      The figure and its axes `[rows, columns]`.
    """
    panel = min(max((PAGE_WIDTH - left - RIGHT + gap_x) / columns - gap_x, 1.5), 4.2)
    width = max(left + RIGHT + columns * (panel + gap_x) - gap_x, 6.5)
    legend_columns = [
        max(1, int((width - 0.5) / (0.55 + 0.085 * max(len(str(h.get_label())) for h in handles))))
        for handles in legends
    ]
    legend_rows = [math.ceil(len(h) / n) for h, n in zip(legends, legend_columns)]
    title_lines = title.count("\n") + 1
    top = 0.25 + 0.22 * title_lines + 0.22 * sum(legend_rows) + 0.45
    total = top + bottom + rows * (height + gap_y) - gap_y
    figure = Figure(figsize=(width, total), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=left / width,
        right=(left + columns * (panel + gap_x) - gap_x) / width,
        bottom=bottom / total,
        top=1 - top / total,
        wspace=gap_x / panel,
        hspace=gap_y / height,
    )
    figure.text(0.15 / width, 1 - 0.12 / total, title, va="top", size=11, color=INK)
    down = 0.17 + 0.22 * title_lines  # inches
    for handles, columns_of_legend, rows_of_legend in zip(legends, legend_columns, legend_rows):
        figure.legend(
            handles=list(handles),
            loc="upper left",
            bbox_to_anchor=(0.05 / width, 1 - down / total),
            ncols=columns_of_legend,
            frameon=False,
            fontsize=9,
            handletextpad=0.4,
            columnspacing=1.4,
            borderaxespad=0.3,
        )
        down += 0.22 * rows_of_legend
    for i, axis in enumerate(axes.flat):
        if wrap is not None and i >= wrap:
            axis.set_visible(False)
        _tidy(axis)
    return figure, axes


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#888888")
    axis.tick_params(labelsize=8, colors=INK)
    axis.grid(color="#ececec", lw=0.6)
    axis.set_axisbelow(True)
    axis.locator_params(nbins=5)


def cut(rows: Sequence, per_row: int, what: str) -> tuple[Sequence, str]:
    """Keeps a plot readable: as many rows as `MAX_PANELS` allows, and a note that says so.

    Args:
      rows: rows of panels.
      per_row: panels per row.
      what: what a row is, for the note.

    Returns:
      The rows to draw and the note, empty when all are drawn.
    """
    most = max(1, MAX_PANELS // per_row)
    if len(rows) <= most:
        return rows, ""
    return rows[:most], f"\nfirst {most} of {len(rows)} {what} shown; all are in the result files"


def save(figure: Figure, path: Path) -> None:
    """Writes a figure, whole or not at all.

    Args:
      figure: the figure.
      path: the file; `.png` or `.svg` decides the format.

    Raises:
      InputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    kind = path.suffix.removeprefix(".")
    # Without a salt and with a date, every SVG would differ from the last.
    metadata = {"Date": None} if kind == "svg" else None
    with mpl.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(buffer, format=kind, metadata=metadata)
    write_file(path, buffer.getvalue())
