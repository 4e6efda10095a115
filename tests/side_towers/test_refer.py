"""RUI 2 and 3: the scores of the towers, which tower reads what, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.side_towers import SIDE_TOWERS


def mean_of(rows, ids, columns):
    """Mean of the live rows of a sequence, 0 without any."""
    live = (ids[:, columns] > 0)[..., None]
    return (rows[:, columns] * live).sum(axis=1) / np.maximum(live.sum(axis=1), 1)


def test_the_second_version_adds_the_product_of_refer_and_item(tower, reference):
    made = tower("refer", match_features=(4,), match_dim=3)
    rows = np.float64(made.rows)
    r = reference(made.params["refer"], rows[:, 3])
    i = reference(made.params["item"], np.concatenate([rows[:, 1], rows[:, 2]], axis=1))
    assert set(made.params) == {"refer", "item"}
    outputs = made()
    assert outputs.shape == (3, 4, 3)
    np.testing.assert_allclose(outputs[:2, :, 0], (r * i).sum(axis=2)[:2], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outputs[:2, :, 1:], 0)
    np.testing.assert_array_equal(outputs[2], 0)


def test_the_third_version_is_u2r_times_r2i_plus_u2i(tower, reference, ids):
    made = tower("rui", match_features=(4,), match_dim=3)
    rows = np.float64(made.rows)
    history = [mean_of(rows, ids, list(range(start, start + 3))) for start in (4, 7, 10)]
    u = reference(made.params["user"], np.concatenate([rows[:, 0], *history], axis=1))
    r = reference(made.params["refer"], rows[:, 3])
    i = reference(made.params["item"], np.concatenate([rows[:, 1], rows[:, 2]], axis=1))
    u2r, r2i, u2i = ((a * b).sum(axis=2) for a, b in ((u, r), (r, i), (u, i)))
    np.testing.assert_allclose(made()[:2, :, 0], (u2r * r2i + u2i)[:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name, own", [("refer", [1, 2, 3]), ("rui", range(13))])
def test_only_columns_of_the_roles_get_a_gradient_and_padding_none(tower, ids, name, own):
    made = tower(name, match_features=(4,))
    slope = jax.jit(jax.grad(lambda rows: jnp.sum(jnp.sin(made(rows=rows)))))(made.rows)
    moved = np.abs(slope).max(axis=-1) > 0
    expected = np.zeros_like(moved)
    expected[:, list(own)] = True
    expected[:, 4:] &= ids[:, 4:] > 0
    np.testing.assert_array_equal(moved, expected)


def test_a_task_moves_its_own_towers_alone(tower):
    made = tower("rui", match_features=(4,))
    jacobian = jax.jit(jax.jacrev(lambda p: made(p).sum(axis=(1, 2))))(made.params)
    for leaf in jax.tree.leaves(jacobian):
        moves = np.abs(leaf).reshape(3, 3, -1).max(axis=-1) > 0
        np.testing.assert_array_equal(moves, np.diag([True, True, False]))


@pytest.mark.parametrize(
    "name, role, message",
    [
        (
            "refer",
            "refer",
            "'refer' reads id columns with the roles 'refer', 'item'.* none with 'refer'",
        ),
        ("refer", "item", "none with 'item'; use side_tower='none'"),
        ("rui", "refer", "side_tower 'rui' .*'refer', 'user', 'item'.* none with 'refer'"),
        ("rui", "user", "none with 'user'; use side_tower='none'"),
    ],
)
def test_a_missing_role_is_one_clear_line(schema, name, role, message):
    kept = tuple(c for c in schema.id_columns if c.role != role and not c.sequence)
    kept = tuple(c._replace(table="") for c in kept)
    with pytest.raises(InputError, match=message) as caught:
        SIDE_TOWERS[name](schema._replace(id_columns=kept), "float32")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["refer", "rui", "match"])
def test_a_logit_needs_a_binary_task(schema, name):
    with pytest.raises(InputError, match=f"side_tower '{name}' adds to the logits of binary tasks"):
        SIDE_TOWERS[name](schema._replace(tasks=schema.tasks[2:]), "float32")
