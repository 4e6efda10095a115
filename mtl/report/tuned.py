"""Tuned hyper-parameters: every method is compared at the setting that validation chose for it."""

import math
from typing import NamedTuple

import numpy as np

from mtl.metrics import selection, selection_value
from mtl.report.workdir import Group, Method, Place, Seeds, Study, Table

Variants = dict[str, dict[Place, Seeds]]
"""Tuned hyper-parameters, as `key=value;key=value` → results of one method."""


class Tuned(NamedTuple):
    """A study at the settings that validation chose.

    Attributes:
      study: the results of the chosen settings; its groups differ in data only.
      chosen: (group, method) → the setting, `key=value;key=value`; empty when nothing was tuned.
      score: (group, method) → setting → value on validation by which it was chosen, higher is better; NaN
        for a setting that could not be chosen.
      variants: (group, method) → setting → results; empty when nothing was tuned.
    """

    study: Study
    chosen: dict[tuple[Group, Method], str]
    score: dict[tuple[Group, Method], dict[str, float]]
    variants: dict[tuple[Group, Method], Variants]


def tune(study: Study) -> Tuned:
    """Chooses each method's training hyper-parameters on validation, by one rule for all.

    The keys of `config.sweep.train` are tuned: of their values a method keeps those with the highest mean
    over seeds of `config.train.select`, the number that also selects the step. Keys of
    `config.sweep.dataset` and those in `config.report.conditions` are conditions, and stay separate groups.

    Args:
      study: the study's results.

    Returns:
      The study at the chosen settings. A setting with a failed or missing seed is not chosen while a
      complete one exists; among equals the one that comes first in `results.csv` is taken.
    """
    sweep = study.config["config"].get("sweep") or {}
    named = {key for group in study.tables for key, _ in _parts(group.hparams)}
    report = study.config["config"].get("report") or {}
    keys = set(sweep.get("train") or {}) & named - set(report.get("conditions") or ())
    if not keys:
        return Tuned(study, {}, {}, {})
    variants: dict[tuple[Group, Method], Variants] = {}
    for group, table in study.tables.items():
        condition, setting = _split(group, keys)
        for method, places in table.items():
            variants.setdefault((condition, method), {})[setting] = places
    score = {key: _scores(study, settings) for key, settings in variants.items()}
    chosen = {key: _best(values) for key, values in score.items()}
    tables: dict[Group, Table] = {}
    for (group, method), setting in chosen.items():
        tables.setdefault(group, {})[method] = variants[group, method][setting]
    records = []
    for record in study.records:
        condition, setting = _split(record.group, keys)
        if chosen.get((condition, record.method)) == setting:
            records.append(record._replace(group=condition))
    return Tuned(study._replace(tables=tables, records=tuple(records)), chosen, score, variants)


def at_the_end(tuned: Tuned) -> dict[str, list[tuple[Group, Method]]]:
    """Finds choices at the end of the range that was tried, where a wider one might be better.

    Args:
      tuned: the study at the chosen settings.

    Returns:
      Key → the (group, method) whose chosen value is its smallest or largest of at least three numbers.
    """
    sweep = tuned.study.config["config"].get("sweep") or {}
    found: dict[str, list[tuple[Group, Method]]] = {}
    for name, values in (sweep.get("train") or {}).items():
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < 3 or len(numbers) < len(values):
            continue
        ends = (min(numbers), max(numbers))
        for key, setting in tuned.chosen.items():
            value = dict(_parts(setting)).get(name)
            if value is not None and any(math.isclose(float(value), end) for end in ends):
                found.setdefault(name, []).append(key)
    return found


def _parts(hparams: str) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (part.partition("=") for part in hparams.split(";")) if key]


def _split(group: Group, tuned: set[str]) -> tuple[Group, str]:
    """Separates the conditions of a group from the settings that are tuned."""
    parts = _parts(group.hparams)
    condition = ";".join(f"{k}={v}" for k, v in parts if k not in tuned)
    return Group(group.dataset, condition), ";".join(f"{k}={v}" for k, v in parts if k in tuned)


def _scores(study: Study, settings: Variants) -> dict[str, float]:
    most = max(len(_seeds(places)) for places in settings.values())
    return {
        setting: _score(study, places) if len(_seeds(places)) == most else math.nan
        for setting, places in settings.items()
    }


def _seeds(places: dict[Place, Seeds]) -> set[int]:
    return {seed for place, seeds in places.items() if place.split == "val" for seed in seeds}


def _score(study: Study, places: dict[Place, Seeds]) -> float:
    """Mean over seeds of the number that selects the step; NaN where a metric of it is missing."""
    select = (study.config["config"].get("train") or {}).get("select", "mean")
    metrics: dict[str, dict[str, float]] = {task.name: {} for task in study.tasks}
    for part in selection(study.tasks, select):
        seeds = places.get(Place("val", part.task, part.metric), {})
        metrics[part.task][part.metric] = float(np.mean(list(seeds.values()))) if seeds else math.nan
    return selection_value(study.tasks, metrics, select)


def _best(score: dict[str, float]) -> str:
    known = {setting: value for setting, value in score.items() if not math.isnan(value)}
    return max(known or score, key=lambda setting: known.get(setting, -math.inf))
