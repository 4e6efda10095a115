"""DMR 2.0: pre-trained channels that nothing moves, and channels that are trained with the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.side_towers import SIDE_TOWERS
from mtl.side_towers.match import UserNetwork

CHANNELS = tuple(
    f"channel:{name}:{side}:{k}" for name in ("u2a", "image") for side in ("user", "item") for k in range(2)
)
VECTORS = np.float32(np.random.default_rng(3).normal(size=(4, 10)))


def tail(params, users, items):
    """The match tower from the channels' vectors, per task, in float64."""
    products = np.stack([(u * v).sum(axis=1) for u, v in zip(users, items, strict=True)], axis=1)
    shared = np.concatenate(users, axis=1) @ np.float64(params["shared"]["kernel"])
    x = np.concatenate([products, shared], axis=1)
    mlp, heads = params["mlp"]["dense0"], params["heads"]["dense"]
    outputs = []
    for t in range(3):
        h = np.maximum(x @ np.float64(mlp["kernel"][t]) + np.float64(mlp["bias"][t]), 0)
        outputs.append(h @ np.float64(heads["kernel"][t]) + np.float64(heads["bias"][t]))
    return np.stack(outputs)


def test_fixed_vectors_enter_by_products_and_pooled(tower, schema):
    wide = schema._replace(numeric_columns=(*schema.numeric_columns, *CHANNELS))
    made = tower("channels", wide, VECTORS, stage="two_stage", match_dim=3, match_features=(4,))
    assert set(made.params) == {"shared", "mlp", "heads"}
    v = np.float64(VECTORS)
    expected = tail(made.params, [v[:, 2:4], v[:, 6:8]], [v[:, 4:6], v[:, 8:10]])
    outputs = made()
    np.testing.assert_allclose(outputs[2], expected[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs[:2, :, 0], expected[:2, :, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outputs[:2, :, 1:], 0)


def test_fixed_vectors_leave_embeddings_alone_and_sow_nothing(tower, schema):
    wide = schema._replace(numeric_columns=(*schema.numeric_columns, *CHANNELS))
    made = tower("channels", wide, VECTORS, stage="two_stage")
    np.testing.assert_array_equal(jax.jit(jax.grad(lambda rows: made(rows=rows).sum()))(made.rows), 0)
    with pytest.raises(KeyError):
        made.penalties()


def test_trained_channels_are_behaviour_co_occurrence_and_profile(tower, ids, reference):
    made = tower("channels", match_dim=3, match_features=(4,))
    p, rows = jax.tree.map(np.float64, made.params), np.float64(made.rows)
    history, live = ids[:, 4:7], ids[:, 4:7] > 0
    sources = p["source_items"][history] * live[..., None]
    sources = sources.sum(axis=1) / np.maximum(live.sum(axis=1), 1)[:, None]

    def tower_of(name, columns):
        stacked = jax.tree.map(lambda leaf: leaf[None], p[f"profile_{name}"])
        return reference(stacked, rows[:, columns].reshape(4, -1))[0]

    # The attention is that of the match tower, whose own test has it written out.
    network = UserNetwork(stack=(), length=3, dim=3, units=16)
    items = jnp.concatenate([made.rows[:, 4:7], made.rows[:, 7:10]], axis=-1)
    attended = network.apply({"params": made.params["behaviour"]}, items, made.rows[:, 10:13], live)
    users = [np.float64(attended), sources, tower_of("user", [0])]
    items = [p["behaviour_items"][ids[:, 1]], p["reached_items"][ids[:, 1]], tower_of("item", [1, 2])]
    outputs, expected = made(), tail(made.params, users, items)
    np.testing.assert_allclose(outputs[2], expected[2], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(outputs[:2, :, 0], expected[:2, :, 0], rtol=1e-3, atol=1e-4)


def test_every_trained_channel_moves_and_auxiliary_losses_move_two_of_them(tower):
    made = tower("channels")
    main = jax.jit(jax.grad(lambda p: (made(p) ** 2).sum()))(made.params)
    auxiliary = jax.jit(jax.grad(lambda p: made.penalties(p).sum()))(made.params)
    learned = {"behaviour", "behaviour_items", "source_items", "reached_items"}
    assert set(made.params) == learned | {"profile_user", "profile_item", "shared", "mlp", "heads"}
    for name in made.params:
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(main[name])) > 0, name
        moved = max(np.abs(leaf).max() for leaf in jax.tree.leaves(auxiliary[name])) > 0
        assert moved == (name in learned), name
    for tree in (main, auxiliary):
        for name in ("source_items", "reached_items", "behaviour_items"):
            np.testing.assert_array_equal(tree[name][0], 0)


def test_two_stages_need_channels(schema):
    message = r"the data set has none; add them with mtl\.data\.with_channels"
    with pytest.raises(InputError, match=message) as caught:
        SIDE_TOWERS["channels"](schema, "float32", stage="two_stage")
    assert "\n" not in str(caught.value)
