"""A study that starts from what an earlier one ended with."""

import csv
import json

import jax
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.sweep import check_config, make_plan, plain, run_plan, study_config
from mtl.sweep.start import _finished, take_parts
from mtl.train import read_best

WEIGHTS = ({"name": "static", "label": "first", "weights": (1.0, 0.0)},)
MODEL = {"name": "mmoe", "num_experts": 2, "expert_features": (4,), "tower_features": (3,)}


def plan(weightings=WEIGHTS, models=(MODEL,), dataset=None, **train):
    config = study_config(
        "s",
        {"name": "mmoe_synthetic", "dim": 4, "num_train": 40, "num_val": 8, "num_test": 8, **(dataset or {})},
        models,
        weightings,
        seeds=2,
        train={"batch_size": 10, "steps": 8, "eval_every": 4, "learning_rate": 0.03, **train},
        report={"baseline": ""},
    )
    return make_plan(check_config(plain(config)))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Trained on task 1 alone."""
    folder = tmp_path_factory.mktemp("first")
    assert run_plan(plan(), folder) == []
    return folder


def best(workdir):
    (group,) = (workdir / "checkpoints").iterdir()
    return read_best(group / "last")["params"]


def test_the_selected_parameters_can_be_read(first):
    found = best(first)
    assert set(found) == {"encoder", "extractor", "towers", "transfer"} & set(found)
    assert all(isinstance(x, np.ndarray) and x.shape[0] == 2 for x in jax.tree.leaves(found))


def test_frozen_parts_stay_those_of_the_earlier_run_of_the_same_seed(first, tmp_path):
    run_plan(plan(("static",), init_from=str(first), freeze=("extractor",)), tmp_path)
    before, after = best(first), best(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, after["extractor"], before["extractor"])
    leaves = jax.tree.leaves(before["extractor"])
    assert any(not np.array_equal(x[0], x[1]) for x in leaves)  # the seeds differ, and were not mixed up
    assert any(
        not np.array_equal(x, y)
        for x, y in zip(jax.tree.leaves(before["towers"]), jax.tree.leaves(after["towers"]), strict=True)
    )


def test_what_is_taken_over_moves_on_and_helps(first, tmp_path):
    """The loss of the first steps is that of a trained model; parts that are not named start afresh."""
    parts = ("extractor", "towers", "transfer")
    losses = {}
    for name, more in (("fresh", {}), ("warm", {"init_from": str(first), "init_parts": parts})):
        folder = tmp_path / name
        folder.mkdir()
        run_plan(plan(WEIGHTS, **more), folder)
        records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        losses[name] = next(r["loss"]["task_1"] for r in records if r["kind"] == "train" and r["seed"] == 0)
    assert losses["warm"] < losses["fresh"]


def test_other_data_may_follow(first, tmp_path):
    run_plan(plan(init_from=str(first), init_parts=("extractor",), dataset={"seed": 7}), tmp_path)
    with (tmp_path / "results.csv").open(newline="") as file:
        assert {row["seed"] for row in csv.DictReader(file)} == {"0", "1"}


def test_a_balancer_without_anything_left_to_balance_is_refused(tmp_path):
    with pytest.raises(InputError, match="freeze leaves 'mgda' nothing that tasks share"):
        run_plan(plan(("mgda",), freeze=("extractor",)), tmp_path)


def test_running_statistics_come_with_their_parts():
    def variables(value):
        kernel, mean = np.full(2, value, np.float32), np.full(3, value, np.float32)
        params = {"extractor": {"norm": {"scale": kernel}}, "towers": {"norm": {"scale": kernel}}}
        return {"params": params, "batch_stats": jax.tree.map(lambda _: mean, params)}

    found = take_parts(variables(0), variables(1), ("encoder", "extractor/norm"))
    for collection in ("params", "batch_stats"):
        assert found[collection]["extractor"]["norm"]["scale"].all()
        assert not found[collection]["towers"]["norm"]["scale"].any()


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"models": ({**MODEL, "label": "other"},)},
            "no finished run of model 'other' with seed 0; its models are",
        ),
        (
            {"models": ({**MODEL, "expert_features": (5,), "label": "mmoe"},)},
            "no finished run of model 'mmoe'",
        ),
        ({"init_parts": ("experts",)}, "no parameter lies below 'experts'"),
        (
            {"init_parts": "encoder"},
            "train.init_parts is 'encoder', expected a tuple of names|expected tuple",
        ),
        ({"freeze": ("nothing",)}, "no parameter lies below 'nothing'"),
        ({"init_from": "/nowhere"}, "'/nowhere', which holds no finished run"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_said_before_training(first, options, message):
    with pytest.raises(InputError, match=message):
        plan(**{"init_from": str(first), **options})


def test_a_shape_that_differs_is_named_before_training(first):
    label = _finished(str(first))[0].key["model"]
    wider = {**MODEL, "expert_features": (5,), "label": label}
    with pytest.raises(InputError, match=r"'extractor/.* has shape .* where the training starts from"):
        plan(models=(wider,), init_from=str(first))
