"""PAPERec: rewards, targets and averages by hand; two groups of users with opposite conflicts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.personalised import (
    PAPERecTrainState,
    Replay,
    Transitions,
    critic_targets,
    paperec,
    paperec_step,
    polyak,
    push,
    rewards,
    sample,
    user_gramians,
    user_means,
)

# ---- by hand ------------------------------------------------------------------------------------------


def test_rewards_are_minus_the_squared_length_of_the_weighted_gradient():
    gradients = np.array([[[3.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [-2.0, 0.0]]])  # users × tasks × parameters
    gramians = jnp.asarray(np.einsum("utp,usp->uts", gradients, gradients), jnp.float32)
    weights = jnp.array([[0.5, 0.5], [0.25, 0.75]])
    # ‖(1.5, .5)‖² = 2.5 and ‖(.5 − 1.5, 0)‖² = 1
    np.testing.assert_allclose(rewards(weights, gramians, normalise=False), [-2.5, -1.0], rtol=1e-6)
    # The mean square of a gradient is (9 + 1 + 4 + 4) / 4 = 4.5.
    np.testing.assert_allclose(rewards(weights, gramians), [-2.5 / 4.5, -1 / 4.5], rtol=1e-6)
    np.testing.assert_array_equal(rewards(weights, jnp.zeros((2, 2, 2))), [0.0, 0.0])


def test_targets_of_the_critic():
    found = critic_targets(jnp.array([-1.0, -0.5]), jnp.array([-10.0, 4.0]), 0.9)
    np.testing.assert_allclose(found, [-10.0, 3.1], rtol=1e-6)


def test_target_networks_are_running_means():
    found = polyak({"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([2.0, -4.0])}, 0.25)
    np.testing.assert_allclose(found["w"], [1.25, -1.0])


def transitions(first, count):
    numbers = jnp.arange(first, first + count, dtype=jnp.float32)
    return Transitions(numbers[:, None], jnp.ones((count, 2)) / 2, numbers, numbers[:, None])


def test_the_replay_keeps_the_last_and_draws_only_what_is_there():
    replay = Replay(jax.tree.map(jnp.zeros_like, transitions(0, 5)), jnp.zeros((), jnp.int32))
    replay = push(replay, transitions(1, 2))
    assert set(np.asarray(sample(replay, jax.random.key(0), 50).rewards)) == {1.0, 2.0}
    replay = push(replay, transitions(3, 4))
    assert sorted(np.asarray(replay.kept.rewards)) == [2.0, 3.0, 4.0, 5.0, 6.0]
    with pytest.raises(InputError, match="holds 5 transitions, but 6 came"):
        push(replay, transitions(0, 6))


def test_means_over_the_rows_of_a_user():
    values = jnp.array([[1.0], [3.0], [10.0], [5.0]])
    np.testing.assert_allclose(user_means(values, jnp.array([7, 7, 2, 7])), [[3.0], [3.0], [10.0], [3.0]])


# ---- gradients of rows --------------------------------------------------------------------------------

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
USERS = jnp.array([0, 1, 0, 1, 1])


def row_losses(params, batch, zeros=0.0):
    h = jnp.tanh(batch["x"] @ params["trunk"]) + zeros
    return (h @ params["heads"].T - jnp.array([1.0, -1.0])) ** 2


def model():
    rng = np.random.default_rng(1)
    return {
        "trunk": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32),
        "heads": jnp.asarray(rng.normal(size=(2, 4)), jnp.float32),
    }


def test_gramians_are_those_of_the_mean_gradients_of_each_users_rows():
    params, batch = model(), {"x": X}
    found = user_gramians(row_losses, params, batch, USERS, shared={"trunk": True, "heads": False})
    assert found.shape == (5, 2, 2)
    for user in (0, 1):
        rows = np.flatnonzero(np.asarray(USERS) == user)

        def mean_loss(trunk, task, rows=rows):
            return row_losses({**params, "trunk": trunk}, {"x": X[rows]})[:, task].mean()

        flat = np.stack([np.ravel(jax.grad(mean_loss)(params["trunk"], t)) for t in range(2)])
        for row in rows:
            np.testing.assert_allclose(found[row], flat @ flat.T, rtol=1e-4)


def test_gramians_at_the_representation():
    params, batch = model(), {"x": X}
    found = user_gramians(row_losses, params, batch, jnp.arange(5), zeros=jnp.zeros((5, 4)))
    out = row_losses(params, batch)
    h = np.tanh(X @ params["trunk"])
    gradients = 2 * (h @ params["heads"].T - np.array([1.0, -1.0]))[..., None] * np.asarray(params["heads"])
    assert out.shape == (5, 2)
    np.testing.assert_allclose(found, np.einsum("btp,bsp->bts", gradients, gradients), rtol=1e-4)


# ---- learning -----------------------------------------------------------------------------------------

TARGETS = jnp.array([[[1.0, 0.0], [-3.0, 0.0]], [[3.0, 0.0], [-1.0, 0.0]]])
"""Per group and task the point that its users want: at 0 gradients are opposed, of lengths 1:3 and 3:1."""


def wishes(params, batch):
    return 0.5 * jnp.sum((params["point"] - TARGETS[batch["group"]]) ** 2, axis=-1)


def features(params, batch):
    group = jax.nn.one_hot(batch["group"], 2)
    return group + 0.0 * params["point"].sum(), group


def learn(agent, steps=600, rate=0.0):
    """Users of both groups in every batch; with rate 0 the model stands still at 0."""
    optimizer = optax.sgd(rate)
    step = paperec_step(wishes, features, optimizer, agent, normalise=False)
    users = jnp.array([0, 1, 2, 3, 0, 1])
    batch = {"group": users % 2}

    @functools.partial(jax.jit, compiler_options=compile_quickly())
    def run(key):
        params = {"point": jnp.zeros(2)}
        state = PAPERecTrainState(params, optimizer.init(params), agent.init(key))
        return jax.lax.scan(lambda s, k: step(s, batch, users, k), state, jax.random.split(key, steps))

    state, metrics = run(jax.random.key(0))
    inputs = jnp.concatenate([jnp.eye(2), jnp.eye(2)], axis=1)
    return state, metrics, np.asarray(agent.act(state.agent, inputs))


def test_groups_with_opposite_conflicts_get_opposite_weights_and_better_rewards():
    agent = paperec(2, 4, discount=0.5, actor_rate=3e-3, target_rate=0.05, batch_size=64, capacity=600)
    _, metrics, weights = learn(agent)
    # Opposed gradients of lengths 1 and 3 cancel for the weights (3/4, 1/4).
    np.testing.assert_allclose(weights, [[0.75, 0.25], [0.25, 0.75]], atol=0.1)
    left = np.einsum("ut,ut->u", weights, np.array([[1.0, -3.0], [3.0, -1.0]]))
    assert (left**2 < 0.3).all()  # equal weights leave 1
    first, last = np.asarray(metrics.reward[:50]).mean(), np.asarray(metrics.reward[-50:]).mean()
    assert last > first + 0.3


def test_rows_of_a_user_have_one_weighting_and_explore_together():
    agent = paperec(2, 4, noise=1.0, capacity=60, batch_size=6)
    _, metrics, _ = learn(agent, steps=4)
    np.testing.assert_array_equal(metrics.weights[:, 0], metrics.weights[:, 4])
    assert not np.allclose(metrics.weights[:, 0], metrics.weights[:, 2])  # another user of the same group
    np.testing.assert_allclose(metrics.weights.sum(axis=-1), 1.0, rtol=1e-6)


def test_the_model_moves_by_the_rows_own_weights():
    agent = paperec(2, 4, noise=0.0, capacity=60, batch_size=6)
    state, metrics, _ = learn(agent, steps=1, rate=0.1)
    groups = np.array([0, 1, 0, 1, 0, 1])
    gradient = -np.einsum("bt,btp->p", metrics.weights[0], np.asarray(TARGETS)[groups]) / 6
    np.testing.assert_allclose(state.params["point"], -0.1 * gradient, atol=1e-6)
    np.testing.assert_allclose(metrics.weights[0], 0.5)  # the actor starts with equal weights


def test_an_agent_without_noise_explores_nothing_and_one_with_noise_stays_on_the_simplex():
    states = jnp.asarray(np.random.default_rng(0).normal(size=(7, 4)), jnp.float32)
    for noise, equal in ((0.0, True), (5.0, False)):
        agent = paperec(3, 4, noise=noise)
        state = agent.init(jax.random.key(1))
        plain, explored = agent.act(state, states), agent.act(state, states, jax.random.key(2))
        assert np.allclose(plain, explored) == equal
        np.testing.assert_allclose(explored.sum(axis=1), 1.0, rtol=1e-6)
        assert (np.asarray(explored) >= 0).all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_tasks": 0},
        {"discount": 1.0},
        {"target_rate": 0.0},
        {"noise": -1.0},
        {"actor_rate": 0.0},
        {"capacity": 2.5},
    ],
    ids=str,
)
def test_arguments_out_of_range_are_named(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        paperec(**{"num_tasks": 2, "state_size": 4, **arguments})
