"""Claims as data: formulas over cells, verdicts, and what a malformed claim is told."""

import math

import numpy as np
import pytest

from mtl.errors import InputError
from mtl.report.claim_tests import as_records, check_claims, judge_claims
from mtl.report.tuned import tune
from mtl.report.workdir import Group, Method, Place, Study
from mtl.tasks import Task

TASKS = (Task("left", "regression"), Task("right", "regression"))
LOW, HIGH = "correlation=0.5", "correlation=1.0"


def study(cells, claims):
    """A study whose seeds have, for (model, condition), the given errors on both tasks' mean."""
    tables = {}
    for (model, condition), values in cells.items():
        table = tables.setdefault(Group("d", condition), {}).setdefault(Method(model, "static"), {})
        for task, shift in (("left", 1.0), ("right", -1.0)):  # the mean over tasks takes the shift out
            table[Place("test", task, "mse")] = {seed: v + shift for seed, v in enumerate(values)}
    return tune(Study("s", {"config": {"report": {"claims": claims}}}, TASKS, "", "", tables, ()))


def cell(statistic, model, condition):
    return (statistic, model, "static", condition)


def claim(*tests):
    return {"claim": "c", "metric": "mse", "tests": tests}


def only(cells, **test):
    (judged,) = judge_claims(study(cells, (claim(test),)))
    return judged.tests[0]


NOISE = np.random.default_rng(0).normal(size=40)
CELLS = {
    ("a", LOW): 10 + NOISE,
    ("b", LOW): 12 + NOISE + 0.1 * NOISE[::-1],
    ("a", HIGH): 10 + 3 * NOISE[::-1],
    ("b", HIGH): 20 + 3 * NOISE,
}


def test_formulas_are_evaluated_on_the_mean_over_tasks():
    a, b = CELLS["a", LOW], CELLS["b", LOW]
    minus = ("minus", cell("mean", "b", LOW), cell("mean", "a", LOW))
    assert only(CELLS, value=minus, at_least=0.0).value == pytest.approx(np.mean(b - a))
    over = ("over", cell("std", "a", HIGH), ("max", cell("std", "a", LOW), cell("std", "b", LOW)))
    spread = max(a.std(ddof=1), b.std(ddof=1))
    assert only(CELLS, value=over, at_least=0.0).value == pytest.approx(CELLS["a", HIGH].std(ddof=1) / spread)
    for name, share in (("low", 0.05), ("high", 0.95)):
        found = only(CELLS, value=cell(name, "a", LOW), at_least=0.0).value
        assert found == pytest.approx(np.quantile(a, share))


def test_seeds_are_paired():
    """The noise that a seed brings to both cells is no doubt about their difference."""
    minus = ("minus", cell("mean", "b", LOW), cell("mean", "a", LOW))
    paired = only(CELLS, value=minus, at_least=0.0)
    shuffled = {**CELLS, ("b", LOW): CELLS["b", LOW][::-1]}
    crossed = only(shuffled, value=minus, at_least=0.0)
    assert paired.value == pytest.approx(crossed.value)
    assert paired.high - paired.low < 0.3 * (crossed.high - crossed.low)
    assert paired.seeds == 40


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        ({"at_least": 1.5}, "reproduced"),
        ({"at_least": 2.5}, "not reproduced"),
        ({"at_most": 2.5}, "reproduced"),
        ({"between": (1.5, 2.5)}, "reproduced"),
        ({"between": (3.0, 4.0)}, "not reproduced"),
        ({"at_least": 2.0}, "undecided"),
    ],
)
def test_an_interval_decides(bound, verdict):
    minus = ("minus", cell("mean", "b", LOW), cell("mean", "a", LOW))
    found = only(CELLS, value=minus, **bound)
    assert found.verdict == verdict
    assert found.low < found.value < found.high


def test_one_task_and_the_share_of_seesaws():
    found = only(CELLS, value=(*cell("mean", "a", LOW), "left"), at_least=0.0)
    assert found.value == pytest.approx(CELLS["a", LOW].mean() + 1)
    assert found.says == "mean(a, correlation=0.5, left) at least 0"
    places = {}
    for model, left, right in (("base", [1, 1, 1, 1], [1, 1, 1, 1]), ("m", [0, 2, 0, 2], [2, 2, 0, 1])):
        values = {"left": left, "right": right}
        places[Method(model, "static")] = {
            Place("test", t, "mse"): dict(enumerate(map(float, v))) for t, v in values.items()
        }
    test = {"value": cell("seesaw", "m", LOW), "at_most": 0.9}
    config = {"config": {"report": {"claims": (claim(test),)}}}
    tuned = tune(Study("s", config, TASKS, "base", "", {Group("d", LOW): places}, ()))
    assert judge_claims(tuned)[0].tests[0].value == 0.25  # the first seed; worse on both is no seesaw


def test_a_claim_needs_all_its_tests():
    good = {"value": cell("mean", "a", LOW), "at_least": 0.0}
    bad = {"value": cell("mean", "a", LOW), "at_least": 99.0}
    open_ = {"value": cell("mean", "a", LOW), "at_least": float(CELLS["a", LOW].mean())}
    claims = tuple(claim(*tests) for tests in ((good, good), (good, open_), (good, open_, bad)))
    judged = judge_claims(study(CELLS, claims))
    assert [c.verdict for c in judged] == ["reproduced", "undecided", "not reproduced"]
    records = as_records(judged)
    assert records[2]["estimate"]["value"] == pytest.approx(CELLS["a", LOW].mean())
    assert records[2]["detail"] == "MSE: mean(a, correlation=0.5) at least 99; 40 seeds"
    assert len(records[2]["tests"]) == 3


def test_cells_that_the_study_lacks_leave_a_claim_undecided():
    for missing in (cell("mean", "c", LOW), cell("mean", "a", "correlation=0.9")):
        found = only(CELLS, value=missing, at_least=0.0)
        assert (found.verdict, found.seeds) == ("undecided", 0)
        assert math.isnan(found.value)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ([{"claim": "c", "tests": ()}], "a claim has no 'metric'"),
        ([claim({"value": cell("mean", "a", LOW)})], "a test needs a value and one of at_least"),
        ([claim({"value": cell("mean", "a", LOW), "at_least": 0, "at_most": 1})], "one of at_least"),
        ([claim({"value": cell("median", "a", LOW), "at_least": 0})], "unknown operation .* 'median'"),
        ([claim({"value": ("minus", cell("mean", "a", LOW)), "at_least": 0})], "'minus' needs two formulas"),
        ([claim({"value": ("mean", "a"), "at_least": 0})], r"expected \(statistic, model, weighting, cond"),
        ([claim({"value": 3, "at_least": 0})], "3 is no formula"),
    ],
)
def test_malformed_claims_are_named(claims, message):
    with pytest.raises(InputError, match=message):
        check_claims(claims)
