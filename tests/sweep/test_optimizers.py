"""`train.optimizers` in a study: what it changes, what it leaves, what is refused."""

import csv

import pytest

from mtl.errors import InputError
from mtl.sweep import check_config, make_plan, plain, run_plan, study_config

PER_OWNER = ("static", {"name": "alternating", "phase": 2})


def plan(weightings, **train):
    config = study_config(
        "s",
        {"name": "mmoe_synthetic", "dim": 4, "num_train": 40, "num_val": 8, "num_test": 8},
        ({"name": "mmoe", "num_experts": 2, "expert_features": (4,), "tower_features": (3,)},),
        weightings,
        seeds=1,
        train={"batch_size": 10, "steps": 8, "eval_every": 8, "learning_rate": 0.03, **train},
        sweep={} if "optimizers" in train else {"train": {"optimizers": ("one", "per_loss", "per_owner")}},
        report={"baseline": ""},
    )
    return make_plan(check_config(plain(config)))


def values(found, workdir):
    """The test errors by weighting and way of optimising."""
    assert run_plan(found, workdir) == []
    with (workdir / "results.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["split"], r["metric"]) == ("test", "mse")]
    out = {}
    for row in rows:
        key = row["weighting"].partition("(")[0], row["hparams"].removeprefix("optimizers=")
        out.setdefault(key, []).append(float(row["value"]))
    return out


def test_linear_optimisers_with_fixed_weights_give_one_result(tmp_path):
    found = values(plan(("static",), optimizer="momentum"), tmp_path)
    assert len(found) == 3
    for mses in found.values():
        assert mses == pytest.approx(found["static", "one"], rel=1e-4)


def test_adam_per_loss_is_another_method_and_alternating_leaves_heads_alone(tmp_path):
    found = values(plan(PER_OWNER, optimizer="adam"), tmp_path)
    assert found["static", "per_owner"] == pytest.approx(found["static", "one"], rel=1e-4)
    assert found["static", "per_loss"] != pytest.approx(found["static", "one"], rel=1e-3)
    assert found["alternating", "per_owner"] != pytest.approx(found["alternating", "one"], rel=1e-3)


@pytest.mark.parametrize(
    "weighting, optimizers, message",
    [
        ("moco", "per_loss", "'moco' does not weigh this step's gradients"),
        ("mgda", "per_owner", "'mgda' gives private parameters their own gradient"),
        ("static", "each", "unknown train.optimizers 'each'"),
    ],
)
def test_what_cannot_work_is_refused(weighting, optimizers, message):
    with pytest.raises(InputError, match=message):
        plan((weighting,), optimizers=optimizers)


def test_a_balancer_at_a_tap_works_with_an_optimiser_per_loss(tmp_path):
    found = values(plan(({"name": "mgda", "tap": True},), optimizers="per_loss"), tmp_path)
    assert len(found) == 1
