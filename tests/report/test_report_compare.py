"""Two workdirs side by side."""

import math

import pytest
from scipy import stats
from study_files import runs, write_study

from mtl import metrics
from mtl.report import read_study, tune
from mtl.report.compare import compare, differences
from mtl.report.workdir import Group, Method

A = [0.50, 0.55, 0.52, 0.58]
B = [0.60, 0.66, 0.61, 0.70]
RMSE = [1.0, 1.1, 1.2, 1.0]
WORSE = [1.3, 1.5, 1.4, 1.4]


def pair(tmp_path):
    """B is better on t0 and worse on t1 for m × uwl; m × mgda is equal; the rest is in one only."""
    same = runs("m", "mgda", A) + runs("m", "mgda", RMSE, task="t1", metric="rmse")
    first = same + runs("m", "uwl", A) + runs("m", "uwl", RMSE, task="t1", metric="rmse")
    first += runs("m", "static", A)
    second = same + runs("m", "uwl", [*B, 0.9]) + runs("m", "uwl", WORSE, task="t1", metric="rmse")
    second += runs("m", "uwl", A, hparams="p=2")
    config = {"seeds": 4, "train": {"learning_rate": 0.1}}
    write_study(tmp_path / "a", first, config=config)
    write_study(tmp_path / "b", second, config={**config, "train": {"learning_rate": 0.2}})
    return tmp_path / "a", tmp_path / "b"


def test_differences_are_paired_by_seed_and_equal_scipy(tmp_path):
    a, b = pair(tmp_path)
    found = differences(*(tune(read_study(folder)) for folder in (a, b)), Group("d", ""))
    by_key = {(d.method.weighting, d.task): d for d in found}
    better, worse = by_key["uwl", "t0"], by_key["uwl", "t1"]
    assert better.gain.n == 4  # the fifth seed of B has no partner
    assert better.second.n == 5
    assert better.gain.p_value == pytest.approx(stats.ttest_rel(B, A).pvalue)
    assert worse.gain.difference == pytest.approx(-0.325)
    raw = [d.gain.p_value for d in found]
    assert [d.p_adjusted for d in found] == pytest.approx(metrics.holm(raw).tolist(), nan_ok=True)
    assert by_key["mgda", "t0"].gain.p_value == 1.0


def test_the_text_says_what_differs(tmp_path):
    text = compare(*pair(tmp_path))
    assert "  train.learning_rate: 0.1 → 0.2" in text
    assert "seeds:" not in text  # what is equal is not listed
    row = next(line for line in text.splitlines() if "uwl" in line and "t0 AUC" in line)
    assert "+" not in row
    assert "0.105 ±" in row
    assert "▲ p = " in row
    assert "B is better on t0: m × uwl." in text
    assert "B is worse on t1: m × uwl." in text
    assert "2 of 4 comparisons, 2 of them equal to the last digit" in text
    assert "Only in A, d: m × static." in text
    assert "Only in B: d · p=2." in text


def test_a_study_against_itself(tmp_path):
    a, _ = pair(tmp_path)
    text = compare(a, a)
    assert "The configs are equal." in text
    assert "▲ p" not in text
    assert "Only in" not in text


def test_two_seeds_are_too_few_to_call(tmp_path):
    for name, values in (("a", [0.5, 0.6]), ("b", [0.7001, 0.8])):
        write_study(tmp_path / name, runs("m", "uwl", values), kinds=("binary",))
    (found,) = differences(*(tune(read_study(tmp_path / n)) for n in "ab"), Group("d", ""))
    assert found.method == Method("m", "uwl")
    assert found.p_adjusted < 0.01
    assert "Not shown to differ: 1 of 1" in compare(tmp_path / "a", tmp_path / "b")


def test_nothing_in_common_is_told(tmp_path):
    write_study(tmp_path / "a", runs("m", "uwl", A), kinds=("binary",))
    write_study(tmp_path / "b", runs("m", "uwl", A, hparams="p=1"), kinds=("binary",))
    assert "there is nothing to compare" in compare(tmp_path / "a", tmp_path / "b")
    write_study(tmp_path / "b", runs("m", "uwl", A), kinds=("regression",))
    assert "No method and task in common." in compare(tmp_path / "a", tmp_path / "b")


def test_each_study_stands_at_its_own_choice(tmp_path):
    sweep = {"sweep": {"train": {"lr": [1, 2]}}}
    rows = []
    for lr, val in ((1, 0.9), (2, 0.1)):
        rows += runs("m", "uwl", [val] * 3, hparams=f"lr={lr}", split="val")
        rows += runs("m", "uwl", [0.1 * lr, 0.2, 0.3], hparams=f"lr={lr}")
    a = tune(write_study(tmp_path / "a", rows, kinds=("binary",), config=sweep))
    b = tune(write_study(tmp_path / "b", runs("m", "uwl", [0.5, 0.6, 0.6]), kinds=("binary",)))
    (found,) = differences(a, b, Group("d", ""))
    assert found.first.mean == pytest.approx(0.2)
    assert not math.isnan(found.gain.p_value)
