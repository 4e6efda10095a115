"""Two studies side by side: what differs in their configs, and whether their results differ."""

import json
import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mtl import metrics
from mtl.metrics import HIGHER_IS_BETTER, PRIMARY, Interval, PairedTest
from mtl.report.cautions import MIN_SEEDS
from mtl.report.summary import LEVEL, natural_order
from mtl.report.tuned import Tuned, tune
from mtl.report.words import decimals, group_title, interval_text, method_list, metric_name, p_text
from mtl.report.workdir import Group, Method, Place, Seeds, read_study

MAX_LINES = 40
"""Differences of the configs that are listed; a different study differs in everything."""

MISSING = "–"


class Difference(NamedTuple):
    """One method on one task in both studies.

    Attributes:
      method: model and weighting.
      task: the task.
      metric: its primary metric.
      first: mean and interval over all seeds of A.
      second: the same for B.
      gain: paired test of B − A over common seeds; positive = B is better.
      p_adjusted: Holm-adjusted over the methods × tasks of the group; NaN where not tested.
    """

    method: Method
    task: str
    metric: str
    first: Interval
    second: Interval
    gain: PairedTest
    p_adjusted: float


def compare(workdir_a: str | Path, workdir_b: str | Path) -> str:
    """Compares the methods that two workdirs have in common, seed by seed, on the test split.

    Pairing by seed removes what the seed shares: the order of the data, the initial weights and, with
    `dataset.resample`, the data. Where the configs differ in one of these it removes less, and stays valid.

    Args:
      workdir_a: folder of study A.
      workdir_b: folder of study B.

    Returns:
      Text for a terminal: differences of the configs, then one table per data set and its
      hyper-parameters. Where training hyper-parameters were swept, each study stands at its own choice on
      validation.

    Raises:
      InputError: a result file is missing or malformed.
    """
    a, b = (tune(read_study(folder)) for folder in (workdir_a, workdir_b))
    parts = [f"A: {workdir_a} ({a.study.name})\nB: {workdir_b} ({b.study.name})", _config_text(a, b)]
    common = sorted(a.study.tables.keys() & b.study.tables.keys(), key=natural_order)
    for group in common:
        parts.append(_group_text(group, differences(a, b, group)))
    for name, own, other in (("A", a, b), ("B", b, a)):
        parts.append(_only(name, own, other))
    if not common:
        parts.append("No data set and hyper-parameters in common: there is nothing to compare.")
    legend = f"gain: B against A, paired by seed, 95 % interval; ▲ ▼ B better, worse (adjusted p < {LEVEL:g}"
    parts.append(f"{legend}, at least {MIN_SEEDS} common seeds)" if common else "")
    return "\n\n".join(part for part in parts if part)


def differences(a: Tuned, b: Tuned, group: Group) -> tuple[Difference, ...]:
    """Tests every method and task that both studies have.

    Args:
      a: study A at its chosen settings.
      b: study B.
      group: data set and hyper-parameters, in both.

    Returns:
      One entry per method and task, methods in natural order.
    """
    tables = [x.study.tables[group] for x in (a, b)]
    kinds = [{task.name: task.kind for task in x.study.tasks} for x in (a, b)]
    tasks = [name for name, kind in kinds[0].items() if kinds[1].get(name) == kind]
    found = []
    for method in sorted(tables[0].keys() & tables[1].keys(), key=natural_order):
        for task in tasks:
            metric = PRIMARY[kinds[0][task]]
            first, second = (table[method].get(Place("test", task, metric), {}) for table in tables)
            one, two = (metrics.mean_interval(list(seeds.values())) for seeds in (first, second))
            gain = _paired(metric, first, second)
            found.append(Difference(method, task, metric, one, two, gain, math.nan))
    adjusted = metrics.holm([d.gain.p_value for d in found])
    return tuple(d._replace(p_adjusted=float(p)) for d, p in zip(found, adjusted))


def _paired(metric: str, first: Seeds, second: Seeds) -> PairedTest:
    seeds = sorted(first.keys() & second.keys())
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    return metrics.paired_test([sign * second[s] for s in seeds], [sign * first[s] for s in seeds])


def _config_text(a: Tuned, b: Tuned) -> str:
    lines = []
    for section in ("config", "provenance"):
        first, second = (dict(_flat(x.study.config.get(section) or {})) for x in (a, b))
        for key in dict.fromkeys((*first, *second)):
            one, two = first.get(key, MISSING), second.get(key, MISSING)
            if one != two:
                prefix = "" if section == "config" else "provenance: "
                lines.append(f"  {prefix}{key}: {_cut(one)} → {_cut(two)}")
    if not lines:
        return "The configs are equal."
    more = [f"  … and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    return "\n".join(["Differences of the configs, A → B:", *lines[:MAX_LINES], *more])


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested mappings, `train.learning_rate` → text."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _flat(part, f"{path}.{key}" if path else str(key))
    else:
        yield path, json.dumps(value, ensure_ascii=False, sort_keys=True)


def _cut(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _group_text(group: Group, found: tuple[Difference, ...]) -> str:
    if not found:
        return f"{group_title(group)}\n  No method and task in common."
    heads = ("model", "weighting", "task", "A", "B", "gain of B", "", "seeds")
    rows = [heads]
    for d in found:
        gain = Interval(d.gain.difference, d.gain.low, d.gain.high, d.gain.n)
        places = decimals([gain])
        sign = _sign(d)
        rows.append(
            (
                *d.method,
                f"{d.task} {metric_name(d.metric)}",
                interval_text(d.first, decimals([d.first])),
                interval_text(d.second, decimals([d.second])),
                interval_text(gain, places),
                f"{sign} {p_text(d.p_adjusted)}" if sign else "",
                str(d.gain.n),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([group_title(group), *lines, *_sentences(found)])


def _sign(d: Difference) -> str:
    if d.gain.n < MIN_SEEDS or not d.p_adjusted < LEVEL:
        return ""
    return "▲" if d.gain.difference > 0 else "▼"


def _sentences(found: tuple[Difference, ...]) -> list[str]:
    lines = []
    for sign, word in (("▲", "better"), ("▼", "worse")):
        for task in dict.fromkeys(d.task for d in found):
            methods = [d.method for d in found if d.task == task and _sign(d) == sign]
            if methods:
                lines.append(f"B is {word} on {task}: {method_list(methods)}.")
    same = sum(not _sign(d) for d in found)
    equal = sum(d.gain.n > 0 and d.gain.difference == d.gain.low == d.gain.high == 0 for d in found)
    if same:
        note = f", {equal} of them equal to the last digit" if equal else ""
        lines.append(f"Not shown to differ: {same} of {len(found)} comparisons{note}.")
    if not any(d.gain.n for d in found):
        lines.append("No seeds in common: train both with the same seeds.")
    return [textwrap.fill(line, 100, initial_indent="  · ", subsequent_indent="    ") for line in lines]


def _only(name: str, own: Tuned, other: Tuned) -> str:
    """What only one of the studies has."""
    lines = []
    for group, table in own.study.tables.items():
        rest = [m for m in table if m not in other.study.tables.get(group, {})]
        if group not in other.study.tables:
            lines.append(f"Only in {name}: {group_title(group)}.")
        elif rest:
            lines.append(f"Only in {name}, {group_title(group)}: {method_list(rest)}.")
    return "\n".join(lines)
