"""The softmax over a sample of items."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.layers import sampled_softmax_loss

RNG = np.random.default_rng(0)
USERS = jnp.float32(RNG.normal(size=(4, 3)))
ITEMS = jnp.float32(RNG.normal(size=(7, 3)))
TARGETS = jnp.array([1, 6, 3, 2])
LIVE = jnp.array([True, True, False, True])
KEY = jax.random.key(0)


def exact(users, items, targets, live):
    logits = np.float64(users) @ np.float64(items)[1:].T
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(targets)), targets - 1]
    return losses[np.asarray(live)].mean()


@pytest.mark.parametrize("num_sampled", [6, 100])
def test_with_as_many_draws_as_items_it_is_the_full_softmax(num_sampled):
    found = sampled_softmax_loss(USERS, ITEMS, TARGETS, LIVE, num_sampled, KEY)
    np.testing.assert_allclose(found, exact(USERS, ITEMS, TARGETS, LIVE), rtol=1e-5)


def test_a_draw_of_the_target_itself_counts_once():
    """Two items: whatever is drawn, the loss is 0 or that of the two."""
    items = ITEMS[:3]
    targets = jnp.array([1, 1, 1, 1])
    losses = {
        round(float(sampled_softmax_loss(USERS, items, targets, LIVE, 1, jax.random.key(k))), 5)
        for k in range(12)
    }
    assert losses == {0.0, round(exact(USERS, items, targets, LIVE), 5)}


def test_rows_that_do_not_count_and_padding_move_nothing():
    def loss(users, items):
        return sampled_softmax_loss(users, items, TARGETS, LIVE, 4, KEY)

    users, items = jax.grad(loss, argnums=(0, 1))(USERS, ITEMS)
    np.testing.assert_array_equal(np.abs(users).max(axis=1) > 0, LIVE)
    np.testing.assert_array_equal(items[0], 0)
    none = jnp.zeros(4, bool)
    slope = jax.grad(lambda u: sampled_softmax_loss(u, ITEMS, TARGETS, none, 4, KEY))(USERS)
    assert sampled_softmax_loss(USERS, ITEMS, TARGETS, none, 4, KEY) == 0
    np.testing.assert_array_equal(slope, 0)


def test_large_products_stay_finite():
    loss = jax.value_and_grad(lambda u: sampled_softmax_loss(u, ITEMS, TARGETS, LIVE, 4, KEY))
    value, slope = loss(1e4 * USERS)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_a_stack_has_a_loss_each():
    users, items = jnp.stack([USERS, -USERS]), jnp.stack([ITEMS, ITEMS])
    found = sampled_softmax_loss(users, items, TARGETS, LIVE, 6, KEY)
    expected = [exact(u, ITEMS, TARGETS, LIVE) for u in users]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
