"""What the claims of a study are about: the means they compare, by condition and method."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from mtl.metrics import mean_interval
from mtl.report.claim_tests import cells, seeds_of
from mtl.report.figure import COLOURS, INK, MARKERS, panels, plain, short
from mtl.report.tuned import Tuned
from mtl.report.words import METRIC_NAMES

PANELS_PER_ROW = 3
MOST_PANELS = 12

MOST_APART = 3
"""Up to so many conditions methods stand side by side; beyond, a line joins the means of each."""

SPREAD = 5
"""Where means differ by more than this factor the axis is logarithmic."""

Cell = tuple[str, ...]


def plot_claims(tuned: Tuned) -> Figure | None:
    """Draws every mean that a claim compares, with its 95 % interval over seeds.

    Args:
      tuned: the study at the chosen settings.

    Returns:
      The figure, one panel for each metric and task: conditions from left to right where there are several,
      else methods. None for a study without claims about means.
    """
    claims = (tuned.study.config["config"].get("report") or {}).get("claims") or ()
    wanted = _cells(claims)
    methods = list(dict.fromkeys((cell[1], cell[2]) for used in wanted.values() for cell in used))
    if not wanted:
        return None
    styles = {m: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, m in enumerate(methods)}
    many = len({weighting for _, weighting in methods}) > 1
    names = {m: plain(f"{m[0]} × {m[1]}" if many else m[0]) for m in methods}
    shown = list(wanted)[:MOST_PANELS]
    left_out = len(wanted) - len(shown)
    figure, axes = panels(
        -(-len(shown) // PANELS_PER_ROW),
        min(len(shown), PANELS_PER_ROW),
        title="What the claims compare: mean on the test split with its 95 % interval over seeds"
        + (f" (the first {len(shown)} of {len(wanted)})" if left_out else ""),
        legends=[[Line2D([], [], color=c, marker=k, lw=1.4, label=names[m]) for m, (c, k) in styles.items()]],
        height=2.6,
        wrap=len(shown),
        gap_x=0.75,
        gap_y=0.9,
    )
    for axis, key in zip(axes.flat, shown):
        _panel(axis, wanted[key], key, tuned, styles)
    return figure


def _cells(claims: Any) -> dict[tuple[str, str], list[Cell]]:
    """Means by metric and task, "" for the mean over tasks; each once."""
    found: dict[tuple[str, str], dict[Cell, None]] = {}
    for claim in claims:
        for test in claim["tests"]:
            for cell in cells(test["value"]):
                if cell[0] == "mean":
                    task = cell[4] if len(cell) > 4 else ""
                    found.setdefault((claim["metric"], task), {})[cell] = None
    return {key: list(used) for key, used in found.items()}


def _panel(axis, used: list[Cell], key: tuple[str, str], tuned: Tuned, styles: Mapping) -> None:
    metric, task = key
    conditions = list(dict.fromkeys(cell[3] for cell in used))
    conditions.sort(key=_order)
    present = [m for m in styles if any(cell[1:3] == m for cell in used)]
    single = len(conditions) == 1
    joined = len(conditions) > MOST_APART
    everything: list[float] = []
    for i, method in enumerate(present):
        colour, marker = styles[method]
        x, mean, half = [], [], []
        for j, condition in enumerate(conditions):
            cell = next((c for c in used if c[1:3] == method and c[3] == condition), None)
            values = list(seeds_of(cell, metric, tuned).values()) if cell else []
            if not values:
                continue
            interval = mean_interval(values)
            # Few conditions leave room to stand side by side, so that intervals do not hide one another.
            aside = 0.0 if joined else 0.6 * ((i + 0.5) / len(present) - 0.5)
            x.append(float(i) if single else j + aside)
            mean.append(interval.mean)
            half.append(float(np.nan_to_num(interval.high - interval.mean)))
        everything += mean
        line = {"ls": "-" if joined else "none", "lw": 0.8, "elinewidth": 1.2, "capsize": 2}
        axis.errorbar(x, mean, half, color=colour, marker=marker, ms=4, **line)
    if everything and min(everything) > 0 and max(everything) > SPREAD * min(everything):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
    axis.set_title(
        plain(f"{METRIC_NAMES.get(metric, metric)}, {task or 'mean over tasks'}"), size=9, color=INK
    )
    if single:
        axis.set_xticks([])
        return
    shared = conditions[0].split("=")[0] + "="
    common = all(c.startswith(shared) and ";" not in c for c in conditions)
    labels = [c.removeprefix(shared) if common else c for c in conditions]
    axis.set_xticks(range(len(conditions)), [short(plain(label), 14) for label in labels], size=8)
    if common:
        axis.set_xlabel(plain(shared[:-1]), size=8, color=INK)


def _order(condition: str) -> tuple[float, str]:
    """Numbers in rising order."""
    try:
        return float(condition.rpartition("=")[2]), condition
    except ValueError:
        return float("inf"), condition
