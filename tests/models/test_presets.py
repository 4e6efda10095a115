"""What holds for every preset: shapes, who moves whose outputs, the tap, dtypes, stacking."""

import functools
import re

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from precision import float32_of

from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.models import PRESETS, build_model, zero_perturbations
from mtl.tasks import Task, task_graph

OUTPUTS = (1, 10, 1, 1)
PARENTS = ((), (), (0,), (0, 2))
ITSELF = {t: {t} for t in range(4)}
DESCENDANTS = {0: {0, 2, 3}, 1: {1}, 2: {2, 3}, 3: {3}}
EVENTS_AFTER = {**ITSELF, 0: {0, 2}}  # a purchase requires a click; stars are no event

# Besides towers and transfer; "" is everything. Experts of PLE's lower levels also feed the shared branch.
PRIVATE = {
    "single_task": "",
    "mmoe": "extractor/gate",
    "cgc": "extractor/level1/task_",
    "ple": "extractor/level1/task_gate|extractor/level2/task_",
    "attention_gate": "extractor/gate",
    "dselect_k": "extractor/gate",
    "snr": "extractor/to_tasks",
    "cross_stitch": "extractor/stitch",
    "scenario_experts": "extractor/own_experts|extractor/gate",
}

# Whose outputs a tower of each transfer moves, and which of its own parameters move others or none.
READERS = {
    "independent": (ITSELF, {}),
    "bayesian": (DESCENDANTS, {"heads": ITSELF}),
    "product": (EVENTS_AFTER, {}),
    "esm2": (EVENTS_AFTER, {}),
    "kl_bound": (ITSELF, {"conditional": {t: set() for t in range(4)}}),
    "cascade": (EVENTS_AFTER, {}),
    "ait": (DESCENDANTS, {"heads": ITSELF}),
    "feed_output": (DESCENDANTS, {}),
}
OF_CHILDREN = ("parent_kernel", "pass_kernel", "pass_bias", "key_kernel", "query_kernel", "value_kernel")

TAPPED = {
    "shared_bottom": "extractor/bottom/dense0/bias",
    "dbmtl1": "extractor/bottom/dense0/bias",
    "esmm": "extractor/bottom/dense0/bias",
    "aitm": "extractor/bottom/dense0/bias",
    "mmoe": "extractor/experts/dense0/bias",
    "cgc": "extractor/level1/shared_experts/dense0/bias",
    "ple": "extractor/level2/shared_experts/dense0/bias",
    "dselect_k": "extractor/experts/dense0/bias",
    "snr": "extractor/level2/dense0/bias",
    "cross_stitch": "extractor/dense0/bias",
    "star": "extractor/star0/bias",
    "dbmtl3": "extractor/shared_experts/dense0/bias",
}


@functools.cache
def program(model):
    """The compiled model; the outputs of each are compared with many others."""
    return jax.jit(model.apply, compiler_options=compile_quickly())


def apply(case, params=None, **kwargs):
    variables = {"params": case.params if params is None else params, **case.stats}
    return program(case.model)(variables, case.batch, **kwargs)


def test_outputs_have_one_row_per_task_and_zero_padding(case):
    outputs = np.asarray(apply(case))
    assert outputs.shape == (4, 12, 10)
    assert outputs.dtype == np.float32
    for t, k in enumerate(OUTPUTS):
        assert np.all(outputs[t, :, :k] != 0)
        np.testing.assert_array_equal(outputs[t, :, k:], 0)


def is_private(path, model_name):
    """Whether a parameter's leading axis tells tasks apart, so that each slice has one owner."""
    private = r"towers/|transfer/|side_tower/|" + PRIVATE.get(PRESETS[model_name]["extractor"], "$")
    return re.match(private, path) is not None


def expected_readers(path, owner, model_name):
    """The tasks whose outputs task `owner`'s slice of a private parameter must move."""
    if path.endswith(OF_CHILDREN) and not PARENTS[owner]:
        return set()
    readers, special = READERS[PRESETS[model_name]["transfer"]]
    for part, others in special.items():
        if path.startswith(f"transfer/{part}"):
            readers = others
    return ITSELF[owner] if path.startswith("side_tower/") else readers[owner]


