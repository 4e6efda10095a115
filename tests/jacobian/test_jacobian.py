import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl import task_jacobian, task_ownership, weightings
from mtl.errors import InputError
from mtl.jacobian import as_jacobian, combine, cross_gramian, gramian, shared_mask


def linear_losses(params, x):
    """Two tasks with a shared vector `s` and a private scalar each; gradients known by hand."""
    return jnp.stack([params["s"] @ x + params["a"] ** 2, 3.0 * params["s"] @ x**2 + 5.0 * params["b"]])


PARAMS = {"s": jnp.array([1.0, -2.0]), "a": jnp.array(0.5), "b": jnp.array(2.0)}
X = jnp.array([2.0, 3.0])


def deep_losses(params, x):
    """Three tasks on a shared encoder; head t is slice t of one stacked leaf."""
    h = jnp.tanh(x @ params["encoder"])
    return jnp.mean(jnp.einsum("bh,th->tb", h, params["heads"]) ** 2, axis=1)


def deep_params(seed=0, dtype=jnp.float32):
    k1, k2 = jax.random.split(jax.random.key(seed))
    return {"encoder": jax.random.normal(k1, (5, 4), dtype), "heads": jax.random.normal(k2, (3, 4), dtype)}


def rows(seed=1, n=7):
    return jax.random.normal(jax.random.key(seed), (n, 5))


def test_losses_gradients_and_gramian_by_hand():
    losses, jac = task_jacobian(linear_losses, PARAMS, X)
    np.testing.assert_allclose(losses, [2 - 6 + 0.25, 3 * (4 - 18) + 10])
    stacked = jac.stacked()
    np.testing.assert_allclose(stacked["s"], [[2, 3], [12, 27]])
    np.testing.assert_allclose(stacked["a"], [1, 0])
    np.testing.assert_allclose(stacked["b"], [0, 5])
    np.testing.assert_allclose(jac.gramian(), [[4 + 9 + 1, 24 + 81], [24 + 81, 144 + 729 + 25]])
    np.testing.assert_allclose(
        jac.gramian(shared={"s": True, "a": False, "b": False}), [[13, 105], [105, 873]]
    )
    np.testing.assert_allclose(jac.pullback(jnp.array([2.0, -1.0]))["s"], [4 - 12, 6 - 27])


def test_private_leaves_get_their_own_gradient():
    _, jac = task_jacobian(linear_losses, PARAMS, X)
    update = combine(jac, jnp.array([0.0, 10.0]), shared=lambda path: path[0].key == "s")
    np.testing.assert_allclose(update["s"], [120, 270])
    np.testing.assert_allclose(update["a"], 1.0)  # not moved by the weight 0
    np.testing.assert_allclose(update["b"], 5.0)  # not moved by the weight 10


def test_stacked_equals_the_gradients_of_each_loss():
    params, x = deep_params(), rows()
    _, jac = task_jacobian(deep_losses, params, x)
    each = [jax.grad(lambda p, t=t: deep_losses(p, x)[t])(params) for t in range(3)]
    expected = jax.tree.map(lambda *g: jnp.stack(g), *each)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), jac.stacked(), expected)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 100])
def test_chunks_change_nothing(chunk_size):
    params, x = deep_params(), rows()
    _, whole = task_jacobian(deep_losses, params, x)
    _, chunked = task_jacobian(deep_losses, params, x, chunk_size=chunk_size)
    np.testing.assert_allclose(chunked.gramian(), whole.gramian(), rtol=1e-5)


def test_aux_is_returned_and_not_differentiated():
    def with_aux(params, x):
        return linear_losses(params, x), {"seen": x * 2}

    losses, jac, aux = task_jacobian(with_aux, PARAMS, X, has_aux=True)
    np.testing.assert_allclose(aux["seen"], X * 2)
    np.testing.assert_allclose(losses, linear_losses(PARAMS, X))
    np.testing.assert_allclose(jac.stacked()["s"], [[2, 3], [12, 27]])


def test_a_plain_stacked_tree_is_accepted_wherever_a_jacobian_is():
    params, x = deep_params(), rows()
    _, lazy = task_jacobian(deep_losses, params, x)
    plain = as_jacobian(lazy.stacked())
    w = jnp.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(plain.gramian(), lazy.gramian(), rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), plain.pullback(w), lazy.pullback(w)
    )


