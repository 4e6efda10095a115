"""The search of parameters finds what was planted, is reproducible, and never worse than where it starts."""

import sys

import numpy as np
import pytest

from mtl.errors import InputError
from mtl.fusion import FUSIONS, fuse, search_fusion
from mtl.metrics import gauc, ndcg

pytest.importorskip("optuna")


def requests(seed, num=60, rows=8):
    """Scores p of click and like, of which the label needs the square of the second, and a useless third."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.05, 1.0, (num * rows, 3))
    value = np.log(scores[:, 0]) + 2 * np.log(scores[:, 1])
    labels = (value + 0.3 * rng.normal(size=len(value)) > -1.5).astype(float)
    return scores, labels, np.repeat(np.arange(num), rows)


def test_the_planted_exponents_are_found_and_hold_on_the_test_rows():
    scores, labels, groups = requests(0)
    found = search_fusion("commerce", scores, labels, groups, trials=60, seed=1)
    a = np.array(found.parameters["exponents"])
    assert a[2] < 0.3 * a[0] < 0.3 * a[1]
    assert found.value == gauc(fuse("commerce", scores, groups, **found.parameters), labels, groups).value
    assert found.start == gauc(fuse("commerce", scores, groups), labels, groups).value
    scores, labels, groups = requests(1)
    chosen = gauc(fuse("commerce", scores, groups, **found.parameters), labels, groups).value
    assert chosen > gauc(fuse("commerce", scores, groups), labels, groups).value + 0.02


@pytest.mark.parametrize("name", FUSIONS)
def test_every_formula_can_be_searched_and_is_never_worse_than_its_defaults(name):
    scores, labels, groups = requests(2, num=20)
    found = search_fusion(name, scores, labels, groups, objective="ndcg", k=3, trials=8, seed=3)
    assert found.trials[0]["value"] == found.start <= found.value == max(t["value"] for t in found.trials)
    assert [t["number"] for t in found.trials] == list(range(8))
    again = fuse(name, scores, groups, **found.parameters)
    assert ndcg(again, labels, groups, 3).value == found.value


def test_the_seed_decides_and_ranges_are_kept():
    scores, labels, groups = requests(3, num=20)
    ranges = {"weights": (2.0, 5.0)}
    runs = [
        search_fusion("weighted_sum", scores, labels, groups, trials=15, seed=seed, ranges=ranges)
        for seed in (4, 4, 5)
    ]
    assert runs[0] == runs[1] != runs[2]
    tried = np.array([t["parameters"]["weights"] for t in runs[0].trials])
    assert tried.min() >= 2.0
    assert tried.max() <= 5.0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"formula": "sum"}, "unknown fusion 'sum'"),
        ({"objective": "auc"}, "unknown objective 'auc'"),
        ({"trials": 0}, "trials is 0, expected an integer >= 1"),
        ({"ranges": {"powers": (0, 1)}}, "unknown parameter of commerce: 'powers'"),
        ({"ranges": {"exponents": (1, 1)}}, "'exponents' has .*, expected a lowest and a highest number"),
        ({"labels": np.ones(160)}, "no group has labels that gauc can judge"),
    ],
)
def test_bad_input_is_named(arguments, message):
    scores, labels, groups = requests(4, num=20)
    given = {"formula": "commerce", "scores": scores, "labels": labels, "groups": groups, **arguments}
    with pytest.raises(InputError, match=message):
        search_fusion(**given)


def test_without_optuna_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        InputError, match=r"needs Optuna, which is not installed; pip install 'mtl\[search\]'"
    ):
        search_fusion("commerce", *requests(4, num=2))
