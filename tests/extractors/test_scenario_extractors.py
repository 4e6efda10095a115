"""Extractors of scenarios: star layers, scenario experts, separate networks, and their normalisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.extractors import STAR, ScenarioExperts, SeparateDomains
from mtl.layers import PartitionedNorm

B, D, T, S = 10, 3, 2, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, D)).astype(np.float32)
DOMAIN = np.array([1, 2, 1, 1, 2, 3, 1, 2, 3, 1], np.int32)


def draw(shapes):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda p: jnp.float32(0.7 * rng.normal(size=p.shape)), shapes)


def prepared(module):
    variables = jax.eval_shape(functools.partial(module.init, jax.random.key(0)), X, domain=DOMAIN)
    params = draw(variables["params"])
    apply = jax.jit(functools.partial(module.apply, train=False))
    return params, lambda p=params, x=X, domain=DOMAIN: np.asarray(apply({"params": p}, x, domain=domain))


def relu(x):
    return np.maximum(x, 0)


def test_star_layers_multiply_the_shared_kernel_by_the_scenarios_own():
    params, apply = prepared(STAR(T, S, star_features=(5, 4), normalise=False))
    h = X.astype(np.float64)
    for i in range(2):
        p = jax.tree.map(np.float64, params[f"star{i}"])
        rows = []
        for row, s in zip(h, DOMAIN, strict=True):
            kernel, bias = p["kernel"] * p["domain_kernel"][s - 1], p["bias"] + p["domain_bias"][s - 1]
            rows.append(relu(row @ kernel + bias))
        h = np.stack(rows)
    np.testing.assert_allclose(apply(), np.stack([h] * T), rtol=1e-4, atol=1e-5)


def test_an_unseen_scenario_is_served_by_the_shared_part():
    params, apply = prepared(STAR(T, S, star_features=(5,), normalise=False))
    p = jax.tree.map(np.float64, params["star0"])
    expected = relu(X @ p["kernel"] + p["bias"])
    np.testing.assert_allclose(apply(domain=np.zeros(B, np.int32))[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "module", [STAR(T, S, normalise=False), ScenarioExperts(T, S), SeparateDomains(T, S)]
)
def test_a_scenarios_own_parameters_move_its_rows_alone_and_shared_ones_move_all(module):
    params, apply = prepared(module)
    before = apply()
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params):
        path = "/".join(key.key for key in keys)
        own = "domain_" in path or "own_experts" in path or "bottoms" in path
        axis = {"own_experts": 2, "gate": 1}.get(path.split("/")[0], 0)
        # Which scenario the slices of the axis belong to; 0 has none among star layers and experts.
        first = 0 if "bottoms" in path or path.startswith("gate") else 1
        if not own:
            moved = jax.tree_util.tree_map_with_path(
                lambda k, p, keys=keys: p * (1.3 if k == keys else 1), params
            )
            changed = (apply(moved) != before).any(axis=(0, 2))
            assert changed[DOMAIN == 1].any(), path
            assert changed[DOMAIN == 2].any(), path
            continue
        index = 2 - first
        scale = np.ones(leaf.shape, np.float32)
        scale[(slice(None),) * axis + (index,)] = 1.5
        shift = (scale != 1) * np.float32(0.3)
        moved = jax.tree_util.tree_map_with_path(
            lambda k, p, keys=keys, scale=scale, shift=shift: p * scale + shift if k == keys else p, params
        )
        changed = (apply(moved) != before).any(axis=(0, 2))
        assert changed[DOMAIN == 2].any(), path
        assert not changed[DOMAIN != 2].any(), path


def test_scenario_experts_match_numpy_and_unseen_rows_read_shared_experts_alone():
    module = ScenarioExperts(T, S, task_experts=2, shared_experts=3, expert_features=(4,))
    params, apply = prepared(module)
    p = jax.tree.map(np.float64, params)
    domain = DOMAIN.copy()
    domain[:2] = 0
    shared = relu(np.einsum("bd,edh->ebh", X, p["shared_experts"]["dense0"]["kernel"])
                  + p["shared_experts"]["dense0"]["bias"][:, None])  # fmt: skip
    own = p["own_experts"]["dense0"]
    expected = np.zeros((T, B, 4))
    for t in range(T):
        for b, s in enumerate(domain):
            logits = X[b] @ p["gate"]["dense"]["kernel"][t] + p["gate"]["domain_bias"][t, s]
            if s == 0:
                logits[:2] = -np.inf
            experts = [relu(X[b] @ own["kernel"][t, m, s - 1] + own["bias"][t, m, s - 1]) for m in range(2)]
            experts += list(shared[:, b])
            weights = np.exp(logits) / np.exp(logits).sum()
            expected[t, b] = weights @ np.stack(experts)
    np.testing.assert_allclose(apply(domain=domain), expected, rtol=1e-4, atol=1e-5)


def test_separate_networks_have_places_of_their_own():
    params, apply = prepared(SeparateDomains(T, S, bottom_features=(4,)))
    p = jax.tree.map(np.float64, params["bottoms"]["dense0"])
    h = apply()[1].reshape(B, S, 4)
    for b, s in enumerate(DOMAIN):
        np.testing.assert_allclose(h[b, s], relu(X[b] @ p["kernel"][s] + p["bias"][s]), rtol=1e-4, atol=1e-5)
        assert not np.delete(h[b], s, axis=0).any()


# ---- partitioned normalisation ------------------------------------------------------------------


def norm(**fields):
    return PartitionedNorm(S, **fields)


def start():
    return norm().init(jax.random.key(0), X, DOMAIN)


def normalised(variables, x=X, domain=DOMAIN, *, train, **fields):
    mutable = ["batch_stats"] if train else []
    apply = jax.jit(functools.partial(norm(**fields).apply, train=train, mutable=mutable))
    z, state = apply(variables, x, domain)
    return np.asarray(z), {**variables, **state}


def test_every_scenario_is_normalised_with_its_own_rows():
    variables = start()
    params = draw(variables["params"])
    z, state = normalised({**variables, "params": params}, train=True, least_rows=2)
    p = jax.tree.map(np.float64, params)
    for s in (1, 2, 3):
        rows = X[s == DOMAIN].astype(np.float64)
        expected = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5)
        expected = expected * (p["scale"] * p["domain_scale"][s]) + p["shift"] + p["domain_shift"][s]
        np.testing.assert_allclose(z[s == DOMAIN], expected, rtol=1e-4, atol=1e-4)
        # The first batch of a scenario sets its running statistics.
        np.testing.assert_allclose(state["batch_stats"]["mean"][s], rows.mean(axis=0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(state["batch_stats"]["var"][s], rows.var(axis=0), rtol=1e-4)


def test_running_statistics_follow_the_batches_and_serving_reads_them():
    _, first = normalised(start(), train=True, least_rows=2, momentum=0.75)
    _, second = normalised(first, 2 * X + 1, train=True, least_rows=2, momentum=0.75)
    rows = X[DOMAIN == 1].astype(np.float64)
    mean = 0.75 * rows.mean(axis=0) + 0.25 * (2 * rows + 1).mean(axis=0)
    var = 0.75 * rows.var(axis=0) + 0.25 * 4 * rows.var(axis=0)
    served, after = normalised(second, train=False)
    expected = (rows - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(served[DOMAIN == 1], expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, after, second)


def test_absent_and_rare_scenarios_change_nothing_and_give_no_nan():
    _, state = normalised(start(), train=True, least_rows=2)
    only_first = np.ones(B, np.int32)
    only_first[0] = 3  # a single row of scenario 3, none of scenario 2

    def loss(x):
        z = norm(least_rows=2).apply(state, x, only_first, train=True, mutable=["batch_stats"])[0]
        return jnp.sum(jnp.sin(z)), z

    (value, z), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(jnp.asarray(X))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    running = jax.tree.map(np.float64, state["batch_stats"])
    np.testing.assert_allclose(
        z[0], (X[0] - running["mean"][3]) / np.sqrt(running["var"][3] + 1e-5), rtol=1e-4
    )
    _, after = normalised(state, X, only_first, train=True, least_rows=2)
    for s in (0, 2, 3):
        np.testing.assert_array_equal(after["batch_stats"]["mean"][s], running["mean"][s].astype(np.float32))
    assert (np.asarray(after["batch_stats"]["mean"][1]) != running["mean"][1]).any()


def test_an_unseen_scenario_gets_the_mixture_of_those_seen_and_before_training_nothing_changes():
    zeros = np.zeros(B, np.int32)
    untouched, _ = normalised(start(), X, zeros, train=False)
    np.testing.assert_allclose(untouched, X / np.sqrt(1 + 1e-5), rtol=1e-6)
    _, state = normalised(start(), train=True, least_rows=2)
    running = jax.tree.map(np.float64, state["batch_stats"])
    mean = running["mean"][1:].mean(axis=0)
    var = running["var"][1:].mean(axis=0) + running["mean"][1:].var(axis=0)
    served, _ = normalised(state, X, zeros, train=False)
    np.testing.assert_allclose(served, (X - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)


def test_training_and_serving_agree_once_the_statistics_have_settled():
    """The same batch again and again: its statistics are then the running ones."""
    state = start()
    for _ in range(3):
        trained, state = normalised(state, train=True, least_rows=2)
    served, _ = normalised(state, train=False)
    np.testing.assert_allclose(served, trained, rtol=1e-4, atol=1e-5)


def test_inputs_constant_within_a_scenario_are_served_as_they_were_trained():
    """The scenario's own embedding has no variance there; what it moves since must not be magnified."""
    embedding = np.array([0.1, -0.2, 0.3, 0.4], np.float32)[:, None]
    state = start()
    for moved in (0.0, 0.01, 0.02):
        x = np.concatenate([X[:, :2], embedding[DOMAIN] + np.float32(moved)], axis=1)
        trained, state = normalised(state, x, train=True, least_rows=2)
    served, _ = normalised(state, x, train=False)
    np.testing.assert_array_less(np.abs(trained[:, 2]), 1e-4)
    np.testing.assert_array_less(np.abs(served[:, 2]), 1e-4)
    few, _ = normalised(state, x, train=True, least_rows=B + 1)
    np.testing.assert_array_less(np.abs(few[:, 2]), 1e-4)
    # Other inputs are normalised all the same.
    assert (np.abs(served[:, :2]) > 0.1).any()