def test_passes_through_jit_vmap_scan_and_chain():
    params, x = deep_params(), rows()
    _, eager = task_jacobian(deep_losses, params, x)
    _, crossed = jax.jit(lambda p, x: task_jacobian(deep_losses, p, x))(params, x)
    np.testing.assert_allclose(crossed.gramian(), eager.gramian(), rtol=1e-5)

    batches = jnp.stack([x, 2 * x])
    _, stacked_jac = jax.vmap(lambda b: task_jacobian(deep_losses, params, b))(batches)
    grams = jax.vmap(lambda j: j.gramian())(stacked_jac)
    np.testing.assert_allclose(grams[0], eager.gramian(), rtol=1e-5)

    tx = optax.chain(weightings.mgda(num_tasks=3), optax.clip_by_global_norm(1.0), optax.adam(1e-2))

    def step(carry, batch):
        p, s = carry
        losses, jac = task_jacobian(deep_losses, p, batch)
        updates, s = tx.update(jac, s, p, losses=losses)
        return (optax.apply_updates(p, updates), s), losses

    many = jnp.broadcast_to(x, (50, *x.shape))
    _, curve = jax.jit(lambda c: jax.lax.scan(step, c, many))((params, tx.init(params)))
    assert np.all(np.isfinite(curve))
    assert np.all(curve[-1] < curve[0])


def flops(fn, *args) -> float:
    cost = jax.jit(fn).lower(*args).compile().cost_analysis()
    return float((cost[0] if isinstance(cost, list) else cost)["flops"])


def wide(params, x, perturbations=None):
    """Four tasks; nearly all work is in the encoder's two wide layers."""
    h = jax.nn.relu(jax.nn.relu(x @ params["w1"]) @ params["w2"])
    if perturbations is not None:
        h = h + perturbations
    return jnp.mean(jnp.einsum("bh,th->tb", h, params["heads"]) ** 2, axis=1)


def wide_params():
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        "w1": 0.1 * jax.random.normal(keys[0], (64, 128)),
        "w2": 0.1 * jax.random.normal(keys[1], (128, 32)),
        "heads": jax.random.normal(keys[2], (4, 32)),
    }


WIDE_X = jax.random.normal(jax.random.key(3), (256, 64))


def update_fn(tx, tap=False, shared=None):
    def fn(params, x):
        zeros = jnp.zeros((256, 32)) if tap else None
        # All passes at once, so that the compiled program's operations count each of them.
        losses, jac = task_jacobian(wide, params, x, tap=zeros, chunk_size=4)
        return tx.update(jac, tx.init(params), params, losses=losses)[0]

    return fn


def test_scalarisations_cost_one_backward_pass_in_the_compiled_program():
    params = wide_params()
    one = flops(jax.grad(lambda p, x: jnp.sum(wide(p, x))), params, WIDE_X)
    for tx in (weightings.static((1.0, 2.0, 3.0, 4.0)), weightings.uwl(4), weightings.loss_norm(4)):
        assert flops(update_fn(tx), params, WIDE_X) < 1.02 * one
    # The measure can tell: MGDA on the parameters needs all four passes.
    assert flops(update_fn(weightings.mgda(4)), params, WIDE_X) > 2 * one


def test_the_tap_leaves_the_encoder_out_of_the_task_passes():
    params = wide_params()
    one = flops(jax.grad(lambda p, x: jnp.sum(wide(p, x))), params, WIDE_X)
    tapped = flops(update_fn(weightings.mgda(4, tap=True), tap=True), params, WIDE_X)
    assert tapped < 1.15 * one
    text = (
        jax.jit(update_fn(weightings.mgda(4, tap=True), tap=True)).lower(params, WIDE_X).compile().as_text()
    )
    assert "f32[4,64,128]" not in text  # no task has a gradient of the encoder of its own
    text = jax.jit(update_fn(weightings.mgda(4))).lower(params, WIDE_X).compile().as_text()
    assert "f32[4,64,128]" in text


