"""The claims of a paper, as data in a study's config, judged by the study's results.

A claim is a mapping:

    {"claim": "SB has the largest spread at correlation 1.",
     "metric": "mse",
     "tests": ({"value": ("over", ("std", "sb", "static", "correlation=1.0"),
                                  ("std", "mmoe", "static", "correlation=1.0")), "at_least": 1.0},)}

`value` is a formula: `("minus", a, b)`, `("over", a, b)` and `("max", a, b)` of formulas, or a statistic over
the seeds of one method under one condition, `(statistic, model, weighting, condition)`. A seed's number is
the metric on the test split at the setting that validation chose, the mean over tasks or, with a fifth part,
that of one task. For the statistic `seesaw` it is 1 where the run is better than the baseline's run of the
same seed on one task and worse on another, else 0.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtl.errors import InputError, unknown_name
from mtl.metrics import HIGHER_IS_BETTER, bootstrap, judge
from mtl.metrics.verdict import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from mtl.report.tuned import Tuned
from mtl.report.words import METRIC_NAMES
from mtl.report.workdir import Method, Place, Seeds

STATISTICS: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "std": lambda x, axis: np.std(x, axis=axis, ddof=1),
    "low": lambda x, axis: np.quantile(x, 0.05, axis=axis),
    "high": lambda x, axis: np.quantile(x, 0.95, axis=axis),
    "seesaw": np.mean,
}
"""Of the seeds of a cell; `low` and `high` are the 5 % and the 95 % quantile, which unlike the best and the
worst run have a bootstrap distribution."""

OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "minus": np.subtract,
    "over": np.divide,
    "max": np.maximum,
}

BOUNDS = ("at_least", "at_most", "between")


class ClaimTest(NamedTuple):
    """One part of a claim, judged.

    Attributes:
      says: the formula and its bound.
      verdict: as in `mtl.metrics.verdict`.
      value: the formula at the study's results; NaN without results.
      low: lower end of its 95 % bootstrap interval over seeds.
      high: upper end.
      seeds: number of seeds that all its cells have.
    """

    says: str
    verdict: str
    value: float
    low: float
    high: float
    seeds: int


class JudgedClaim(NamedTuple):
    """A claim with its verdict.

    Attributes:
      claim: its text.
      metric: what its numbers are values of.
      verdict: reproduced if all tests are, not reproduced if one is not, else undecided.
      tests: its parts.
    """

    claim: str
    metric: str
    verdict: str
    tests: tuple[ClaimTest, ...]


def judge_claims(tuned: Tuned) -> tuple[JudgedClaim, ...]:
    """Judges the claims of a study's config.

    Args:
      tuned: the study at the chosen settings.

    Returns:
      One entry per claim of `config.report.claims`, in order. A test on cells that the study does not have
      is undecided.

    Raises:
      InputError: a claim is malformed; see `check_claims`.
    """
    claims = (tuned.study.config["config"].get("report") or {}).get("claims") or ()
    check_claims(claims)
    used = [cell for claim in claims for test in claim["tests"] for cell in cells(test["value"])]
    named = len({weighting for _, _, weighting, *_ in used}) > 1
    judged = []
    for claim in claims:
        tests = tuple(_judge_test(test, claim["metric"], tuned, named) for test in claim["tests"])
        verdicts = {test.verdict for test in tests}
        verdict = NOT_REPRODUCED if NOT_REPRODUCED in verdicts else UNDECIDED
        verdict = REPRODUCED if verdicts == {REPRODUCED} else verdict
        judged.append(JudgedClaim(claim["claim"], claim["metric"], verdict, tests))
    return tuple(judged)


def as_records(judged: Sequence[JudgedClaim]) -> list[dict[str, Any]]:
    """The content of `verdicts.json`: for every claim the verdict and the test that decided it.

    Args:
      judged: the claims.

    Returns:
      JSON-serialisable records.
    """
    records = []
    for claim in judged:
        decisive = next((t for t in claim.tests if t.verdict == claim.verdict), claim.tests[0])
        seeds = min(test.seeds for test in claim.tests)
        records.append(
            {
                "claim": claim.claim,
                "verdict": claim.verdict,
                "estimate": {"value": decisive.value, "low": decisive.low, "high": decisive.high},
                "detail": f"{METRIC_NAMES.get(claim.metric, claim.metric)}: {decisive.says}; {seeds} seeds",
                "tests": [test._asdict() for test in claim.tests],
            }
        )
    return records


def check_claims(claims: Sequence[Mapping[str, Any]]) -> None:
    """Checks the form of claims.

    Args:
      claims: as in the module's docstring.

    Raises:
      InputError: a key is missing, or a formula has an unknown operation or statistic.
    """
    for claim in claims:
        for key in ("claim", "metric", "tests"):
            if not isinstance(claim, Mapping) or not claim.get(key):
                raise InputError(f"config.report.claims: a claim has no {key!r}: {claim!r}")
        for test in claim["tests"]:
            if sum(bound in test for bound in BOUNDS) != 1 or "value" not in test:
                wanted = ", ".join(BOUNDS)
                raise InputError(
                    f"config.report.claims: a test needs a value and one of {wanted}: {dict(test)!r}"
                )
            list(cells(test["value"]))


def cells(formula: Any) -> Iterator[tuple[str, ...]]:
    """Finds the statistics in a formula.

    Args:
      formula: as in the module's docstring.

    Yields:
      `(statistic, model, weighting, condition)`, and the task if it names one.

    Raises:
      InputError: it is malformed.
    """
    if not isinstance(formula, list | tuple) or not formula:
        raise InputError(f"config.report.claims: {formula!r} is no formula such as ('minus', a, b)")
    if formula[0] in OPERATIONS:
        if len(formula) != 3:
            raise InputError(f"config.report.claims: {formula[0]!r} needs two formulas: {formula!r}")
        for part in formula[1:]:
            yield from cells(part)
    elif formula[0] not in STATISTICS:
        raise unknown_name("operation in config.report.claims:", formula[0], [*OPERATIONS, *STATISTICS])
    elif len(formula) not in (4, 5):
        raise InputError(
            f"config.report.claims: {formula!r}, expected (statistic, model, weighting, condition[, task])"
        )
    else:
        yield tuple(formula)


def _judge_test(test: Mapping[str, Any], metric: str, tuned: Tuned, weightings: bool) -> ClaimTest:
    used = list(dict.fromkeys(cells(test["value"])))
    samples = [seeds_of(cell, metric, tuned) for cell in used]
    common = sorted(set.intersection(*(set(s) for s in samples)))
    values = [np.array([s[seed] for seed in common]) for s in samples]
    bound: dict[str, Any] = {
        key: tuple(test[key]) if key == "between" else test[key] for key in BOUNDS if key in test
    }
    ((kind, limit),) = bound.items()
    says = f"{_text(test['value'], weightings)} {kind.replace('_', ' ')} {_limit(limit)}"
    if len(common) < 2:
        return ClaimTest(says, UNDECIDED, math.nan, math.nan, math.nan, len(common))

    def formula(*arrays, axis=-1):
        return _evaluate(test["value"], dict(zip(used, arrays, strict=True)), axis)

    # The same seed draws the same data for every model, so a resample takes whole seeds.
    found = bootstrap(formula, *values, paired=True, expanded=True)
    verdict = judge(found, **bound).verdict
    return ClaimTest(says, verdict, float(found.value), float(found.low), float(found.high), len(common))


def seeds_of(cell: tuple[str, ...], metric: str, tuned: Tuned) -> dict[int, float]:
    """Finds the number of every seed, as the module's docstring says.

    Args:
      cell: a statistic, as `cells` yields it.
      metric: the claim's metric.
      tuned: the study at the chosen settings.

    Returns:
      Seed → number; empty where the study has no such cell.
    """
    statistic, model, weighting, condition, *task = cell
    study = tuned.study
    tasks = task or [t.name for t in study.tasks]
    for group, table in study.tables.items():
        if group.hparams == condition:
            runs = _values(table.get(Method(model, weighting), {}), tasks, metric)
            if statistic != "seesaw":
                return {seed: float(np.mean(values)) for seed, values in runs.items()}
            baseline = next((places for m, places in table.items() if m.model == study.baseline), {})
            sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
            gains = {
                s: sign * (runs[s] - v) for s, v in _values(baseline, tasks, metric).items() if s in runs
            }
            return {seed: float(gain.max() > 0 > gain.min()) for seed, gain in gains.items()}
    return {}


def _values(places: Mapping[Place, Seeds], tasks: Sequence[str], metric: str) -> dict[int, np.ndarray]:
    """Per seed that has them all the metric of every task."""
    found = [places.get(Place("test", task, metric), {}) for task in tasks]
    common = set.intersection(*map(set, found))
    return {seed: np.array([values[seed] for values in found]) for seed in common}


def _evaluate(formula: Any, arrays: Mapping[tuple, np.ndarray], axis: int) -> np.ndarray:
    if formula[0] in OPERATIONS:
        return OPERATIONS[formula[0]](*(_evaluate(part, arrays, axis) for part in formula[1:]))
    return STATISTICS[formula[0]](arrays[tuple(formula)], axis=axis)


def _text(formula: Any, weightings: bool = False) -> str:
    """A formula in words, such as `mean(mmoe, correlation=0.5) − mean(mmoe, correlation=1.0)`."""
    if formula[0] in ("minus", "over"):
        left, right = (_text(part, weightings) for part in formula[1:])
        sign = " − " if formula[0] == "minus" else " / "
        return sign.join(f"({x})" if " − " in x or " / " in x else x for x in (left, right))
    if formula[0] == "max":
        parts = [_text(part, weightings) for part in _flat(formula)]
        listed = parts if len(parts) <= 3 else [parts[0], "…", parts[-1]]
        return f"max({', '.join(listed)})"
    method = f"{formula[1]} × {formula[2]}" if weightings and formula[2] else formula[1]
    return f"{formula[0]}({', '.join(part for part in (method, *formula[3:]) if part)})"


def _flat(formula: Any) -> list[Any]:
    """The parts of a largest value, however it is nested."""
    if formula[0] != "max":
        return [formula]
    return [part for nested in formula[1:] for part in _flat(nested)]


def _limit(limit: Any) -> str:
    return f"{limit[0]:g} and {limit[1]:g}" if isinstance(limit, tuple) else f"{limit:g}"
