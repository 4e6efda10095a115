"""Ranges of a search: what is refused, and what a trial's draws become."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtl.errors import InputError
from mtl.sweep.space import axes, check_space, corners, decode, simplex_point

RATE = {"learning_rate": ("log", 1e-4, 1e-1)}


def space(**section):
    return check_space(section, ["mmoe", "ple"], ["static", "uwl"])


def found(weighting="static", num_tasks=2, **section):
    return axes(space(**section), "mmoe", weighting, num_tasks)


# ---- values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "u, weights",
    [
        ((0.25,), (0.75, 0.25)),
        ((0.0,), (1.0, 0.0)),
        ((0.25, 0.5), (0.5, 0.25, 0.25)),
        ((0.125, 0.25, 0.5), (0.5, 0.25, 0.125, 0.125)),
    ],
)
def test_points_of_the_simplex_by_hand(u, weights):
    assert simplex_point(u) == pytest.approx(weights, abs=1e-15)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_points_lie_on_the_simplex(u):
    weights = simplex_point(u)
    assert len(weights) == len(u) + 1
    assert min(weights) >= 0
    assert sum(weights) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("num_tasks", [2, 3, 5])
def test_uniform_draws_are_uniform_on_the_simplex(num_tasks):
    draws = np.random.default_rng(0).uniform(size=(4000, num_tasks - 1))
    weights = np.array([simplex_point(u) for u in draws])
    for t in range(num_tasks):  # each weight of a uniform point is Beta(1, T − 1)
        assert stats.kstest(weights[:, t], stats.beta(1, num_tasks - 1).cdf).pvalue > 0.01


def test_draws_become_arguments_of_their_sections():
    own = found(
        num_tasks=3,
        train={**RATE, "batch_size": ("choice", 16, 32)},
        models={"mmoe": {"num_experts": ("int", 2, 8)}, "ple": {"num_levels": ("int", 1, 3)}},
        weightings={"static": {"weights": ("simplex",)}, "uwl": {"learning_rate": ("log", 1e-3, 1.0)}},
    )
    drawn = {
        "train.learning_rate": 0.02,
        "train.batch_size": 1,
        "model.num_experts": 5,
        "weighting.weights.0": 0.25,
        "weighting.weights.1": 0.5,
    }
    assert {part.name for axis in own for part in axis.parts} == set(drawn)
    assert decode(own, drawn) == {
        "train": {"learning_rate": 0.02, "batch_size": 32},
        "dataset": {},
        "model": {"num_experts": 5},
        "weighting": {"weights": (0.5, 0.25, 0.25)},
    }


def test_corners_have_both_ends_and_every_choice():
    own = found(train={**RATE, "optimizer": ("choice", "adam", "sgd", "adamw")})
    values = [decode(own, drawn)["train"] for drawn in corners(own)]
    assert {v["optimizer"] for v in values} == {"adam", "sgd", "adamw"}
    assert {v["learning_rate"] for v in values} == {1e-4, 1e-1}


# ---- mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "section, message",
    [
        ({"trails": 3}, r"unknown key in config.sweep.search: 'trails' \(did you mean 'trials'\?\)"),
        ({"trials": 0}, "search.trials is 0, expected a count of at least 1"),
        ({"batch": 2.5}, "search.batch is 2.5, expected a count"),
        ({"sampler": "gp"}, "unknown config.sweep.search.sampler 'gp'; expected one of: random, tpe"),
        ({"storage": 3}, "search.storage is 3, expected the URL"),
        ({"pruner": "median", "objective": "tasks"}, "there is no one value to prune by"),
        ({"pruner": "median", "seeds": 2}, "search.seeds is 2, but a pruner judges single runs"),
        ({"train": ("log", 1, 2)}, "search.train is .*, expected a mapping"),
        ({"models": {"omoe": RATE}}, "unknown name in config.sweep.search.models: 'omoe'"),
        ({"weightings": {"mgda": RATE}}, "unknown name in config.sweep.search.weightings: 'mgda'"),
        ({"train": {"dtype": ("choice", "float32")}}, "'dtype' cannot be searched"),
        ({"dataset": {"seed": ("int", 0, 3)}}, "'seed' cannot be searched"),
    ],
)
def test_a_wrong_section(section, message):
    with pytest.raises(InputError, match=message):
        space(**section)


@pytest.mark.parametrize(
    "value, message",
    [
        (0.1, r"learning_rate is 0.1, expected one of \('uniform', …\)"),
        (("normal", 0, 1), "expected one of"),
        (("log", 0.0, 1.0), "expected a lowest and a highest number above 0 after 'log'"),
        (("uniform", 1.0, 1.0), "expected a lowest and a highest number after 'uniform'"),
        (("uniform", 0.0, float("inf")), "expected a lowest and a highest number"),
        (("int", 1, 2.5), "expected a lowest and a highest integer after 'int'"),
        (("choice",), "expected the values after 'choice'"),
        (("simplex",), "expected weights of at least two tasks, and nothing after 'simplex'"),
    ],
)
def test_a_wrong_range(value, message):
    with pytest.raises(InputError, match=message) as error:
        found(train={"learning_rate": value})
    assert str(error.value).startswith("config.sweep.search.train.learning_rate is ")
    assert "\n" not in str(error.value)


def test_a_method_without_a_range_is_refused():
    with pytest.raises(InputError, match="has no range for mmoe x uwl; give one that all methods take"):
        found("uwl", weightings={"static": {"weights": ("simplex",)}})
