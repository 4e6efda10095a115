"""Extractors against NumPy loops in float64, and the identities between them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.extractors import (
    CGC,
    EXTRACTORS,
    PLE,
    SNR,
    AttentionGate,
    CrossStitch,
    DSelectK,
    MMoE,
    OMoE,
    SharedBottom,
    SingleTask,
)
from mtl.extractors.dselect_k import smooth_step

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
    x = jax.ShapeDtypeStruct((B, D), jnp.float32)
    fields, scenario = {"num_tasks": num_tasks}, {}
    if "num_domains" in EXTRACTORS[name].__dataclass_fields__:
        fields["num_domains"] = 3
        scenario["domain"] = jax.ShapeDtypeStruct((B,), jnp.int32)
    extractor = EXTRACTORS[name](**fields)
    h, variables = jax.eval_shape(extractor.init_with_output, jax.random.key(0), x, **scenario)
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


@pytest.mark.parametrize("name", ["omoe", "mmoe", "cgc", "ple", "attention_gate", "dselect_k"])
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


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_attention_gates_weigh_experts_by_their_match_with_a_query():
    params, h = applied(AttentionGate(T, num_experts=4, expert_features=(7, H)))
    experts = np.stack([mlp(params["experts"], e, X) for e in range(4)])
    for t in range(T):
        for b in range(B):
            weights = np.exp(experts[:, b] @ params["gate"]["query"][t] / np.sqrt(H))
            assert_close(h[t, b], weights @ experts[:, b] / weights.sum())


def test_cross_stitch_mixes_activations_after_every_layer():
    params, h = applied(CrossStitch(T, bottom_features=(7, H)))
    a = [X] * T
    for i in range(2):
        layer = params[f"dense{i}"]
        own = [np.maximum(a[t] @ layer["kernel"][t] + layer["bias"][t], 0) for t in range(T)]
        a = [sum(params[f"stitch{i}"][t, s] * own[s] for s in range(T)) for t in range(T)]
    assert_close(h, a)


@pytest.mark.parametrize("num_tasks, others", [(1, 0.0), (2, 0.1), (5, 0.025)])
def test_cross_stitch_starts_mostly_with_its_own(num_tasks, others):
    stitch = CrossStitch(num_tasks).init(jax.random.key(0), jnp.ones((1, 2)))["params"]["stitch0"]
    assert_close(np.diag(stitch), 0.9)
    assert_close(stitch[~np.eye(num_tasks, dtype=bool)], others)


def route(params, u, z):
    """What the targets of connections with coding variables z receive."""
    if "kernel" not in params:
        return [sum(z[i, j] * u[j] for j in range(len(u))) for i in range(len(z))]
    blocks = params["kernel"].reshape(len(z), len(u), H, H)
    return [sum(z[i, j] * u[j] @ blocks[i, j] for j in range(len(u))) for i in range(len(z))]


@pytest.mark.parametrize("transform", [True, False])
def test_snr_serves_the_expected_connections(transform):
    params, h = applied(SNR(T, num_levels=2, num_experts=4, expert_features=(H,), transform=transform))
    z = {k: np.clip(1.2 * sigmoid(params[k]["log_alpha"]) - 0.1, 0, 1) for k in ("route1", "to_tasks")}
    u = [mlp(params["level1"], e, X) for e in range(4)]
    v = route(params["route1"], u, z["route1"])
    u = [mlp(params["level2"], e, v[e]) for e in range(4)]
    assert_close(h, route(params["to_tasks"], u, z["to_tasks"]))


def test_snr_samples_connections_as_the_hard_concrete_distribution_says():
    """Shares of closed and open connections; P(z > 0) is what the penalty counts."""
    count, log_alpha, beta = 4000, 0.7, 0.6
    extractor = SNR(
        1, num_levels=1, num_experts=count, expert_features=(1,), transform=False, temperature=beta
    )
    params = {
        "level1": {"dense0": {"kernel": jnp.zeros((count, 1, 1)), "bias": jnp.eye(count)[:, :1] * 0 + 1.0}},
        "to_tasks": {"log_alpha": jnp.full((1, count), log_alpha)},
    }

    def total(scale):
        """Σ_j z_j scale_j, from which a one-hot scale reads one z."""
        bias = {"level1": {"dense0": {**params["level1"]["dense0"], "bias": scale[:, None]}}}
        apply = functools.partial(extractor.apply, train=True, rngs={"dropout": jax.random.key(0)})
        return apply({"params": {**params, **bias}}, jnp.zeros((1, 1)))[0, 0, 0]

    z = np.asarray(jax.grad(total)(jnp.ones(count)))
    opened = sigmoid(log_alpha - beta * np.log(0.1 / 1.1))
    full = 1 - sigmoid(beta * np.log(1.1 / 0.1) - log_alpha)  # by symmetry P(z < 1) has the other sign
    deviation = 4 * 0.5 / np.sqrt(count)
    assert abs(np.mean(z > 0) - opened) < deviation
    assert abs(np.mean(z == 1) - full) < deviation
    assert ((z >= 0) & (z <= 1)).all()


def penalties(extractor, params):
    rngs = {"dropout": jax.random.key(0)}
    variables = {"params": jax.tree.map(jnp.float32, params)}
    _, sown = extractor.apply(variables, jnp.float32(X), train=True, rngs=rngs, mutable=["penalties"])
    (penalty,) = jax.tree.leaves(sown["penalties"])
    return penalty


def test_snr_counts_a_tasks_own_connections_and_its_part_of_the_others():
    extractor = SNR(T, num_experts=4, expert_features=(H,), temperature=0.5, l0_penalty=0.01)
    params, _ = applied(extractor)
    expected = {k: sigmoid(params[k]["log_alpha"] - 0.5 * np.log(0.1 / 1.1)) for k in ("route1", "to_tasks")}
    own = expected["to_tasks"].sum(axis=1)
    assert_close(penalties(extractor, params), 0.01 * (own + expected["route1"].sum() / T))


def test_dselect_k_mixes_selectors_of_binary_codes():
    extractor = DSelectK(T, num_experts=4, num_selected=2, expert_features=(H,), entropy_penalty=0.1)
    params, h = applied(extractor)
    gate = {k: v["kernel"] for k, v in params["gate"].items()}
    experts = [mlp(params["experts"], e, X) for e in range(4)]
    entropy = np.zeros(T)
    for t in range(T):
        shares = np.exp(X @ gate["choice"][t])
        shares /= shares.sum(axis=1, keepdims=True)
        z = np.clip((X @ gate["codes"][t]).reshape(B, 2, 2), -0.5, 0.5)
        step = -2 * z**3 + 1.5 * z + 0.5
        expected = np.zeros((B, H))
        for i in range(2):
            first, second = step[:, i].T  # bits 1 and 2 of an expert's number
            r = np.stack(
                [(1 - first) * (1 - second), first * (1 - second), (1 - first) * second, first * second]
            )
            expected += sum((shares[:, i] * r[e])[:, None] * experts[e] for e in range(4))
            entropy[t] -= np.sum(r * np.log(np.where(r > 0, r, 1))) / B
        assert_close(h[t], expected)
    assert_close(penalties(extractor, params), 0.1 * entropy)


def test_dselect_k_with_decided_codes_reads_k_experts():
    extractor = DSelectK(1, num_experts=8, num_selected=2, expert_features=(H,))
    params, _ = applied(extractor)
    params["gate"]["codes"]["kernel"] = 1e4 * params["gate"]["codes"]["kernel"]
    variables = {"params": jax.tree.map(jnp.float32, params)}
    _, found = extractor.apply(variables, jnp.float32(X), mutable=["mixing"])
    (weights,) = jax.tree.leaves(found["mixing"])
    assert ((weights > 0).sum(axis=-1) <= 2).all()
    assert_close(weights.sum(axis=-1), 1.0)


def test_the_smooth_step_is_flat_outside_and_smooth_at_its_ends():
    assert_close(smooth_step(jnp.array([-3.0, -0.5, 0.0, 0.25, 0.5, 3.0])), [0, 0, 0.5, 0.84375, 1, 1])
    slopes = jax.vmap(jax.grad(smooth_step))(jnp.array([-0.6, -0.4999, 0.0, 0.4999, 0.6]))
    assert_close(slopes, [0, 0.0006, 1.5, 0.0006, 0])


@pytest.mark.parametrize("extractor", [DSelectK(2, num_experts=6), SNR(2, temperature=0.0)], ids=["e", "t"])
def test_settings_without_a_meaning_are_refused(extractor):
    with pytest.raises(
        InputError, match=r"num_experts is 6, expected a power of 2|temperature is 0, expected"
    ):
        extractor.init(jax.random.key(0), jnp.float32(X))


def test_one_expert_needs_no_code():
    params, h = applied(DSelectK(T, num_experts=1, expert_features=(H,)))
    assert "codes" not in params["gate"]
    for t in range(T):
        assert_close(h[t], mlp(params["experts"], 0, X))
