"""Trajectories of every weighting in the plane of the parameters and in that of the losses."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtl.report.figure import COLOURS, INK, short
from mtl.report.problem_files import Problem, ProblemStudy, Run

WIDTH = 7.2  # inches, a printed page
PAIRS = 4  # weightings per row
GAP, PAIR_GAP, TITLE = 0.04, 0.2, 0.19  # inches: within a pair, between pairs, above a row
LEFT, RIGHT, TOP, BOTTOM = 0.36, 0.36, 0.4, 0.33  # inches
DPI = 200
SMALL = 5.5  # points
GROUND = LinearSegmentedColormap.from_list("ground", ["#a9b8c7", "#dfe6ec", "#ffffff"])
FRONT, LOST = "#000000", "#d00000"
LOSS_RANGE = (-22.0, 12.0)
"""Of unscaled losses."""


def plot_toy2d(study: ProblemStudy) -> Figure:
    """Draws a pair of panels per weighting: parameters over the mean loss, and losses with the true front.

    Args:
      study: the study's files.

    Returns:
      The figure, as wide as a printed page.
    """
    columns = min(PAIRS, len(study.runs))
    rows = math.ceil(len(study.runs) / columns)
    panel = (WIDTH - LEFT - RIGHT - (PAIRS - 1) * PAIR_GAP - PAIRS * GAP) / (2 * PAIRS)
    width = max(LEFT + RIGHT + columns * (2 * panel + GAP) + (columns - 1) * PAIR_GAP, 5.0)
    height = TOP + BOTTOM + rows * (panel + TITLE)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for i, (label, runs) in enumerate(study.runs.items()):
        row, column = divmod(i, columns)
        x = LEFT + column * (2 * panel + GAP + PAIR_GAP)
        y = height - TOP - (row + 1) * (panel + TITLE)
        left, right = (
            figure.add_axes((at / width, y / height, panel / width, panel / height))
            for at in (x, x + panel + GAP)
        )
        _draw_points(left, study.problem, runs)
        _draw_losses(right, study.problem, runs)
        _frame(
            left,
            right,
            first=column == 0,
            last=i + 1 == len(study.runs) or column + 1 == columns,
            lowest=i + columns >= len(study.runs),
        )
        _title(figure, left, right, label, runs)
    _key(figure, next(iter(study.runs.values())), height)
    return figure


def _draw_points(axis: Axes, problem: Problem, runs: tuple[Run, ...]) -> None:
    levels = np.unique(np.quantile(problem.mean_loss, np.linspace(0, 1, 15)))
    axis.contourf(problem.x1, problem.x2, problem.mean_loss, levels, cmap=GROUND, antialiased=False)
    axis.contour(
        problem.x1, problem.x2, problem.mean_loss, levels, colors="#8496a8", linewidths=0.2, linestyles="-"
    )
    _draw_front(axis, problem.pareto_set)
    for run in runs:
        _draw_run(axis, run, run.points)
    axis.set_xlim(problem.x1[0], problem.x1[-1])
    axis.set_ylim(problem.x2[0], problem.x2[-1])
    axis.set_xticks([-7, 0, 7])
    axis.set_yticks([-8, 0, 8])


def _draw_losses(axis: Axes, problem: Problem, runs: tuple[Run, ...]) -> None:
    _draw_front(axis, problem.front)
    for run in runs:
        _draw_run(axis, run, run.losses)
    axis.set_xlim(*(problem.scales[0] * np.array(LOSS_RANGE)))
    axis.set_ylim(*(problem.scales[1] * np.array(LOSS_RANGE)))
    axis.set_xticks(problem.scales[0] * np.array([-20, 0]))
    axis.set_yticks(problem.scales[1] * np.array([-20, 0]))


def _draw_front(axis: Axes, line: np.ndarray) -> None:
    axis.plot(*line.T, color=FRONT, lw=2.2, solid_capstyle="round", zorder=2)
    axis.plot(*line[len(line) // 2], "o", color="white", ms=1.3, zorder=2)


def _draw_run(axis: Axes, run: Run, path: np.ndarray) -> None:
    colour = COLOURS[run.seed % len(COLOURS)]
    reached = _reached(run)
    axis.plot(*path.T, color=colour, lw=0.9, ls="-" if reached else (0, (2.2, 1.1)), zorder=3)
    axis.plot(*path[0], "o", mfc="white", mec=colour, mew=0.8, ms=3.2, zorder=4)
    finite = path[np.isfinite(path).all(axis=1)]
    if reached:
        axis.plot(*finite[-1], "o", color=colour, mec="white", mew=0.4, ms=4, zorder=5, clip_on=False)
    else:
        axis.plot(*finite[-1], "X", color=LOST, mec="white", mew=0.5, ms=6, zorder=6, clip_on=False)


def _reached(run: Run) -> bool:
    return bool(run.values.get(("both", "reached")))


def _frame(left: Axes, right: Axes, *, first: bool, last: bool, lowest: bool) -> None:
    right.yaxis.tick_right()
    for axis in (left, right):
        axis.tick_params(labelsize=SMALL, colors=INK, length=1.8, width=0.5, pad=1.5)
        axis.spines[:].set_color("#888888")
        axis.spines[:].set_linewidth(0.5)
        axis.tick_params(labelbottom=lowest)
    left.tick_params(labelleft=first)
    right.tick_params(labelright=last)
    style: dict[str, Any] = {"size": SMALL + 1, "color": INK, "labelpad": 1}
    if lowest:
        left.set_xlabel("$x_1$", **style)
        right.set_xlabel("$L_1$", **style)
    if first:
        left.set_ylabel("$x_2$", **style)
    if last:
        right.set_ylabel("$L_2$", rotation=90, **style)
        right.yaxis.set_label_position("right")


def _title(figure: Figure, left: Axes, right: Axes, label: str, runs: tuple[Run, ...]) -> None:
    count = sum(map(_reached, runs))
    y = left.get_position().y1 + 0.035 / figure.get_figheight()
    figure.text(left.get_position().x0, y, short(label), size=7, color=INK, weight="bold", va="bottom")
    colour = INK if count == len(runs) else LOST
    text = f"{count}/{len(runs)}"
    figure.text(
        right.get_position().x1, y, text, size=7, color=colour, weight="bold", va="bottom", ha="right"
    )


def _key(figure: Figure, runs: tuple[Run, ...], height: float) -> None:
    starts = [
        Line2D(
            [], [], color=COLOURS[run.seed % len(COLOURS)], marker="o", mfc="white", ms=4, label=_start(run)
        )
        for run in runs
    ]
    marks = [
        Line2D([], [], ls="", color=INK, marker="o", ms=4.5, label="ends on the front"),
        Line2D([], [], ls="", color=LOST, mec="white", marker="X", ms=6, label="misses it"),
        Line2D([], [], color=FRONT, lw=2.2, label="Pareto set (left) and front (right)"),
        Line2D([], [], ls="", color=FRONT, mfc="white", mew=1.6, marker="o", ms=4, label="balance ½"),
    ]
    for handles, down in ((starts, 0.03), (marks, 0.18)):
        figure.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 1 - down / height),
            ncols=len(handles),
            frameon=False,
            fontsize=7,
            handletextpad=0.4,
            columnspacing=1.6,
            borderaxespad=0,
        )


def _start(run: Run) -> str:
    return f"from ({run.points[0][0]:g}, {run.points[0][1]:g})".replace("-", "−")
