"""What every method was given: examples, and backward passes."""

import math
from typing import Any, NamedTuple

import numpy as np

from mtl.errors import InputError
from mtl.report.tuned import Tuned
from mtl.report.workdir import Group, Method, Study

TRIALS = 32
"""Settings that a search tries if its config does not say, see `mtl.sweep.space`."""


class Budget(NamedTuple):
    """The budget of one run of a method, a mean over its seeds; NaN where unknown.

    Attributes:
      steps: batches read, up to the last record of the run.
      examples: steps × batch size.
      backward_passes: updates × backward passes per update.
      settings: hyper-parameter settings that were tried, swept or by a search, of which one is compared.
    """

    steps: float
    examples: float
    backward_passes: float
    settings: int


def budgets(tuned: Tuned) -> dict[tuple[Group, Method], Budget]:
    """Works out the budget of every method.

    Args:
      tuned: the study at the chosen settings. Its `config.json` may hold `costs`, an object with an entry
        per weighting label: `{"uwl": {"backward_passes": 1, "batches": 1}}`, the passes and the batches of
        one update.

    Returns:
      (group, method) → budget.

    Raises:
      InputError: `costs` is malformed.
    """
    study = tuned.study
    last: dict[tuple[Group, Method], dict[int, int]] = {}
    for record in study.records:
        seeds = last.setdefault((record.group, record.method), {})
        seeds[record.seed] = max(record.step, seeds.get(record.seed, 0))
    costs = _costs(study)
    config = study.config["config"]
    search = (config.get("sweep") or {}).get("search") or {}
    found = {}
    for group, table in study.tables.items():
        for method in table:
            key = (group, method)
            steps = float(np.mean(list(last[key].values()))) if key in last else math.nan
            searched = method.weighting.partition(" #")[0]  # a point of the front that a search has found
            passes, batches = costs.get(method.weighting) or costs.get(searched) or (math.nan, 1.0)
            setting = dict(part.partition("=")[::2] for part in tuned.chosen.get(key, "").split(";"))
            size = setting.get("batch_size") or (config.get("train") or {}).get("batch_size")
            found[key] = Budget(
                steps=steps,
                examples=steps * float(size or math.nan),
                backward_passes=steps / batches * passes,
                settings=len(tuned.variants.get(key, ()))
                or (int(search.get("trials", TRIALS)) if search else 1),
            )
    return found


def _costs(study: Study) -> dict[str, tuple[float, float]]:
    """Weighting → backward passes and batches per update."""
    costs = study.config.get("costs") or {}
    if not isinstance(costs, dict):
        raise InputError("config.json: costs is not an object; expected one entry per weighting, or no costs")
    return {str(name): _cost(name, cost) for name, cost in costs.items()}


def _cost(name: str, cost: Any) -> tuple[float, float]:
    try:
        passes, batches = float(cost["backward_passes"]), float(cost.get("batches", 1))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'config.json: costs of {name!r} need {{"backward_passes": number, "batches": number}}, '
            "per update; correct the entry or remove it"
        ) from error
    if passes < 0 or batches < 1:
        raise InputError(
            f"config.json: costs of {name!r} are {passes:g} passes and {batches:g} batches per update; "
            "expected at least 0 and 1"
        )
    return passes, batches
