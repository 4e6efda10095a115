"""Everything that is said of a group, in one place."""

from typing import NamedTuple

import numpy as np

from mtl import metrics
from mtl.metrics import HIGHER_IS_BETTER, Estimate
from mtl.report.budget import Budget, budgets
from mtl.report.ranking import Ranking, rankings
from mtl.report.summary import GroupSummary, summarise
from mtl.report.trade_off import TradeOff, trade_off
from mtl.report.tuned import Tuned
from mtl.report.workdir import Method, Place, Table

FEW_SEEDS = 20
"""Below this many seeds the bootstrap interval is too narrow, and Student's t is kept."""


class Assessment(NamedTuple):
    """A group of comparable runs.

    Attributes:
      summary: means, gains, tests, Δm.
      reference: what `improvement` compares with: the baseline, without one the best static weighting.
      improvement: method → probability that a run of it beats the reference's run of the same seed on a
        task, averaged over tasks.
      rankings: ranks over seeds, of all tasks first.
      trade_off: Pareto front and hypervolume; None where they have no meaning.
      budgets: method → what it was given.
      chosen: method → the setting that validation chose; empty when nothing was tuned.
    """

    summary: GroupSummary
    reference: Method | None
    improvement: dict[Method, Estimate]
    rankings: tuple[Ranking, ...]
    trade_off: TradeOff | None
    budgets: dict[Method, Budget]
    chosen: dict[Method, str]


def assess(tuned: Tuned) -> tuple[Assessment, ...]:
    """Judges every group of a study.

    Args:
      tuned: the study at the chosen settings.

    Returns:
      One assessment per group, in natural order.

    Raises:
      InputError: the costs in `config.json` are malformed.
    """
    spent = budgets(tuned)
    assessments = []
    for summary in summarise(tuned.study):
        table, group = tuned.study.tables[summary.group], summary.group
        reference = summary.baseline or summary.best_static
        assessments.append(
            Assessment(
                summary=summary,
                reference=reference,
                improvement=_improvement(table, summary, reference),
                rankings=rankings(table, summary),
                trade_off=trade_off(tuned.study, summary),
                budgets={m: spent[group, m] for m in table},
                chosen={m: tuned.chosen[group, m] for m in table if (group, m) in tuned.chosen},
            )
        )
    return tuple(assessments)


def _improvement(table: Table, group: GroupSummary, reference: Method | None) -> dict[Method, Estimate]:
    if reference is None:
        return {}
    places = [Place("test", *measure) for measure in group.primary]
    higher = [HIGHER_IS_BETTER[metric] for _, metric in group.primary]
    found = {}
    for method in table:
        ours, theirs = ([table[m].get(place, {}) for place in places] for m in (method, reference))
        seeds = sorted(set.intersection(*(set(column) for column in (*ours, *theirs))))
        if method == reference or not seeds:
            continue
        x, y = (np.array([[column[s] for column in columns] for s in seeds]) for columns in (ours, theirs))
        found[method] = _probability(x, y, np.array(higher))
    return found


def _probability(x: np.ndarray, y: np.ndarray, higher: np.ndarray) -> Estimate:
    """P(x beats y on the same seed) of `[seeds, tasks]`.

    Measured coverage of the 95 % interval, two tasks, 1500 samples, the least of five cases of true
    probability and correlation (bootstrap / Student's t): 3 seeds 0.89 / 0.99, 5 seeds 0.91 / 0.98,
    10 seeds 0.94 / 0.94, 20 seeds 0.95 / 0.94.
    """
    estimate = metrics.probability_of_improvement(x, y, higher, paired=True)
    gap = np.where(higher, 1.0, -1.0) * (x - y)
    score = (0.5 * (gap > 0) + 0.5 * (gap >= 0)).mean(axis=1)
    if estimate.n >= FEW_SEEDS or np.isnan(estimate.low) or np.ptp(score) == 0:
        value, low, high, n = estimate
        return Estimate(float(value), float(low), float(high), n)
    _, low, high, n = metrics.mean_interval(score)
    return Estimate(float(estimate.value), max(low, 0.0), min(high, 1.0), n)