def test_gradients_at_the_tap_by_hand():
    params = wide_params()
    h = jax.nn.relu(jax.nn.relu(WIDE_X @ params["w1"]) @ params["w2"])
    _, jac = task_jacobian(wide, params, WIDE_X, tap=jnp.zeros((256, 32)))
    # dL_t/dh = 2 (h·head_t) head_t / B
    expected = 2 / 256 * jnp.einsum("bh,th,tk->tbk", h, params["heads"], params["heads"])
    np.testing.assert_allclose(jac.stacked_at_tap(), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(jac.gramian(tap=True), gramian(expected), rtol=1e-4)


def test_ownership_of_leaves_and_slices():
    found = task_ownership(deep_losses, deep_params(), rows())
    assert found.shared == {"encoder": True, "heads": False}
    np.testing.assert_array_equal(found.tasks["heads"], [True, True, True])
    found = task_ownership(linear_losses, PARAMS, X)
    assert found.shared == {"s": True, "a": False, "b": False}
    np.testing.assert_array_equal(found.tasks["b"], [False, True])


def test_ownership_sees_through_dead_units():
    def dead(params, x):
        h = jax.nn.relu(x @ params["w"] - 1e6)  # no row passes the ReLU, every gradient is zero
        return jnp.stack([h.sum() + params["a"], (h**2).sum() + params["b"]])

    params = {"w": jnp.ones((5, 2)), "a": jnp.ones(()), "b": jnp.ones(())}
    gradient = jax.jacrev(dead)(params, rows())["w"]
    assert not gradient.any()
    assert task_ownership(dead, params, rows()).shared == {"w": True, "a": False, "b": False}


def test_half_precision_gradients_have_a_wide_gramian():
    _, jac = task_jacobian(deep_losses, deep_params(dtype=jnp.bfloat16), rows().astype(jnp.bfloat16))
    assert jac.gramian().dtype == jnp.float32
    assert jax.tree.leaves(jac.pullback(jnp.ones(3)))[0].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: task_jacobian(lambda p: jnp.sum(p), jnp.ones(3)), "expected a vector"),
        (lambda: task_jacobian(linear_losses, PARAMS, X, chunk_size=0), "chunk_size is 0"),
        (lambda: task_jacobian(linear_losses, PARAMS, X)[1].gramian(tap=True), "without one"),
        (lambda: as_jacobian({"a": jnp.ones((2, 3)), "b": jnp.ones((3, 3))}), "one leading task axis"),
        (lambda: as_jacobian(jnp.ones((2, 3))).gramian(tap=True), "no tap"),
        (lambda: gramian(jnp.ones((2, 3)), shared=lambda path: False), "no parameter is shared"),
        (lambda: shared_mask({"a": 1.0}, {"b": True}), "structure"),
        (lambda: task_ownership(lambda p: jnp.log(-p), jnp.ones(2)), "finite losses"),
        (lambda: task_ownership(lambda p: jnp.stack([p.sum(), 0.0]), jnp.ones(2)), "sample space"),
    ],
)
def test_mistakes_are_named(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_a_callable_pytree_of_bools_is_not_taken_for_a_function_of_the_path():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Net:
        w: object
        b: object

        def __call__(self, x):
            return x @ self.w + self.b

    mask = Net(w=True, b=False)
    assert shared_mask(Net(w=jnp.ones(2), b=jnp.ones(())), mask) is mask


LONG = [(2, 32_769), (3, 50_000), (4, 123_457), (5, 500_003)]


def long_rows(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", LONG, ids=str)
def test_long_rows_have_the_same_gramian_as_in_float64(shape):
    """Sums over pairs of rows with a rest for a product, and a product over blocks with a rest."""
    rows = long_rows(shape)
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    found = np.asarray(gramian({"a": jnp.asarray(rows)}))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6 * exact.max())
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("shape", LONG, ids=str)
def test_long_rows_of_two_batches_have_the_same_products_as_in_float64(shape):
    first, second = long_rows(shape), long_rows(shape, seed=1)
    exact = first.astype(np.float64) @ second.astype(np.float64).T
    found = np.asarray(cross_gramian({"a": jnp.asarray(first)}, {"a": jnp.asarray(second)}))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6 * shape[1])


def test_the_gramian_of_long_rows_can_be_vmapped_and_differentiated():
    rows = jnp.asarray(long_rows((2, 3, 40_000)))
    each = jnp.stack([gramian(x) for x in rows])
    np.testing.assert_allclose(jax.jit(jax.vmap(gramian))(rows), each, rtol=1e-6, atol=1e-2)
    slope = jax.grad(lambda x: gramian(x).sum())(rows[0])
    np.testing.assert_allclose(slope, 2 * jnp.broadcast_to(rows[0].sum(axis=0), slope.shape), atol=1e-5)
