"""Training on the rows of a batch inside the trainer: the same models, weightings and results."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import weightings
from mtl.compilation import compile_quickly
from mtl.data import load
from mtl.embedding import empty_scratch
from mtl.errors import InputError
from mtl.models import build_model, fused_table, initial_variables
from mtl.train import (
    Stack,
    TrainSettings,
    TrainState,
    budget,
    chain,
    find_ownership,
    group_data,
    layout_for,
    make_step,
    model_program,
    on_rows,
    sparse_rows,
    train_group,
    train_program,
    train_settings,
)

SETTINGS = TrainSettings(
    *(16, 0.05), optimizer="adagrad", steps=8, eval_every=4, steps_per_call=4, sparse_rows=True
)
ROWS = {"num_train": 96, "num_val": 64, "num_test": 64}


@functools.cache
def dataset(name):
    if name == "scenario_synthetic":
        return load(name, num_scenarios=3, dim=8, **ROWS)
    if name == "sequence_synthetic":
        return load(name, **ROWS)
    rates = {"click_rate": 0.5, "cart_rate": 0.5, "conversion_rate": 0.4}
    return load(name, with_cart=True, num_users=30, num_items=12, dim=3, **rates, **ROWS)


def asks_more(name):
    needs = weightings.needs(name)
    return needs.batches > 1 or needs.losses_after


@functools.cache
def built(data_name, name, **sizes):
    """A model, its variables, and which parameters its tasks share."""
    data = dataset(data_name)
    model = build_model({"embedding_dim": 4, "name": name, **sizes}, data.schema)
    rows = {k: jnp.asarray(v[:16]) for k, v in data.splits["train"].items()}
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = jax.jit(lambda: initial_variables(model, keys, rows), compiler_options=compile_quickly())()
    few = {k: v[:4] for k, v in rows.items()}
    stats = {k: v for k, v in variables.items() if k != "params"}
    return model, variables, find_ownership(model, data.schema.tasks, variables["params"], few, stats).shared


def trained(spec, data_name, weighting, settings, steps=3):
    """Variables and losses after some steps, dense and on rows."""
    data = dataset(data_name)
    tasks = data.schema.tasks
    model, variables, shared = built(data_name, **spec)
    stats = {k: v for k, v in variables.items() if k != "params"}
    shared = None if weighting in weightings.SCALARIZATIONS else shared
    asks = weightings.needs(weighting)
    kinds = [t.kind for t in tasks]
    arguments = {"static": {"weights": 1.0}}.get(weighting, {})
    tx = chain(
        weightings.build({"name": weighting, **arguments}, kinds=kinds, shared=shared, steps_per_epoch=2),
        settings,
        steps,
    )
    step = make_step(model, tasks, tx, losses_after=asks.losses_after)
    state = TrainState(variables["params"], tx.init(variables["params"]), stats)
    order = np.random.default_rng(0).integers(0, ROWS["num_train"], (steps, asks.batches, 16))
    given = [
        {k: jnp.asarray(v[order[:, i]]) for k, v in data.splits["train"].items()} for i in range(asks.batches)
    ]
    keys = jax.random.split(jax.random.key(2), steps)

    def run(step, carry):
        def body(carry, inputs):
            batches, key = inputs
            return step(carry, batches[0], key, *batches[1:])

        whole = jax.jit(lambda c: jax.lax.scan(body, c, (given, keys)), compiler_options=compile_quickly())
        return whole(carry)

    sparse = sparse_rows(model, settings, asks.batches)
    small = on_rows(step, lambda p: TrainState(p, tx.init(p), stats), variables["params"], sparse)
    dense, dense_metrics = run(step, state)
    (found, _), metrics = run(small, (state, empty_scratch(sparse.table.num_rows)))
    assert (np.asarray(metrics.rows) > 0).all()
    assert (np.asarray(dense_metrics.rows) == 0).all()
    return (dense.variables, dense_metrics.losses), (found.variables, metrics.losses), variables


def close(one, other, tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), one, other)


@pytest.mark.parametrize(
    "name, data",
    [
        ("mmoe", "funnel_synthetic"),
        ("single_task", "funnel_synthetic"),  # a private table per task
        ("star", "scenario_synthetic"),  # running statistics, a side tower that reads embeddings
        ("dmr1", "sequence_synthetic"),  # sequences with padding, columns that read one table
    ],
)
def test_models_train_as_with_the_whole_table(name, data):
    dense, found, before = trained({"name": name}, data, "static", SETTINGS)
    close(dense, found, 1e-5)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before["params"], found[0]["params"])
    assert max(jax.tree.leaves(moved["encoder"])) > 1e-3


@pytest.mark.parametrize("name", [name for name in weightings.WEIGHTINGS if asks_more(name)])
def test_weightings_that_read_more_than_a_batch_train_on_rows(name):
    """The first step is the dense one; later ones may differ where a method remembers gradients."""
    spec = {"name": "shared_bottom", "bottom_features": (6,), "tower_features": (4,)}
    dense, found, _ = trained(spec, "funnel_synthetic", name, SETTINGS, steps=1)
    close(dense, found, 1e-4)


def fit(settings):
    data = dataset("funnel_synthetic")
    model, *_ = built("funnel_synthetic", "shared_bottom")
    steps = budget(settings, ROWS["num_train"])
    layout = layout_for(2)
    train = train_program(
        model,
        data.schema.tasks,
        lambda _: chain(weightings.mgda(num_tasks=len(data.schema.tasks)), settings, steps.steps),
        steps,
        settings.batch_size,
        layout,
        cut=True,
        sparse=sparse_rows(model, settings),
    )
    on_device = group_data([data.splits], 64, layout)
    runs = Stack(np.array([0, 1], np.uint32), np.zeros(2, np.int32), {})
    program = model_program(model, layout)
    return train_group(layout, program, train, data.schema.tasks, settings, steps, on_device, runs)


def test_runs_of_a_group_agree_with_dense_ones():
    sparse, dense = fit(SETTINGS), fit(SETTINGS._replace(sparse_rows=False))
    for ours, theirs in zip(sparse, dense, strict=True):
        for task, metrics in theirs.test.items():
            assert ours.test[task]["logloss"] == pytest.approx(metrics["logloss"], rel=1e-4)
    assert sparse[0].test != sparse[1].test


def test_too_small_a_capacity_stops_the_run_and_says_what_to_raise():
    with pytest.raises(InputError, match=r"mean \d+ distinct rows, but train\.sparse_capacity is 9; raise"):
        fit(SETTINGS._replace(sparse_capacity=9))


def test_capacities():
    model, *_ = built("funnel_synthetic", "shared_bottom")
    rows = fused_table(model).num_rows
    assert rows == 31 + 13  # ids of users and items, the unseen one of each included
    assert sparse_rows(model, SETTINGS).capacity == 2 * 16
    assert sparse_rows(model, SETTINGS, batches=3).capacity == rows
    assert sparse_rows(model, SETTINGS._replace(sparse_capacity=7)).capacity == 7
    assert sparse_rows(model, SETTINGS._replace(sparse_rows=False)) is None
    with pytest.raises(InputError, match="sparse_capacity is 7, which only"):
        train_settings({"sparse_capacity": 7})


def test_a_model_without_embeddings_trains_as_ever():
    data = load("mmoe_synthetic", dim=4, **ROWS)
    assert sparse_rows(build_model("shared_bottom", data.schema), SETTINGS) is None
