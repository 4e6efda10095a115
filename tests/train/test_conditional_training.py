"""Which rows train which conditional probability."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.data import Schema
from mtl.models import build_model
from mtl.tasks import Task, conditional_losses
from mtl.train import make_loss_fn

TASKS = (
    Task("click"),
    Task("cart", parents=("click",), requires=("click",)),
    Task("buy", parents=("cart",), requires=("cart",)),
)
SCHEMA = Schema((), ("x", "y", "z"), TASKS)
LABELS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]], np.float32)
SMALL = {"bottom_features": (6,), "tower_features": (4,)}


def cross_entropy(logit, label):
    return np.logaddexp(0, logit) - label * logit


def test_conditional_losses_by_hand():
    logits = np.linspace(-1, 2, 18).reshape(3, 6).astype(np.float32)
    found = conditional_losses(TASKS, logits, LABELS)
    clicked, carted = [1, 2, 3, 5], [2, 3]
    expected = [
        0,
        cross_entropy(logits[1], LABELS[:, 1])[clicked].mean(),
        cross_entropy(logits[2], LABELS[:, 2])[carted].mean(),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # A masked click is not known to have happened.
    mask = np.ones((6, 3), bool)
    mask[1, 0] = False
    found = conditional_losses(TASKS, logits, LABELS, mask)
    np.testing.assert_allclose(found[1], cross_entropy(logits[1], LABELS[:, 1])[[2, 3, 5]].mean(), rtol=1e-6)
    nobody = conditional_losses(TASKS, logits, np.zeros_like(LABELS))
    np.testing.assert_array_equal(nobody, np.zeros(3))


def setting(spec):
    model = build_model({**SMALL, **spec}, SCHEMA)
    rng = np.random.default_rng(0)
    batch = {
        "ids": jnp.zeros((6, 0), jnp.int32),
        "numeric": jnp.asarray(rng.normal(size=(6, 3)), jnp.float32),
        "labels": jnp.asarray(LABELS),
    }
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)["params"]
    # Biases that keep units on, and weights that keep sigmoids from their ends.
    params = jax.tree_util.tree_map_with_path(
        lambda path, p: jnp.float32(0.3 * rng.normal(size=p.shape) + path[-1].key.startswith("bias")), shapes
    )
    return make_loss_fn(model, TASKS), params, batch


def slope_at_inputs(spec):
    """|∂ loss of task t / ∂ features of row b| `[T, B]`."""
    loss_fn, params, batch = setting(spec)

    def losses(numeric):
        return loss_fn(params, {**batch, "numeric": numeric}, jax.random.key(1))

    return np.abs(jax.jit(jax.jacrev(losses))(batch["numeric"])).max(axis=2)


def test_trained_on_clicks_alone_a_rate_never_sees_the_other_rows():
    slope = slope_at_inputs({"name": "esmm", "supervise": "conditional"})
    np.testing.assert_array_equal(slope > 0, [[True] * 6, LABELS[:, 0] == 1, LABELS[:, 1] == 1])


@pytest.mark.parametrize("name", ["esmm", "esm2", "kl_bound", "aitm"])
def test_on_the_entire_space_every_row_trains_every_task(name):
    assert (slope_at_inputs({"name": name}) > 0).all()


def test_clicks_only_and_esmm_are_one_network_with_one_output():
    _, params, batch = setting({"name": "esmm"})
    outputs = [
        build_model({"name": "esmm", "supervise": s, **SMALL}, SCHEMA).apply({"params": params}, batch)
        for s in ("joint", "conditional")
    ]
    np.testing.assert_array_equal(*outputs)


def test_in_training_clicks_only_shares_nothing():
    loss_fn, params, batch = setting({"name": "clicks_only"})
    jacobian = jax.jit(jax.jacrev(lambda p: loss_fn(p, batch, jax.random.key(1))))(params)
    for leaf in jax.tree.leaves(jacobian):
        moves = np.abs(np.asarray(leaf)).reshape(3, 3, -1).max(axis=2) > 0
        assert not moves[~np.eye(3, dtype=bool)].any()


def test_the_kl_bounds_loss_is_the_sum_of_its_parts():
    spec = {"name": "kl_bound", "bound": 0.5}
    loss_fn, params, batch = setting(spec)
    without, _, _ = setting({**spec, "bound": 0.0})
    model = build_model({**SMALL, **spec}, SCHEMA)
    outputs, sown = model.apply({"params": params}, batch, train=True, mutable=["conditionals", "penalties"])
    joint = cross_entropy(np.asarray(outputs[..., 0], np.float64), LABELS.T).mean(axis=1)
    (logits,) = jax.tree.leaves(sown["conditionals"])
    (bound,) = jax.tree.leaves(sown["penalties"])
    parts = joint + np.asarray(conditional_losses(TASKS, logits, LABELS))
    np.testing.assert_allclose(without(params, batch, jax.random.key(1)), parts, rtol=1e-5)
    np.testing.assert_allclose(loss_fn(params, batch, jax.random.key(1)), parts + bound, rtol=1e-5)
