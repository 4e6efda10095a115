"""Every weighting inside the trainer: epochs, keys, several batches, losses after the step."""

import functools

import jax
import numpy as np
import pytest

from mtl import weightings
from mtl.compilation import compile_quickly
from mtl.data import mmoe_synthetic
from mtl.models import build_model
from mtl.train import (
    Stack,
    TrainSettings,
    TrainState,
    budget,
    chain,
    find_ownership,
    group_data,
    layout_for,
    make_step,
    model_program,
    train_group,
    train_program,
)

SETTINGS = TrainSettings(batch_size=8, learning_rate=0.01, steps=24, eval_every=6, steps_per_call=6)
ARGUMENTS = {"static": {"weights": 1.0}}


@functools.cache
def dataset():
    return mmoe_synthetic(dim=4, num_train=72, num_val=20, num_test=20, seed=0)


TASKS = dataset().schema.tasks


@functools.cache
def model():
    spec = {"name": "mmoe", "num_experts": 2, "expert_features": (6,), "tower_features": (4,)}
    return build_model(spec, dataset().schema)


@functools.cache
def start():
    """Parameters, and which of them the tasks share."""
    batch = {k: v[:4] for k, v in dataset().splits["train"].items()}
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    params = jax.jit(model().init, compiler_options=compile_quickly())(keys, batch)["params"]
    return params, find_ownership(model(), TASKS, params, batch).shared


def build(name):
    spec = {"name": name, **ARGUMENTS.get(name, {})}
    params, shared = start()
    kinds = [t.kind for t in TASKS]
    return params, weightings.build(spec, kinds=kinds, shared=shared, steps_per_epoch=2)


@pytest.mark.parametrize("name", weightings.WEIGHTINGS)
def test_a_model_learns(name):
    """Sixty steps on one batch: finite, and the sum of the losses falls."""
    params, weighting = build(name)
    optimizer = chain(weighting, SETTINGS, 60)
    asks = weightings.needs(name)
    step = make_step(model(), TASKS, optimizer, losses_after=asks.losses_after)
    batch = dataset().splits["train"]

    @functools.partial(jax.jit, compiler_options=compile_quickly())
    def train(state):
        others = (batch,) * (asks.batches - 1)
        return jax.lax.scan(lambda s, k: step(s, batch, k, *others), state, keys)

    keys = jax.random.split(jax.random.key(0), 60)
    _, metrics = train(TrainState(params, optimizer.init(params), {}))
    assert np.asarray(metrics.finite).all()
    totals = np.asarray(metrics.losses).sum(axis=1)
    assert totals[-5:].mean() < 0.9 * totals[0]


@functools.cache
def functions(num_runs):
    layout = layout_for(num_runs)
    return layout, model_program(model(), layout)


def fit(name, seeds):
    _, weighting = build(name)
    asks = weightings.needs(name)
    steps = budget(SETTINGS, 72, asks.batches)
    layout, program = functions(len(seeds))
    train = train_program(
        model(),
        TASKS,
        lambda numbers: chain(weighting, SETTINGS, steps.steps),
        steps,
        SETTINGS.batch_size,
        layout,
        losses_after=asks.losses_after,
    )
    data = group_data([dataset().splits], 8, layout)
    runs = Stack(np.array(seeds, np.uint32), np.zeros(len(seeds), np.int32), {})
    return train_group(layout, program, train, TASKS, SETTINGS, steps, data, runs)


def weights_of(result):
    return [tuple(c["weight"].values()) for c in result.curves if c["kind"] == "train"]


@pytest.mark.parametrize("name", ["rlw", "famo", "modo", "dwa"])
def test_stacked_runs_are_the_runs_alone(name):
    """Three seeds in one program; the middle one again by itself."""
    together = fit(name, (0, 1, 2))
    (alone,) = fit(name, (1,))
    np.testing.assert_allclose(weights_of(together[1]), weights_of(alone), rtol=1e-4, atol=1e-5)
    assert weights_of(together[0]) != weights_of(together[1])
    assert [c["step"] for c in alone.curves if c["kind"] == "train"] == [6, 12, 18, 24]
    assert alone.failed is None
