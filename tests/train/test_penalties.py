"""What a model adds to the training losses, and to whose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.compilation import compile_quickly
from mtl.data import Schema
from mtl.models import build_model
from mtl.tasks import Task
from mtl.train import make_loss_fn

TASKS = (Task("a", "regression"), Task("b", "regression"))
SCHEMA = Schema((), ("x", "y", "z"), TASKS)
SPECS = {
    "snr": {"name": "snr", "l0_penalty": 0.1},
    "dselect_k": {"name": "dselect_k", "entropy_penalty": 0.1},
}


def setting(spec):
    """Loss function, parameters away from their start, and arguments."""
    model = build_model(spec, SCHEMA)
    rng = np.random.default_rng(0)
    batch = {
        "ids": jnp.zeros((8, 0), jnp.int32),
        "numeric": jnp.asarray(rng.normal(size=(8, 3)), jnp.float32),
        "labels": jnp.asarray(rng.normal(size=(8, 2)), jnp.float32),
    }
    init = jax.jit(model.init, compiler_options=compile_quickly())
    params = init({"params": jax.random.key(0)}, batch)["params"]
    params = jax.tree.map(lambda p: p + jnp.float32(0.3 * rng.normal(size=p.shape)), params)
    loss_fn = jax.jit(make_loss_fn(model, TASKS), static_argnames="train")
    return loss_fn, params, (batch, jax.random.key(2))


@pytest.mark.parametrize("name", SPECS)
def test_the_penalty_is_added_in_training_and_not_to_what_is_evaluated(name):
    penalty = next(key for key in SPECS[name] if key.endswith("penalty"))
    loss_fn, params, args = setting(SPECS[name])
    without, _, _ = setting({**SPECS[name], penalty: 0.0})
    twice, _, _ = setting({**SPECS[name], penalty: 0.2})
    none, once, double = (f(params, *args) for f in (without, loss_fn, twice))
    assert (once > none).all()
    np.testing.assert_allclose(double - none, 2 * (once - none), rtol=1e-4)
    np.testing.assert_array_equal(loss_fn(params, *args, train=False), without(params, *args, train=False))


@pytest.mark.parametrize(
    "name, own", [("snr", ("to_tasks", "log_alpha")), ("dselect_k", ("gate", "codes", "kernel"))]
)
def test_a_tasks_own_connections_move_its_own_loss_alone(name, own):
    loss_fn, params, args = setting(SPECS[name])
    leaf = jax.jit(jax.jacrev(loss_fn))(params, *args)["extractor"]
    for key in own:
        leaf = leaf[key]
    moves = np.abs(leaf).reshape(2, 2, -1).max(axis=-1) > 0
    np.testing.assert_array_equal(moves, np.eye(2, dtype=bool))


def test_connections_between_levels_are_penalised_in_all_losses_alike():
    with_penalty, params, args = setting(SPECS["snr"])
    without, _, _ = setting({**SPECS["snr"], "l0_penalty": 0.0})
    slopes = [
        jax.jit(jax.jacrev(f))(params, *args)["extractor"]["route1"]["log_alpha"]
        for f in (with_penalty, without)
    ]
    difference = slopes[0] - slopes[1]
    assert (difference > 0).all()
    np.testing.assert_allclose(difference[0], difference[1], rtol=1e-3, atol=1e-6)


def test_penalised_connections_close():
    """Thirty steps on the penalty alone lower the expected number of connections."""
    loss_fn, params, args = setting({"name": "snr", "l0_penalty": 0.9})
    plain, _, _ = setting({"name": "snr", "l0_penalty": 0.0})

    @jax.jit
    def step(params, _):
        slope = jax.grad(lambda p: (loss_fn(p, *args) - plain(p, *args)).sum())(params)
        return jax.tree.map(lambda p, s: p - 0.5 * s, params, slope), None

    after, _ = jax.lax.scan(step, params, length=30)
    for route in ("route1", "to_tasks"):
        found = [p["extractor"][route]["log_alpha"] for p in (params, after)]
        assert (found[1] < found[0]).all()
