"""The chain weighting, clip, optimiser, by hand."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl import weightings
from mtl.train import TrainSettings, chain

PARAMS = {"w": jnp.array([1.0, 2.0])}
GRADIENTS = {"w": jnp.array([[3.0, 0.0], [0.0, 4.0]])}  # two tasks; their sum has norm 5


def updates(steps=1, num_steps=4, params=PARAMS, **settings):
    """Updates of consecutive steps with constant gradients."""
    optimizer = chain(weightings.static(num_tasks=2), TrainSettings(**settings), num_steps)
    state = optimizer.init(params)
    found = []
    for _ in range(steps):
        update, state = optimizer.update(GRADIENTS, state, params, losses=jnp.ones(2))
        found.append(np.asarray(update["w"]))
    return np.array(found)


def test_sgd_takes_the_sum_of_the_gradients():
    np.testing.assert_allclose(updates(optimizer="sgd", learning_rate=0.1), [[-0.3, -0.4]], rtol=1e-6)


def test_the_clip_comes_after_the_weighting():
    clipped = updates(optimizer="sgd", learning_rate=1.0, clip_norm=1.0)
    np.testing.assert_allclose(clipped, [[-0.6, -0.8]], rtol=1e-6)
    loose = updates(optimizer="sgd", learning_rate=1.0, clip_norm=5.1)
    np.testing.assert_allclose(loose, [[-3.0, -4.0]], rtol=1e-6)


def test_momentum_is_nine_tenths():
    found = updates(2, optimizer="momentum", learning_rate=1.0)
    np.testing.assert_allclose(found[1], 1.9 * found[0], rtol=1e-6)


def test_the_cosine_schedule_ends_at_zero():
    found = updates(6, optimizer="sgd", learning_rate=1.0, schedule="cosine")
    expected = [0.5 * (1 + np.cos(np.pi * min(k, 4) / 4)) for k in range(6)]
    np.testing.assert_allclose(found[:, 0], [-3 * e for e in expected], atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_takes_unit_steps_at_first(name):
    np.testing.assert_allclose(updates(optimizer=name, learning_rate=0.1), [[-0.1, -0.1]], rtol=1e-5)


def test_weight_decay_is_decoupled():
    plain = updates(optimizer="adamw", learning_rate=0.1)
    decayed = updates(optimizer="adamw", learning_rate=0.1, weight_decay=0.5)
    np.testing.assert_allclose(decayed - plain, [-0.1 * 0.5 * np.array(PARAMS["w"])], rtol=1e-5)


def test_weight_decay_leaves_learned_weights_alone():
    def learned(decay):
        tx = chain(
            weightings.build("uwl", kinds=["regression", "regression"]),
            TrainSettings(optimizer="adamw", weight_decay=decay),
            4,
        )
        state = tx.init(PARAMS)
        params = PARAMS
        for _ in range(3):
            update, state = tx.update(GRADIENTS, state, params, losses=jnp.array([1.0, 2.0]))
            params = optax.apply_updates(params, update)
        return weightings.weighting_state(state).weights

    np.testing.assert_array_equal(learned(0.0), learned(0.9))
