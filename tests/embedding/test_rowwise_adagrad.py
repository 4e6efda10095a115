"""Row-wise Adagrad: one number of state per row."""

import jax.numpy as jnp
import numpy as np
import optax

from mtl.embedding import rowwise_adagrad, scale_by_rowwise_rss

GRADS = {"table": jnp.float32([[3.0, 4.0], [0.0, 0.0]]), "bias": jnp.float32([2.0, -1.0])}


def test_two_steps_by_hand():
    tx = scale_by_rowwise_rss(initial_accumulator_value=0.0, eps=0.0)
    state = tx.init(GRADS)
    assert state.sums["table"].shape == (2,)
    first, state = tx.update(GRADS, state)
    # The mean of 9 and 16 is 12.5; a row without gradient stays 0 and finite.
    np.testing.assert_allclose(first["table"], [[3 / 12.5**0.5, 4 / 12.5**0.5], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(first["bias"], [1, -1], rtol=1e-6)
    second, state = tx.update(GRADS, state)
    np.testing.assert_allclose(second["table"], [[3 / 5, 4 / 5], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(state.sums["table"], [25, 0], rtol=1e-6)


def test_rows_can_be_chosen_and_the_rest_is_adagrad():
    own, plain = rowwise_adagrad(0.5, rows=lambda path: False), optax.adagrad(0.5)
    ours, _ = own.update(GRADS, own.init(GRADS))
    expected, _ = plain.update(GRADS, plain.init(GRADS))
    for k in GRADS:
        np.testing.assert_allclose(ours[k], expected[k], rtol=1e-6)
