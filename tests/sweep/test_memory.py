"""What a study says of its memory."""

import json

import jax
import pytest

from mtl import sweep
from mtl.models import initial_variables
from mtl.sweep.estimate import estimate

ROWS = {"num_train": 64, "num_val": 20, "num_test": 12}


def plan_of(batch_size):
    return sweep.make_plan(
        sweep.check_config(
            sweep.plain(
                sweep.study_config(
                    name="memory",
                    dataset={"name": "mmoe_synthetic", "dim": 4, **ROWS},
                    models=({"name": "shared_bottom", "bottom_features": (8,), "tower_features": (4,)},),
                    weightings=("static",),
                    seeds=1,
                    train={"batch_size": batch_size, "steps": 4, "eval_every": 4, "steps_per_call": 2},
                    report={"baseline": ""},
                )
            )
        )
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """`memory.json` of runs with batches of 4 and of 64, and the dry run's estimate of the first."""
    found = []
    for batch_size in (4, 64):
        workdir = tmp_path_factory.mktemp("memory")
        plan = plan_of(batch_size)
        assert sweep.run_plan(plan, workdir) == []
        (path,) = workdir.glob("checkpoints/*/memory.json")
        found.append(json.loads(path.read_text()))
    (expected,) = estimate(plan_of(4))
    return *found, expected


def test_bytes_by_hand(told):
    small, _, _ = told
    model = plan_of(4).models[0][2]
    row = {"ids": jax.numpy.zeros((1, 0), int), "numeric": jax.numpy.zeros((1, 4))}
    shapes = jax.eval_shape(lambda: initial_variables(model, jax.random.key(0), row))
    parameters = 4 * sum(x.size for x in jax.tree.leaves(shapes))
    assert small["runs"] == 1
    assert small["parameters"] == small["best"] == parameters
    # Two moments, and a few numbers of Adam's and the weighting's.
    assert 2 * parameters < small["optimizer"] < 2 * parameters + 100
    # Four features and two labels of the training rows, four features of the others, padded to equal blocks.
    least = 4 * (64 * 6 + 32 * 4)
    assert least <= small["data"] < 2 * least
    parts = ("parameters", "optimizer", "best", "data", "program")
    assert small["total"] == sum(small[part] for part in parts)


def test_larger_batches_need_more_for_the_program_and_the_same_otherwise(told):
    small, large, _ = told
    assert large["program"] > small["program"] > 0
    for part in ("parameters", "optimizer", "best"):
        assert large[part] == small[part]


def test_the_dry_run_says_the_same_beforehand(told):
    small, _, expected = told
    assert expected.memory == small["total"]
