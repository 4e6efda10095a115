"""Parts of one training as the start of another, and parts that do not move."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl import task_jacobian
from mtl.errors import InputError
from mtl.train import TrainSettings, chain, held, part_mask, warm_start
from mtl.weightings import mgda, static, weighting_state


def params(value=0.0, tasks=2):
    return {
        "encoder": {"table": jnp.full((3, 2), value)},
        "extractor": {"experts": {"kernel": jnp.full((2, 2), value)}, "experts_of": jnp.full(2, value)},
        "towers": {"kernel": jnp.full((tasks, 2), value)},
    }


def flat(tree):
    return {
        jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in jax.tree.leaves_with_path(tree)
    }


@pytest.mark.parametrize(
    "parts, taken",
    [
        (("encoder", "extractor"), {"encoder/table", "extractor/experts/kernel", "extractor/experts_of"}),
        (("extractor/experts",), {"extractor/experts/kernel"}),
        (("towers",), {"towers/kernel"}),
        ((), set()),
    ],
)
def test_named_parts_are_taken_and_the_others_are_not(parts, taken):
    found = flat(warm_start(params(0.0), params(1.0), parts))
    assert {name for name, x in found.items() if (x == 1.0).all()} == taken
    assert {name for name, x in found.items() if (x == 0.0).all()} == set(found) - taken


def test_what_is_not_taken_need_not_fit():
    found = warm_start(params(0.0, tasks=5), params(1.0))
    assert found["towers"]["kernel"].shape == (5, 2)
    without = {k: v for k, v in params(1.0).items() if k != "towers"}
    assert (warm_start(params(0.0), without)["encoder"]["table"] == 1.0).all()


def test_the_dtype_stays():
    source = jax.tree.map(lambda x: np.asarray(x, np.float64), params(1.0))
    assert {x.dtype for x in jax.tree.leaves(warm_start(params(0.0), source))} == {np.dtype("float32")}


def test_parameters_that_do_not_fit_are_named():
    with pytest.raises(InputError, match=r"'towers/kernel' has shape \(2, 2\) where .* and \(5, 2\) here"):
        warm_start(params(tasks=5), params(), ("towers",))
    with pytest.raises(InputError, match="'extractor/experts_of' is not among those to start from"):
        warm_start(params(), {"extractor": {"experts": params()["extractor"]["experts"]}}, ("extractor",))
    with pytest.raises(InputError, match="below 'tower'; the model's parts are encoder, extractor, towers"):
        warm_start(params(), params(), ("tower",))
    with pytest.raises(InputError, match="below 'extractor/exp'"):
        part_mask(params(), ("extractor/exp",))


# ---- freezing -----------------------------------------------------------------------------------------

X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)


def loss_fn(params):
    h = jnp.tanh(X @ params["encoder"]["table"]) @ params["extractor"]["experts"]["kernel"]
    out = (h + params["extractor"]["experts_of"]) @ params["towers"]["kernel"].T
    return jnp.mean((out - jnp.array([1.0, -2.0])) ** 2, axis=0)


def train(tx, start, steps=4):
    state = tx.init(start)
    step = jax.jit(
        lambda p, s: (lambda losses, jac: tx.update(jac, s, p, losses=losses))(*task_jacobian(loss_fn, p))
    )
    for _ in range(steps):
        update, state = step(start, state)
        start = optax.apply_updates(start, update)
    return start, state


def begin():
    return jax.tree.map(
        lambda x: 0.3 + 0.1 * jnp.arange(x.size, dtype=jnp.float32).reshape(x.shape), params()
    )


def test_frozen_parts_do_not_move_and_have_no_moments():
    settings = TrainSettings(optimizer="adamw", weight_decay=0.1, freeze=("encoder", "extractor/experts"))
    after, state = train(chain(static(num_tasks=2), settings, 4), begin())
    moved = {k for k, x in flat(after).items() if not np.array_equal(x, flat(begin())[k])}
    assert moved == {"extractor/experts_of", "towers/kernel"}
    moments = optax.tree.get(state, "mu")
    assert {k for k, x in flat(moments).items() if x.any()} == moved


def test_frozen_parts_do_not_enter_the_clip():
    settings = {"optimizer": "sgd", "learning_rate": 1.0, "clip_norm": 0.1}
    frozen = TrainSettings(**settings, freeze=("encoder", "extractor"))
    after, _ = train(chain(static(num_tasks=2), frozen, 1), begin(), steps=1)
    step = flat(after)["towers/kernel"] - flat(begin())["towers/kernel"]
    np.testing.assert_allclose(np.linalg.norm(step), 0.1, rtol=1e-5)


def test_the_rest_moves_as_if_the_frozen_parts_were_constants():
    fixed = {k: begin()[k] for k in ("encoder", "extractor")}
    tx = held(optax.chain(held(static(num_tasks=2), ("encoder", "extractor")), optax.adam(0.1)), ("encoder",))
    after, _ = train(tx, begin())
    towers, alone = begin()["towers"], optax.chain(static(num_tasks=2), optax.adam(0.1))
    state = alone.init(towers)
    for _ in range(4):
        _, jac = task_jacobian(lambda t: loss_fn({**fixed, "towers": t}), towers)
        update, state = alone.update(jac, state, towers)
        towers = optax.apply_updates(towers, update)
    np.testing.assert_allclose(after["towers"]["kernel"], towers["kernel"], rtol=1e-5)


def test_a_balancer_keeps_its_state_and_its_weights():
    tx = held(mgda(2), ("encoder",))
    _, state = train(tx, begin(), steps=1)
    _, plain = train(mgda(2), begin(), steps=1)
    np.testing.assert_allclose(weighting_state(state).weights, weighting_state(plain).weights, rtol=1e-6)


def test_a_part_that_is_not_there_is_refused_at_once():
    with pytest.raises(InputError, match="no parameter lies below 'tower'"):
        chain(static(num_tasks=2), TrainSettings(freeze=("tower",)), 1).init(params())
