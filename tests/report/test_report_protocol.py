"""Ranks, wins, trade-offs and budgets of a report, against hand-computed values and SciPy."""

import math

import numpy as np
import pytest
from scipy import stats
from study_files import runs, train_record, write_study

from mtl.errors import InputError
from mtl.report import assess, tune, verdicts
from mtl.report.figure import look
from mtl.report.plot_tasks import plot_tasks
from mtl.report.workdir import Method

VALUES = {"a": (0.1, 0.2, 0.3, 0.4), "b": (0.5, 0.1, 0.6, 0.7), "c": (0.9, 0.8, 0.95, 0.6)}
COSTS = {"x": {"backward_passes": 3, "batches": 2}}


def method(model):
    return Method(model, "x")


def first_group(folder, rows, **options):
    return assess(tune(write_study(folder, rows, **options)))[0]


def two_tasks(**values):
    """model=(AUC per seed, RMSE per seed)."""
    rows = []
    for model, (auc, rmse) in values.items():
        rows += runs(model, "x", auc) + runs(model, "x", rmse, task="t1", metric="rmse")
    return rows


def test_ranks_equal_scipy_with_seeds_as_blocks(tmp_path):
    rows = [row for model, values in VALUES.items() for row in runs(model, "x", values)]
    found = first_group(tmp_path, rows, kinds=("binary",))
    (ranking,) = found.rankings
    columns = np.array([VALUES[m.model] for m in ranking.methods])
    assert [m.model for m in ranking.methods] == ["c", "b", "a"]
    np.testing.assert_allclose(ranking.test.mean_ranks, stats.rankdata(-columns, axis=0).mean(axis=1))
    assert ranking.test.chi2 == pytest.approx(stats.friedmanchisquare(*columns).statistic)
    # Demšar 2006, table 5: q = 2.343 for three methods.
    assert ranking.difference == pytest.approx(2.343 * math.sqrt(3 * 4 / (6 * 4)), rel=1e-3)
    np.testing.assert_allclose(ranking.test.mean_ranks, [1.25, 2.0, 2.75])
    assert ranking.cliques == ((0, 1, 2),)  # 1.5 apart at most, the critical difference is 1.66


def test_tasks_are_averaged_within_a_seed_not_taken_as_blocks(tmp_path):
    rows = two_tasks(a=((0.9, 0.8), (2, 1)), b=((0.5, 0.9), (1, 2)), c=((0.1, 0.2), (3, 3)))
    whole, *single = first_group(tmp_path, rows).rankings
    assert whole.name == "all tasks"
    assert whole.test.n == 2  # seeds, although there are four seed × task pairs
    ranks = dict(zip([m.model for m in whole.methods], whole.test.mean_ranks))
    assert ranks == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert [ranking.name for ranking in single] == ["t0", "t1"]


def test_a_method_with_a_failed_seed_is_left_out_of_the_ranks(tmp_path):
    rows = runs("a", "x", [0.1, 0.2, 0.3]) + runs("b", "x", [0.2, "nan", 0.4]) + runs("c", "x", [0.3, 0.4])
    (ranking,) = first_group(tmp_path, rows, kinds=("binary",)).rankings
    assert ranking.methods == (method("a"),)
    assert set(ranking.left_out) == {method("b"), method("c")}
    assert math.isnan(ranking.difference)


def test_probability_of_improvement_by_hand(tmp_path):
    # Seed by seed against single: a wins on both tasks, on one, on one.
    rows = two_tasks(single=((0.5,) * 3, (1.0,) * 3), a=((0.6, 0.6, 0.4), (0.9, 1.1, 0.9)))
    found = first_group(tmp_path, rows, baseline="single")
    estimate = found.improvement[method("a")]
    assert found.reference == method("single")
    assert estimate.value == pytest.approx((1 + 0.5 + 0.5) / 3)
    low, high = stats.t.interval(0.95, 2, 2 / 3, stats.sem([1, 0.5, 0.5]))
    assert (estimate.low, estimate.high) == pytest.approx((max(low, 0), min(high, 1)))
    assert method("single") not in found.improvement


def test_winning_every_seed_is_not_certainty(tmp_path):
    rows = runs("single", "x", [0.5, 0.6, 0.7]) + runs("a", "x", [0.6, 0.7, 0.9])
    estimate = first_group(tmp_path, rows, kinds=("binary",), baseline="single").improvement[method("a")]
    # Clopper and Pearson: a chance below (α/2)^(1/n) would rarely win n of n.
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1.0, 0.025 ** (1 / 3), 1.0))


