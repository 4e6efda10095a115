"""How names and numbers are written, the same in every table, plot and page."""

import math
from collections.abc import Iterable

from mtl.metrics import HIGHER_IS_BETTER, Interval
from mtl.report.workdir import Group, Method

METRIC_NAMES = {
    "auc": "AUC",
    "pr_auc": "PR-AUC",
    "logloss": "log loss",
    "rmse": "RMSE",
    "mae": "MAE",
    "mse": "MSE",
    "r2": "R²",
    "ece": "ECE",
    "calibration_ratio": "predicted / actual",
    "auc_given": "AUC after the required event",
    "truth_mae": "MAE to the truth",
    "truth_rmse": "RMSE to the truth",
    "truth_ratio": "predicted / true",
    "truth_concordance": "pairs in the true order",
}
"""Metrics whose name in prose differs from their name in files."""

METRIC_UNITS = {"logloss": "nats", "rmse": "label units", "mae": "label units"}
"""Units, where a metric has one."""


def group_title(group: Group) -> str:
    """Names a group: `synthetic · correlation=0.5`.

    Args:
      group: data set and hyper-parameters.

    Returns:
      The name.
    """
    return " · ".join(part for part in (group.dataset, group.hparams.replace(";", ", ")) if part)


def method_name(method: Method) -> str:
    """Names a method: `mmoe × uwl`.

    Args:
      method: model and weighting.

    Returns:
      The name.
    """
    return " × ".join(method)


def method_list(methods: Iterable[Method]) -> str:
    """Names several methods, model by model: `mmoe × static, uwl; ple × static`.

    Args:
      methods: the methods.

    Returns:
      The names.
    """
    models: dict[str, list[str]] = {}
    for method in methods:
        models.setdefault(method.model, []).append(method.weighting)
    return "; ".join(f"{model} × {', '.join(names)}" for model, names in models.items())


def metric_name(metric: str, *, unit: bool = False) -> str:
    """Names a metric with an arrow towards better: `AUC ↑`, `RMSE ↓`.

    Args:
      metric: name in `results.csv`.
      unit: whether to append the unit in brackets where there is one.

    Returns:
      The name.
    """
    name = METRIC_NAMES.get(metric, metric)
    if unit and metric in METRIC_UNITS:
        name = f"{name} ({METRIC_UNITS[metric]})"
    if metric in HIGHER_IS_BETTER:
        name += " ↑" if HIGHER_IS_BETTER[metric] else " ↓"
    return name


def decimals(intervals: Iterable[Interval]) -> int:
    """Decimals at which the narrowest interval of a column still has two significant digits.

    Args:
      intervals: the column.

    Returns:
      From 0 to 6; 4 for a column without intervals.
    """
    halves = [i.high - i.mean for i in intervals if i.high > i.mean]
    return min(max(1 - math.floor(math.log10(min(halves))), 0), 6) if halves else 4


def interval_text(interval: Interval, places: int) -> str:
    """Writes `mean ± half-width`, the mean alone without an interval, `–` without a value.

    Args:
      interval: what to write.
      places: decimals.

    Returns:
      The text.
    """
    if math.isnan(interval.mean):
        return "–"
    half = interval.high - interval.mean
    mean = f"{interval.mean:.{places}f}"
    return mean if math.isnan(half) else f"{mean} ± {half:.{places}f}"


def p_text(p_value: float, *, bound: bool = False) -> str:
    """Writes a p-value: `p = 0.03`, `p < 0.001`.

    Args:
      p_value: the p-value.
      bound: whether it is the largest of several, written `p ≤ 0.03`.

    Returns:
      The text.
    """
    if p_value < 0.001:
        return "p < 0.001"
    # An upper bound is rounded up, so that it stays one.
    return f"p ≤ {math.ceil(p_value * 1000) / 1000:g}" if bound else f"p = {p_value:.2g}"
