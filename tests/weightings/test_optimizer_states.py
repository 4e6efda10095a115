"""One optimiser per loss, one per owner, and alternating training, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl import task_jacobian, task_ownership, weightings
from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.weightings import alternating, mgda, per_loss, per_owner, static, uwl, weighting_state

RATE = 0.1
WEIGHTS = (0.5, 2.0, 1.5)
BATCHES = np.random.default_rng(0).normal(size=(6, 5, 3))


def start():
    rng = np.random.default_rng(1)
    return {
        "trunk": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32),
        "heads": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32),
        "second": jnp.asarray(rng.normal(size=2), jnp.float32),  # of task 1 alone
    }


def loss_fn(params, x):
    h = jnp.tanh(x @ params["trunk"])
    out = jnp.einsum("bh,th->tb", h, params["heads"])
    losses = jnp.mean((out - jnp.array([[0.5], [1.0], [-2.0]])) ** 2, axis=1)
    return losses.at[1].add(jnp.sum((params["second"] - 1) ** 2))


def train(tx, steps=6, scale=1.0):
    """Parameters and states after every step, and the gradients `[T, …]` that it saw."""

    def step(carry, x):
        params, state = carry
        losses, jac = task_jacobian(lambda p, x: loss_fn(p, x) * jnp.array([1.0, scale, 1.0]), params, x)
        update, state = tx.update(jac, state, params, losses=losses)
        params = optax.apply_updates(params, update)
        return (params, state), (params, state, jac.stacked())

    batches = jnp.asarray(BATCHES[:steps], jnp.float32)
    run = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), batches), compiler_options=compile_quickly())
    return jax.tree.map(np.asarray, run(start())[1])


class Adam:
    """Adam's step in float64, as its paper has it."""

    def __init__(self):
        """Nothing seen yet."""
        self.m = self.v = 0.0
        self.k = 0

    def __call__(self, g):
        """The update direction for a gradient."""
        self.k += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        return self.m / (1 - 0.9**self.k) / (np.sqrt(self.v / (1 - 0.999**self.k)) + 1e-8)


def moved(params):
    """What every step added to every parameter."""
    before = start()
    return {k: np.diff(np.concatenate([before[k][None], v]), axis=0) for k, v in params.items()}


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6)


# ---- one optimiser per loss ----------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [optax.identity(), optax.trace(0.9)], ids=["sgd", "momentum"])
def test_a_linear_optimiser_per_loss_is_one_for_the_sum(optimizer):
    many = optax.chain(per_loss(static(WEIGHTS), optimizer, 3), optax.scale(-RATE))
    one = optax.chain(static(WEIGHTS), optimizer, optax.scale(-RATE))
    jax.tree.map(close, train(many)[0], train(one)[0])


def test_adam_per_loss_sums_the_unit_steps_of_all_losses():
    params, _, grads = train(
        optax.chain(per_loss(static(WEIGHTS), optax.scale_by_adam(), 3), optax.scale(-RATE))
    )
    for name, change in moved(params).items():
        own = [Adam() for _ in WEIGHTS]
        for k, found in enumerate(change):
            steps = [a(np.float64(g)) for a, g in zip(own, grads[name][k], strict=True)]
            close(found, -RATE * sum(w * s for w, s in zip(WEIGHTS, steps, strict=True)))
    one, _, _ = train(optax.chain(static(WEIGHTS), optax.scale_by_adam(), optax.scale(-RATE)))
    assert np.abs(one["trunk"] - params["trunk"]).max() > 0.05


def test_units_of_a_loss_play_no_role_with_adam_per_loss():
    """Under one Adam for the sum a loss a thousand times as large rules the shared parameters."""
    many = optax.chain(per_loss(static(WEIGHTS), optax.scale_by_adam(), 3), optax.scale(-RATE))
    close(train(many, scale=1000.0)[0]["trunk"], train(many)[0]["trunk"])
    one = optax.chain(static(WEIGHTS), optax.adam(RATE))
    assert np.abs(train(one, scale=1000.0)[0]["trunk"] - train(one)[0]["trunk"]).max() > 0.05


def test_private_parameters_move_as_their_own_adam_moves_them():
    """With `shared` the weights leave them alone, and the losses that do not own them add nothing."""
    ownership = task_ownership(loss_fn, start(), jnp.asarray(BATCHES[0], jnp.float32))
    weighting = mgda(3, shared=ownership.shared)
    tx = optax.chain(
        per_loss(weighting, optax.scale_by_adam(), 3, shared=ownership.shared), optax.scale(-RATE)
    )
    params, states, grads = train(tx)
    assert states[0].weighting.weights.shape == (len(BATCHES), 3)
    for name, rows in (("heads", slice(None)), ("second", None)):
        adam = Adam()
        for k, found in enumerate(moved(params)[name]):
            gradient = np.einsum("tth->th", grads[name][k]) if rows is not None else grads[name][k][1]
            close(found, -RATE * adam(np.float64(gradient)))


