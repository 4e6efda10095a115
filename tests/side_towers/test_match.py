"""DMR 1.0: the two relevances, empty histories, and what the auxiliary loss moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.side_towers import SIDE_TOWERS


def float64(tree):
    return jax.tree.map(np.float64, tree)


def places(params, x):
    """Additive scores of one row, whose first behaviour has place 0."""
    hidden = x @ params["dense"]["kernel"] + params["dense"]["bias"] + params["places"][0, : len(x)]
    return np.tanh(hidden) @ params["score"]["kernel"][:, 0]


def user_vector(params, items, properties):
    """u of one user from her live behaviours; the padding is behind them."""
    if not len(items):
        return np.zeros(params["vector"]["bias"].shape)
    scores = places(params["attention"], np.concatenate([items, properties], axis=1))
    weights = np.exp(scores) / np.exp(scores).sum()
    u = weights @ items @ params["vector"]["kernel"] + params["vector"]["bias"]
    return np.where(u > 0, u, params["slope"][0] * u)


def pieces(made, ids, row):
    """Live behaviours of a row: items and categories side by side, and kinds."""
    rows, live = np.float64(made.rows[row]), int((ids[row, 4:7] > 0).sum())
    items = np.concatenate([rows[4:7], rows[7:10]], axis=1)[:live]
    return items, rows[10:13][:live], np.concatenate([rows[1], rows[2]])


def test_the_logit_is_both_relevances_as_in_the_paper(tower, ids):
    made = tower("match", match_dim=3, match_units=4)
    p = float64(made.params)
    outputs = np.asarray(made())
    assert outputs.shape == (3, 4, 3)
    for row in range(4):
        items, properties, candidate = pieces(made, ids, row)
        u2i = user_vector(p["user"], items, properties) @ p["items"][ids[row, 1]]
        inputs = np.concatenate([np.tile(candidate, (len(items), 1)), items, properties], axis=1)
        i2i = places(p["item_to_item"], inputs).sum()
        expected = p["scale"][:2] @ [u2i, i2i]
        np.testing.assert_allclose(outputs[:2, row, 0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outputs[:2, :, 1:], 0)
    np.testing.assert_array_equal(outputs[2], 0)


def test_a_user_without_history_has_relevance_0(tower):
    np.testing.assert_array_equal(tower("match")()[:, 2], 0)


def test_padding_gets_no_gradient_and_columns_outside_the_match_neither(tower, ids):
    made = tower("match")
    slope = jax.jit(jax.grad(lambda rows: jnp.sum(jnp.sin(made(rows=rows)))))(made.rows)
    moved = np.abs(slope).max(axis=-1) > 0
    expected = np.concatenate([[[0, 1, 1, 0]] * 4, ids[:, 4:] > 0], axis=1).astype(bool)
    expected[2] = False
    np.testing.assert_array_equal(moved, expected)


def test_the_auxiliary_loss_is_the_next_items_and_counted_once_over_the_tasks(tower, ids):
    made = tower("match", match_dim=3, auxiliary_weight=0.3, num_sampled=99)
    p = float64(made.params)
    losses = []
    for row in (0, 3):  # The other rows have no behaviour before the last one.
        items, properties, _ = pieces(made, ids, row)
        logits = p["items"][1:] @ user_vector(p["user"], items[1:], properties[1:])
        losses.append(np.log(np.exp(logits).sum()) - logits[ids[row, 4] - 1])
    np.testing.assert_allclose(made.penalties(), [0.3 * np.mean(losses) / 3] * 3, rtol=1e-4)


def test_the_auxiliary_loss_moves_the_user_network_and_the_items_alone(tower, ids):
    made = tower("match")
    slope = jax.jit(jax.grad(lambda p: made.penalties(p).sum()))(made.params)
    for name, moves in {"user": True, "items": True, "item_to_item": False, "scale": False}.items():
        for leaf in jax.tree.leaves(slope[name]):
            assert bool(np.abs(leaf).max() > 0) == moves, name
    np.testing.assert_array_equal(slope["items"][0], 0)
    at_rows = jax.jit(jax.grad(lambda rows: made.penalties(rows=rows).sum()))(made.rows)
    moved = np.abs(at_rows).max(axis=-1) > 0
    # Behaviours before the last one, of the rows that have such.
    expected = np.concatenate([np.zeros((4, 4)), ids[:, 4:] > 0], axis=1).astype(bool)
    expected[:, [4, 7, 10]] = False
    expected[[1, 2]] = False
    expected[3, 11] = False  # Of a single one, attention has nothing to choose.
    np.testing.assert_array_equal(moved, expected)


def test_the_sample_is_drawn_from_the_key(tower):
    made = tower("match", num_sampled=2)
    one, same, other = (made.penalties(key=key) for key in (1, 1, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()


def test_without_weight_nothing_is_sown(tower):
    with pytest.raises(KeyError):
        tower("match", auxiliary_weight=0.0).penalties()


@pytest.mark.parametrize("name", ["match", "channels"])
def test_private_embeddings_make_a_tower_for_every_task(tower, name):
    made = tower(name, private=True)
    outputs = jax.jit(jax.jacrev(lambda p: made(p).sum(axis=(1, 2))))(made.params)
    penalties = jax.jit(jax.jacrev(made.penalties))(made.params)
    for jacobian in (outputs, penalties):
        assert any(np.any(leaf) for leaf in jax.tree.leaves(jacobian))
        for leaf in jax.tree.leaves(jacobian):
            moves = np.abs(leaf).reshape(3, 3, -1).max(axis=-1) > 0
            assert not moves[~np.eye(3, dtype=bool)].any()


def short(schema, length):
    """The schema with the first positions of every sequence."""
    kept = [c for c in schema.id_columns if not c.sequence or int(c.name[-1]) <= length]
    return schema._replace(id_columns=tuple(kept))


@pytest.mark.parametrize("name", ["match", "channels"])
def test_a_missing_sequence_is_one_clear_line(schema, name):
    plain = schema._replace(id_columns=tuple(c for c in schema.id_columns if not c.sequence))
    items = tuple(c for c in schema.id_columns if c.role != "item")
    no_items = schema._replace(id_columns=tuple(c._replace(table="") for c in items))
    uneven = schema._replace(id_columns=schema.id_columns[:-1])
    for changed, message in (
        (plain, f"side_tower '{name}'.* reads a sequence of items, but the data set has no sequence with"),
        (no_items, "no sequence with the table of an id column of role 'item'; use side_tower='none'"),
        (uneven, "reads sequences of one length, but those of the data set have lengths 2, 3; use"),
        (short(schema, 1), "reads sequences of 2 behaviours or more, those here have 1; use side_tower="),
    ):
        with pytest.raises(InputError, match=message) as caught:
            SIDE_TOWERS[name](changed, jnp.float32)
        assert "\n" not in str(caught.value)