def test_front_and_hypervolume_by_hand(tmp_path):
    # Gains scaled from worst (0.5, 4) to best (0.9, 2): a (1, ½), b (½, 1), c (0, 0) and once (½, ½).
    rows = two_tasks(
        a=((0.9, 0.9), (3, 3)),
        b=((0.7, 0.7), (2, 2)),
        c=((0.5, 0.7), (4, 3)),
    )
    trade = first_group(tmp_path, rows).trade_off
    assert trade.worst == pytest.approx([0.5, 4.0])
    assert trade.best == pytest.approx([0.9, 2.0])
    a, b, c = (trade.positions[method(m)] for m in "abc")
    assert [p.on_front for p in (a, b, c)] == [True, True, False]
    assert (a.front_share, c.front_share) == (1.0, 0.0)
    assert (a.hypervolume.mean, b.hypervolume.mean) == pytest.approx((0.5, 0.5))
    assert c.hypervolume.mean == pytest.approx((0 + 0.25) / 2)
    assert c.hypervolume.n == 2


def test_static_weights_of_one_model_make_a_front(tmp_path):
    rows = []
    for name, auc, rmse in (("static 1:3", 0.9, 3), ("static", 0.7, 2), ("uwl", 0.5, 4)):
        rows += runs("m", name, [auc, auc]) + runs("m", name, [rmse, rmse], task="t1", metric="rmse")
    (front,) = first_group(tmp_path, rows).trade_off.static_fronts
    assert front.model == "m"
    assert {m.weighting for m in front.methods} == {"static", "static 1:3"}
    assert front.hypervolume.mean == pytest.approx(0.5 + 0.5 - 0.25)  # the union of the two boxes


def test_no_trade_off_with_one_task(tmp_path):
    assert first_group(tmp_path, runs("a", "x", [1, 2]), kinds=("binary",)).trade_off is None


def test_budgets_count_batches_and_updates(tmp_path):
    records = [train_record("a", "x", seed, step) for seed, last in ((0, 60), (1, 40)) for step in (10, last)]
    rows = runs("a", "x", [0.1, 0.2]) + runs("a", "y", [0.1, 0.2])
    options = {"kinds": ("binary",), "records": records, "config": {"train": {"batch_size": 32}}}
    found = first_group(tmp_path, rows, costs=COSTS, **options)
    # 50 batches of 32 rows on average; an update takes two batches and three passes.
    assert found.budgets[method("a")] == (50, 1600, 75, 1)
    assert all(math.isnan(x) for x in found.budgets[Method("a", "y")][:3])
    without = first_group(tmp_path, rows, **options)
    assert without.budgets[method("a")].examples == 1600
    assert math.isnan(without.budgets[method("a")].backward_passes)


def test_trials_of_a_search_count_as_settings(tmp_path):
    config = {"sweep": {"search": {"trials": 12}}}
    found = first_group(tmp_path, runs("a", "x", [0.1, 0.2]), kinds=("binary",), config=config)
    assert found.budgets[method("a")].settings == 12


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ([1], "costs is not an object"),
        ({"x": 3}, "costs of 'x' need"),
        ({"x": {"batches": 1}}, "costs of 'x' need"),
        ({"x": {"backward_passes": 1, "batches": 0}}, "1 passes and 0 batches"),
    ],
)
def test_malformed_costs_are_refused(tmp_path, costs, message):
    study = write_study(tmp_path, runs("a", "x", [1, 2]), kinds=("binary",), costs=costs)
    with pytest.raises(InputError, match=message):
        assess(tune(study))


def test_the_static_front_is_drawn_as_steps(tmp_path):
    rows = []
    for name, auc, rmse in (("static 1:3", 0.9, 3), ("static", 0.7, 2), ("static 3:1", 0.6, 3)):
        rows += runs("m", name, [auc, auc]) + runs("m", name, [rmse, rmse], task="t1", metric="rmse")
    study = write_study(tmp_path, rows)
    figure = plot_tasks(assess(tune(study)), look(study))
    dashed = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-pre"]
    (line,) = dashed
    # The dominated point is left out; without a baseline the axes show the metrics themselves.
    assert line.get_xydata().tolist() == [[0.7, 2.0], [0.9, 3.0]]


def test_the_verdict_tells_what_is_beyond_the_critical_difference(tmp_path):
    rows = []
    for i, model in enumerate("abc"):
        rows += runs(model, "x", [0.5 + 0.1 * i + 0.01 * seed for seed in range(8)])
    tuned = tune(write_study(tmp_path, rows, kinds=("binary",)))
    (verdict,) = verdicts(tuned, assess(tuned))
    # q = 2.343, CD = 2.343 √(12 / 48) = 1.17; ranks 1, 2, 3.
    (line,) = verdict.lines
    assert line.endswith("best mean rank 1.0, c × x; beyond the critical difference of 1.2 from it: a × x.")


def test_a_study_of_its_baseline_alone_has_a_figure_without_weightings(tmp_path):
    rows = runs("m", "static", [0.7, 0.8]) + runs("m", "static", [2, 3], task="t1", metric="rmse")
    study = write_study(tmp_path, rows, baseline="m")
    assert plot_tasks(assess(tune(study)), look(study)) is not None