def test_weightings_see_losses_and_gramian_as_without():
    """The first weights do not depend on the optimiser."""
    for weighting in (uwl(3), mgda(3)):
        _, one, _ = train(optax.chain(weighting, optax.sgd(RATE)), 1)
        _, many, _ = train(optax.chain(per_loss(weighting, optax.scale_by_adam(), 3), optax.scale(-RATE)), 1)
        close(weighting_state(many).weights, weighting_state(one).weights)


# ---- alternating ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "phase, turns",
    [(1, [0, 1, 2, 0, 1, 2]), (2, [0, 0, 1, 1, 2, 2]), ((2, 0, 1), [0, 0, 2, 0, 0, 2])],
)
def test_tasks_take_turns(phase, turns):
    params, states, grads = train(optax.chain(alternating(3, phase=phase), optax.sgd(RATE)))
    np.testing.assert_array_equal(states[0].weights, np.eye(3)[turns])
    for k, task in enumerate(turns):
        close(moved(params)["trunk"][k], -RATE * grads["trunk"][k][task])
        others = [t for t in range(3) if t != task]
        assert not moved(params)["heads"][k][others].any()


@pytest.mark.parametrize("phase", [-1, 0, (1, 2), (1, 2.5, 3), (0, 0, 0), True])
def test_phases_that_make_no_sense_are_refused(phase):
    with pytest.raises(InputError, match="phase"):
        alternating(3, phase=phase)


def owners():
    return task_ownership(loss_fn, start(), jnp.asarray(BATCHES[0], jnp.float32)).slices


def test_ownership_tells_the_owner_of_every_slice():
    found = owners()
    np.testing.assert_array_equal(found["heads"], np.eye(3, dtype=bool))
    np.testing.assert_array_equal(found["second"], [[False, True, False]])
    np.testing.assert_array_equal(found["trunk"], np.ones((3, 3), bool))


def test_plain_adam_moves_heads_of_tasks_that_are_not_trained():
    """What `per_owner` is for."""
    params, _, _ = train(optax.chain(alternating(3), optax.adam(RATE)))
    assert moved(params)["heads"][1][0].any()


def test_heads_and_their_moments_rest_until_their_turn():
    params, states, _ = train(
        optax.chain(per_owner(alternating(3), optax.scale_by_adam(), owners()), optax.scale(-RATE))
    )
    change = moved(params)
    for k in range(len(BATCHES)):
        for task in range(3):
            active = task == k % 3
            assert change["heads"][k][task].any() == active
            if k:
                moments = states[0].optimizers[str(task)]
                same = all(np.array_equal(x[k], x[k - 1]) for x in jax.tree.leaves(moments))
                assert same != active
        assert change["second"][k].any() == (k % 3 == 1)
        assert change["trunk"][k].any()


def test_a_head_moves_as_by_its_own_adam_in_its_own_steps():
    params, _, grads = train(
        optax.chain(per_owner(alternating(3), optax.scale_by_adam(), owners()), optax.scale(-RATE))
    )
    heads, trunk = [Adam() for _ in range(3)], Adam()
    for k in range(len(BATCHES)):
        task = k % 3
        close(moved(params)["heads"][k][task], -RATE * heads[task](np.float64(grads["heads"][k][task][task])))
        close(moved(params)["trunk"][k], -RATE * trunk(np.float64(grads["trunk"][k][task])))


def test_with_all_weights_positive_it_is_the_optimiser_alone():
    tx = optax.chain(per_owner(static(WEIGHTS), optax.scale_by_adam(), owners()), optax.scale(-RATE))
    jax.tree.map(close, train(tx)[0], train(optax.chain(static(WEIGHTS), optax.adam(RATE)))[0])


def test_decay_rests_with_the_head():
    inner = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.5))
    params, _, _ = train(optax.chain(per_owner(alternating(3), inner, owners()), optax.scale(-RATE)))
    assert not moved(params)["heads"][0][1:].any()


def test_a_parameter_without_owner_never_moves():
    slices = {**owners(), "second": np.zeros((1, 3), bool)}
    tx = optax.chain(per_owner(static(WEIGHTS), optax.scale_by_adam(), slices), optax.scale(-RATE))
    params, _, _ = train(tx)
    assert not moved(params)["second"].any()


def test_owners_of_other_parameters_are_refused():
    with pytest.raises(InputError, match="structure"):
        per_owner(static(WEIGHTS), optax.sgd(RATE), {"trunk": owners()["trunk"]}).init(start())
    slices = {**owners(), "second": np.eye(3, dtype=bool)}
    with pytest.raises(InputError, match="3 slices"):
        per_owner(static(WEIGHTS), optax.sgd(RATE), slices).init(start())


def test_a_weighting_that_is_not_finite_shows():
    tx = per_owner(uwl(3), optax.scale_by_adam(), owners())
    params = start()
    _, jac = task_jacobian(loss_fn, params, jnp.asarray(BATCHES[0], jnp.float32))
    update, _ = tx.update(jac, tx.init(params), params, losses=jnp.array([1.0, jnp.nan, 1.0]))
    assert not np.isfinite(np.asarray(update["heads"])).all()


def test_alternating_is_built_by_name():
    tx = weightings.build({"name": "alternating", "phase": 3}, kinds=("binary",) * 2)
    assert weightings.reads("alternating") == "losses"
    assert tx.init(None).weights.shape == (2,)
