"""Transfers: outputs from towers, with and without the task graph."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.transfers import TRANSFERS

RNG = np.random.default_rng(0)
PARENTS = ((), (0,), (0, 1))
REQUIRES = ((), (0,), (0, 1))
BINARY = ("binary",) * 3
H = RNG.normal(size=(3, 6, 4))


def make(name, parents=PARENTS, requires=REQUIRES, num_outputs=(1, 1, 1), kinds=BINARY, **arguments):
    """A transfer with the fields that it takes, as a model's builder makes it."""
    given = {"parents": parents, "requires": requires, "num_outputs": num_outputs, "kinds": kinds}
    fields = {field.name for field in dataclasses.fields(TRANSFERS[name])}
    return TRANSFERS[name](**{k: v for k, v in given.items() if k in fields}, **arguments)


def random_params(transfer):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(transfer.init, jax.random.key(0), jnp.float32(H))["params"]
    return jax.tree.map(lambda p: jnp.float32(rng.normal(size=p.shape)), shapes)


def run(transfer, params, h=H, **kwargs):
    apply = jax.jit(functools.partial(transfer.apply, **kwargs))
    return apply({"params": params}, jnp.float32(h))


def as64(tree):
    return jax.tree.map(np.float64, tree)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def logit(p):
    return np.log(p) - np.log1p(-p)


def linear(params, h=H, name="heads"):
    """The heads' outputs `[T, B, K]` in float64."""
    head = as64(params[name]["dense"])
    return h @ head["kernel"] + head.get("bias", np.zeros((len(h), 1)))[:, None]


def test_independent_outputs_are_linear_in_the_towers():
    transfer = make("independent")
    params = random_params(transfer)
    np.testing.assert_allclose(run(transfer, params), linear(params), rtol=1e-5, atol=1e-6)


def test_bayesian_outputs_match_numpy():
    transfer = make("bayesian", relation_features=(5,))
    params = random_params(transfer)
    outputs = run(transfer, params)
    unit, head = as64(params["relations"]), as64(params["heads"]["dense"])
    relations: list[np.ndarray] = []
    for t, parents in enumerate(PARENTS):
        z = H[t] @ unit["own_kernel"][t] + unit["bias0"][t]
        for slot, parent in enumerate(parents):
            z = z + relations[parent] @ unit["parent_kernel"][t, slot]
        relations.append(np.maximum(z, 0))
        expected = relations[t] @ head["kernel"][t] + head["bias"][t]
        np.testing.assert_allclose(outputs[t], expected, rtol=1e-4, atol=1e-5)


def test_product_multiplies_the_rates_along_the_funnel():
    transfer = make("product")
    params = random_params(transfer)
    rate = sigmoid(linear(params)[..., 0])
    joint = np.stack([rate[0], rate[0] * rate[1], rate[0] * rate[1] * rate[2]])
    np.testing.assert_allclose(run(transfer, params)[..., 0], logit(joint), rtol=1e-4, atol=1e-5)