def test_a_private_slice_moves_its_own_task_and_that_tasks_descendants_only(case):
    direction = jnp.float32(np.random.default_rng(3).normal(size=(4, 12, 10)))

    def readings(params):
        outputs = case.model.apply({"params": params, **case.stats}, case.batch)
        return jnp.sum(outputs * direction, axis=(1, 2))

    jacobian = jax.jit(jax.jacrev(readings), compiler_options=compile_quickly())(case.params)
    num_private = num_shared = 0
    for keys, leaf in jax.tree_util.tree_leaves_with_path(jacobian):
        path = "/".join(key.key for key in keys)
        moves = np.asarray(leaf) != 0
        if not is_private(path, case.name):
            num_shared += 1
            assert moves.reshape(4, -1).any(axis=1).all(), path
            continue
        num_private += 1
        for owner in range(4):
            readers = set(np.flatnonzero(moves[:, owner].reshape(4, -1).any(axis=1)))
            assert readers == expected_readers(path, owner, case.name), (path, owner)
    assert num_private > 0
    assert (num_shared > 0) == (PRESETS[case.name]["extractor"] != "single_task")


@pytest.mark.parametrize("name", ["single_task", "ple", "dbmtl2"])
def test_experts_and_tasks_start_different(preset, name):
    case = preset(name)
    init = jax.jit(case.model.init, compiler_options=compile_quickly())
    params = init(jax.random.key(0), case.batch)["params"]
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = keys[-1].key
        if not name.endswith("kernel") or leaf.ndim < 3:
            continue
        flat = np.asarray(leaf).reshape(-1, leaf.shape[-2] * leaf.shape[-1])
        assert len(np.unique(flat, axis=0)) == len(flat), keys


def test_given_rows_make_the_tables_unnecessary(case):
    encoder = case.model.encoder
    look_up = jax.jit(functools.partial(encoder.apply, method="look_up"))
    rows = look_up({"params": case.params["encoder"]}, case.batch["ids"])
    params = flax.traverse_util.flatten_dict(case.params, sep="/")
    kept = {path: leaf for path, leaf in params.items() if not path.endswith("/tables")}
    assert len(kept) == len(params) - 1
    rest = flax.traverse_util.unflatten_dict(kept, sep="/")
    np.testing.assert_allclose(apply(case, rest, rows=rows), apply(case), rtol=1e-5, atol=1e-5)


def test_bfloat16_computes_close_to_float32_and_returns_float32(case, schema):
    spec = {"name": case.name, "embedding_dim": 2, "tower_features": (7,)}
    model = build_model(spec, schema, dtype=jnp.bfloat16)
    outputs = apply(case._replace(model=model))
    assert outputs.dtype == jnp.float32
    expected = np.asarray(apply(case))
    np.testing.assert_allclose(outputs, expected, atol=0.05 * np.abs(expected).max())
    assert np.any(np.asarray(outputs) != expected)


def test_float64_is_float64_all_the_way(case, schema, x64):
    model = build_model({"name": case.name, "embedding_dim": 2, "tower_features": (7,)}, schema, "float64")
    assert not float32_of(model, {"params": case.params, **case.stats}, case.batch)


def test_no_implicit_promotion_of_dtypes(case):
    with jax.numpy_dtype_promotion("strict"):
        outputs = jax.eval_shape(case.model.apply, {"params": case.params, **case.stats}, case.batch)
    assert outputs.dtype == jnp.float32


