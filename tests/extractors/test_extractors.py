"""Extractors against NumPy loops in float64, and the identities between them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.extractors import CGC, EXTRACTORS, PLE, MMoE, OMoE, SharedBottom, SingleTask

T, B, D, H = 3, 6, 4, 5
X = np.random.default_rng(0).normal(size=(B, D))


@functools.cache
def applied(extractor):
    """Random parameters, biases included, in float64, and the output on X."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(extractor.init, jax.random.key(0), jnp.float32(X))["params"]
    params = jax.tree.map(lambda p: rng.normal(size=p.shape) * 0.5, shapes)
    h = jax.jit(extractor.apply)({"params": jax.tree.map(jnp.float32, params)}, jnp.float32(X))
    return params, h


def mlp(params, index, x):
    for layer in sorted(params):
        x = np.maximum(x @ params[layer]["kernel"][index] + params[layer]["bias"][index], 0)
    return x


def gated(params, gate, selector, experts):
    """softmax(W selector) over a list of experts' outputs, row by row."""
    logits = selector @ params["dense"]["kernel"][gate]
    assert logits.shape[1] == len(experts)
    y = np.zeros_like(experts[0])
    for b in range(B):
        weights = np.exp(logits[b] - logits[b].max())
        weights /= weights.sum()
        for weight, expert in zip(weights, experts, strict=True):
            y[b] += weight * expert[b]
    return y


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EXTRACTORS)
@pytest.mark.parametrize("num_tasks", [1, 3])
def test_shape_is_tasks_rows_units(name, num_tasks):
    extractor = EXTRACTORS[name](num_tasks=num_tasks)
    x = jax.ShapeDtypeStruct((B, D), jnp.float32)
    h, variables = jax.eval_shape(extractor.init_with_output, jax.random.key(0), x)
    assert h.shape[:2] == (num_tasks, B)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_single_task_is_one_network_per_task():
    params, h = applied(SingleTask(T, bottom_features=(7, H)))
    for t in range(T):
        assert_close(h[t], mlp(params["bottoms"], t, X))


def test_shared_bottom_gives_all_tasks_the_same():
    params, h = applied(SharedBottom(T, bottom_features=(7, H)))
    for t in range(T):
        assert_close(h[t], mlp(params["bottom"], (), X))


def test_mmoe_mixes_experts_with_one_gate_per_task():
    params, h = applied(MMoE(T, num_experts=4, expert_features=(7, H)))
    experts = [mlp(params["experts"], e, X) for e in range(4)]
    for t in range(T):
        assert_close(h[t], gated(params["gate"], t, X, experts))


def test_omoe_is_mmoe_with_equal_gates():
    sizes = {"num_experts": 4, "expert_features": (H,)}
    params, h = applied(OMoE(T, **sizes))
    params = jax.tree.map(jnp.float32, params)
    params["gate"] = jax.tree.map(lambda p: jnp.tile(p, (T, 1, 1)), params["gate"])
    assert_close(h, MMoE(T, **sizes).apply({"params": params}, jnp.float32(X)))


def test_mmoe_of_one_expert_is_that_expert():
    params, h = applied(MMoE(T, num_experts=1, expert_features=(H,)))
    for t in range(T):
        assert_close(h[t], mlp(params["experts"], 0, X))


def numpy_ple(params, num_levels, m, m_s):
    """Tang et al. 2020, Sec. 4.2, with explicit branches."""
    task, shared = [X] * T, X
    for j in range(1, num_levels + 1):
        level = params[f"level{j}"]
        own = [[mlp(level["task_experts"], (t, i), task[t]) for i in range(m)] for t in range(T)]
        common = [mlp(level["shared_experts"], i, shared) for i in range(m_s)]
        fused = [gated(level["task_gate"], t, task[t], own[t] + common) for t in range(T)]
        if j < num_levels:
            everyone = [*itertools.chain(*own), *common]
            shared = gated(level["shared_gate"], 0, shared, everyone)
        task = fused
    assert "shared_gate" not in params[f"level{num_levels}"]
    return task


def test_cgc_mixes_own_and_shared_experts():
    params, h = applied(CGC(T, task_experts=2, shared_experts=3, expert_features=(H,)))
    assert_close(h, numpy_ple(params, 1, 2, 3))


@pytest.mark.parametrize("num_levels", [2, 3])
def test_ple_selects_with_the_branchs_previous_output(num_levels):
    sizes = {"task_experts": 2, "shared_experts": 3, "expert_features": (6, H)}
    params, h = applied(PLE(T, num_levels=num_levels, **sizes))
    assert_close(h, numpy_ple(params, num_levels, 2, 3))


def test_cgc_is_ple_with_one_level():
    cgc, ple = CGC(T), PLE(T, num_levels=1)
    (cgc_params, cgc_h), (ple_params, ple_h) = applied(cgc), applied(ple)
    jax.tree.map(np.testing.assert_array_equal, cgc_params, ple_params)
    np.testing.assert_array_equal(cgc_h, ple_h)


def test_default_sizes_are_comparable_as_in_the_mmoe_paper():
    """Ma et al., Sec. 5.1: 100 features; weights of 8 experts of 16 units = 12 800 ≈ 113 units."""

    def weights(extractor, part):
        x = jax.ShapeDtypeStruct((1, 100), jnp.float32)
        params = jax.eval_shape(extractor.init, jax.random.key(0), x)["params"]
        return sum(p["dense0"]["kernel"].size for p in part(params))

    assert weights(SharedBottom(2), lambda p: [p["bottom"]]) == 100 * 113
    assert weights(OMoE(2), lambda p: [p["experts"]]) == 100 * 16 * 8
    assert weights(MMoE(2), lambda p: [p["experts"]]) == 100 * 16 * 8
    level1 = weights(CGC(2), lambda p: [p["level1"]["task_experts"], p["level1"]["shared_experts"]])
    assert level1 == 100 * 16 * 8
    # Experts and two towers of 8 units: 13 056; the bottom of 113 units with them: within 0.5 %.
    mmoe, bottom = 100 * 16 * 8 + 16 * 8 * 2, 100 * 113 + 113 * 8 * 2
    assert mmoe == 13_056
    assert abs(bottom / mmoe - 1) < 0.005


@pytest.mark.parametrize("name", ["omoe", "mmoe", "cgc", "ple"])
def test_gate_dropout_acts_in_training_only(name):
    extractor = EXTRACTORS[name](num_tasks=2, dropout_rate=0.5)
    x = jnp.float32(X)
    params = {"params": jax.tree.map(jnp.float32, applied(extractor)[0])}
    apply = jax.jit(extractor.apply, static_argnames="train")
    clean = applied(extractor)[1]
    first, again, second = (
        apply(params, x, train=True, rngs={"dropout": jax.random.key(seed)}) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != clean)
    assert np.any(first != second)
    without = EXTRACTORS[name](num_tasks=2)
    np.testing.assert_allclose(
        jax.jit(functools.partial(without.apply, train=True))(params, x), clean, rtol=1e-5, atol=1e-6
    )