def test_a_required_event_contributes_once_however_many_ways_lead_to_it():
    """Two tasks that both require the first, and a last one that requires all three."""
    four = np.concatenate([H, RNG.normal(size=(1, 6, 4))])
    transfer = make(
        "product",
        parents=((), (0,), (0,), (1, 2)),
        requires=((), (0,), (0,), (0, 1, 2)),
        num_outputs=(1,) * 4,
    )
    shapes = jax.eval_shape(transfer.init, jax.random.key(0), jnp.float32(four))["params"]
    params = jax.tree.map(lambda p: jnp.float32(RNG.normal(size=p.shape)), shapes)
    rate = sigmoid(linear(params, four)[..., 0])
    outputs = run(transfer, params, four)
    np.testing.assert_allclose(outputs[2, :, 0], logit(rate[0] * rate[2]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs[3, :, 0], logit(rate.prod(axis=0)), rtol=1e-4, atol=1e-5)


def test_esm2_adds_both_ways_to_the_last_event():
    """Click → action; a purchase requires the click alone."""
    transfer = make("esm2", parents=((), (0,), (0, 1)), requires=((), (0,), (0,)))
    params = random_params(transfer)
    y1, y2, y3 = sigmoid(linear(params)[..., 0])
    y4 = sigmoid(linear(params, name="without_action")[2, :, 0])
    expected = [y1, y1 * y2, y1 * (y2 * y3 + (1 - y2) * y4)]
    np.testing.assert_allclose(run(transfer, params)[..., 0], logit(np.stack(expected)), rtol=1e-4, atol=1e-5)


def test_esm2_without_a_side_path_is_the_product():
    transfer, product = make("esm2"), make("product")
    params = random_params(transfer)
    assert jax.tree.structure(params) == jax.tree.structure(random_params(product))
    np.testing.assert_array_equal(run(transfer, params), run(product, params))


def test_esm2_refuses_two_actions():
    transfer = make(
        "esm2", parents=((), (0,), (0,), (0, 1, 2)), requires=((), (0,), (0,), (0,)), kinds=("binary",) * 4,
        num_outputs=(1,) * 4,
    )  # fmt: skip
    with pytest.raises(InputError, match="task 3 has 2 binary parents that it does not require"):
        jax.eval_shape(transfer.init, jax.random.key(0), jnp.zeros((4, 2, 3)))


def test_cascade_takes_half_from_the_stage_before():
    transfer = make("cascade", parents=((), (0,), (1,)))
    params = random_params(transfer)
    own, bias = linear(params), np.float64(params["bias"])
    first = own[0] + bias[0]
    second = 0.5 * (own[1] + first) + bias[1]
    third = 0.5 * (own[2] + second) + bias[2]
    np.testing.assert_allclose(run(transfer, params), np.stack([first, second, third]), rtol=1e-5, atol=1e-5)


def test_cascade_passes_over_parents_of_other_kinds():
    transfer = make("cascade", parents=((), (0,), (0, 1)), kinds=("binary", "regression", "binary"))
    params = random_params(transfer)
    own, bias = linear(params), np.float64(params["bias"])
    outputs = run(transfer, params)
    np.testing.assert_allclose(outputs[1], own[1] + bias[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs[2], 0.5 * (own[2] + own[0] + bias[0]) + bias[2], rtol=1e-5, atol=1e-5)


def test_ait_attends_to_the_tower_and_what_the_parents_pass_on():
    transfer = make("ait")
    params = random_params(transfer)
    p = as64({name: leaf for name, leaf in params.items() if name != "heads"})
    features: list[np.ndarray] = []
    for t, parents in enumerate(PARENTS):
        units = [np.maximum(features[j] @ p["pass_kernel"][t] + p["pass_bias"][t], 0) for j in parents]
        units.append(H[t])
        if not parents:
            features.append(H[t])
            continue
        scores = [
            np.sum((u @ p["key_kernel"][t]) * (u @ p["query_kernel"][t]), axis=-1) / np.sqrt(4) for u in units
        ]
        weights = np.exp(scores) / np.sum(np.exp(scores), axis=0)
        features.append(
            sum(w[:, None] * (u @ p["value_kernel"][t]) for w, u in zip(weights, units, strict=True))
        )
    expected = linear(params, np.stack(features))
    np.testing.assert_allclose(run(transfer, params), expected, rtol=1e-4, atol=1e-4)


def test_aits_calibrator_is_the_mean_excess_over_the_required_event_and_only_in_training():
    transfer = make("ait", calibration=0.25)
    params = random_params(transfer)
    outputs, sown = run(transfer, params, train=True, mutable=["penalties"])
    rate = sigmoid(np.float64(outputs[..., 0]))
    second = np.maximum(rate[1] - rate[0], 0).mean()
    third = np.maximum(rate[2] - rate[0], 0).mean() + np.maximum(rate[2] - rate[1], 0).mean()
    assert second > 0
    assert third > 0
    (penalty,) = jax.tree.leaves(sown)
    np.testing.assert_allclose(penalty, 0.25 * np.array([0, second, third]), rtol=1e-4)
    assert not run(transfer, params, mutable=["penalties"])[1]


@pytest.mark.parametrize("stop", [False, True])
def test_feed_output_takes_the_parents_predictions(stop):
    kinds, sizes = ("binary", "multiclass", "regression"), (1, 3, 1)
    transfer = make(
        "feed_output", kinds=kinds, num_outputs=sizes, requires=((), (), ()), features=5, stop_gradient=stop
    )
    params = random_params(transfer)
    p = as64(params)
    predictions, expected = [], []
    for t, parents in enumerate(PARENTS):
        z = H[t] @ p["own_kernel"][t] + p["bias"][t]
        for slot, parent in enumerate(parents):
            z = z + predictions[parent] @ p["parent_kernel"][t, slot, : sizes[parent]]
        o = (np.maximum(z, 0) @ p["head_kernel"][t] + p["head_bias"][t])[:, : sizes[t]]
        soft = np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)
        predictions.append({"binary": sigmoid(o), "multiclass": soft, "regression": o}[kinds[t]])
        expected.append(np.pad(o, ((0, 0), (0, 3 - sizes[t]))))
    np.testing.assert_allclose(run(transfer, params), np.stack(expected), rtol=1e-4, atol=1e-5)

    def last(h):
        return jnp.sum(transfer.apply({"params": params}, h)[2])

    moved = np.abs(jax.jit(jax.grad(last))(jnp.float32(H))).max(axis=(1, 2)) > 0
    assert moved.tolist() == [not stop, not stop, True]


def test_kl_bound_is_the_divergence_in_both_directions():
    transfer = make("kl_bound", bound=0.25)
    params = random_params(transfer)
    outputs, sown = run(transfer, params, train=True, mutable=["penalties", "conditionals"])
    joint = linear(params)[..., 0]
    given = linear(params, name="conditional")[..., 0]
    np.testing.assert_allclose(outputs[..., 0], joint, rtol=1e-5, atol=1e-5)
    (conditionals,) = jax.tree.leaves(sown["conditionals"])
    np.testing.assert_allclose(conditionals, [joint[0], given[1], given[2]], rtol=1e-5, atol=1e-5)
    p = sigmoid(joint)
    q = [None, p[0] * sigmoid(given[1]), p[0] * sigmoid(given[1]) * sigmoid(given[2])]

    def kl(a, b):
        return a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))

    expected = [0, *(np.mean(kl(p[t], q[t]) + kl(q[t], p[t])) for t in (1, 2))]
    (penalty,) = jax.tree.leaves(sown["penalties"])
    np.testing.assert_allclose(penalty, 0.25 * np.array(expected), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", TRANSFERS)
def test_tasks_may_have_different_numbers_of_outputs(name):
    kinds = ("binary", "multiclass", "multiclass")
    transfer = make(name, num_outputs=(1, 10, 2), kinds=kinds, requires=((), (), ()))
    outputs = run(transfer, random_params(transfer))
    assert outputs.shape == (3, 6, 10)
    assert outputs.dtype == jnp.float32
    for t, k in enumerate((1, 10, 2)):
        assert np.all(np.asarray(outputs[t, :, :k]) != 0)
        np.testing.assert_array_equal(outputs[t, :, k:], 0)


@pytest.mark.parametrize("name", TRANSFERS)
def test_one_task_is_enough(name):
    transfer = make(name, parents=((),), requires=((),), num_outputs=(1,), kinds=("binary",))
    h = jnp.float32(H[:1])
    outputs, _ = jax.jit(transfer.init_with_output)(jax.random.key(0), h)
    assert outputs.shape == (1, 6, 1)
    assert np.all(np.isfinite(outputs))