def test_runs_can_be_stacked(case, params_of):
    other = params_of(case.model, case.batch, seed=1)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), case.params, other)
    run = jax.vmap(lambda p: case.model.apply({"params": p, **case.stats}, case.batch))
    outputs = jax.jit(run, compiler_options=compile_quickly())(stacked)
    np.testing.assert_allclose(outputs[0], apply(case), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs[1], apply(case, other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, path", TAPPED.items())
def test_gradient_at_the_tap_is_the_gradient_of_its_inputs(preset, name, path):
    """With all its units active, a layer's bias gradient is the row sum of that at its output."""
    case = preset(name)
    flat = flax.traverse_util.flatten_dict(case.params, sep="/")
    params = flax.traverse_util.unflatten_dict({**flat, path: flat[path] + 100.0}, sep="/")
    zeros = zero_perturbations(case.model, params, case.batch, stats=case.stats)

    def loss(params, perturbations):
        variables = {"params": params, "perturbations": perturbations, **case.stats}
        return jnp.mean(jnp.sin(case.model.apply(variables, case.batch)))

    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)), compiler_options=compile_quickly())
    grads, at_tap = slopes(params, zeros)
    (tap,) = jax.tree.leaves(at_tap)
    bias = flax.traverse_util.flatten_dict(grads, sep="/")[path]
    assert np.abs(tap).max() > 1e-6
    np.testing.assert_allclose(np.sum(tap, axis=-2), bias, rtol=1e-3, atol=1e-6)


def test_gradient_at_omoes_tap_is_that_of_the_mixture(preset):
    """Towers and heads written out as a function of the mixture."""
    case = preset("omoe")
    params, (zeros,) = case.params, jax.tree.leaves(zero_perturbations(case.model, case.params, case.batch))

    def loss(zeros):
        perturbations = {"extractor": {"representation": zeros}}
        variables = {"params": params, "perturbations": perturbations}
        return jnp.sum(jnp.sin(case.model.apply(variables, case.batch))[0, :, 0])

    def tail(mixture):
        tower, head = params["towers"]["dense0"], params["transfer"]["heads"]["dense"]
        h = jax.nn.relu(mixture @ tower["kernel"][0] + tower["bias"][0])
        return jnp.sum(jnp.sin(h @ head["kernel"][0, :, 0] + head["bias"][0, 0]))

    x = case.model.encoder.apply({"params": params["encoder"]}, case.batch["ids"], case.batch["numeric"])
    mixture = case.model.extractor.apply({"params": params["extractor"]}, x)[0]
    np.testing.assert_allclose(jax.grad(loss)(zeros), jax.grad(tail)(mixture), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("train", [False, True])
def test_the_tap_changes_nothing(preset, train):
    for name in ("shared_bottom", "omoe", "mmoe", "ple", "attention_gate", "dselect_k", "cross_stitch"):
        case = preset(name)
        zeros = zero_perturbations(case.model, case.params, case.batch)
        run = jax.jit(functools.partial(case.model.apply, train=train), compiler_options=compile_quickly())
        tapped = run({"params": case.params, "perturbations": zeros}, case.batch)
        plain = run({"params": case.params}, case.batch)
        np.testing.assert_allclose(plain, tapped, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("missing", ["id_columns", "numeric_columns"])
def test_a_missing_column_group_is_no_trouble(case, schema, batch_of, params_of, stats_of, missing):
    schema = schema._replace(**{missing: ()})
    wanted = "roles 'user' and 'item'" if PRESETS[case.name].get("encoder") == "ncf" else "role 'domain'"
    if missing == "id_columns" and case.name in ("nmtr", "separate_domains", "star", "dbmtl3"):
        with pytest.raises(InputError, match=wanted):
            build_model(case.name, schema)
        return
    model = build_model(case.name, schema)
    batch = batch_of(schema)
    params = params_of(model, batch)
    assert ("encoder" in params) == (missing != "id_columns" or "encoder" in PRESETS[case.name])
    outputs = program(model)({**stats_of(model, batch), "params": params}, batch)
    assert outputs.shape == (4, 12, 10)
    assert np.all(np.isfinite(outputs))


def test_the_graph_of_the_descendants_above_is_the_schemas(schema):
    assert task_graph(schema.tasks) == PARENTS
    assert tuple(task.num_outputs for task in schema.tasks) == OUTPUTS


def test_a_single_task_is_enough(case, schema, batch_of, params_of, stats_of):
    schema = schema._replace(tasks=(Task("click"),))
    model = build_model(case.name, schema)
    batch = batch_of(schema)
    outputs = program(model)({**stats_of(model, batch), "params": params_of(model, batch)}, batch)
    assert outputs.shape == (1, 12, 1)
    assert np.all(np.isfinite(outputs))
