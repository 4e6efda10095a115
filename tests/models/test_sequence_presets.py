"""Presets that read histories: they train, padding moves nothing, and attention finds a planted interest."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from precision import float32_of

from mtl.compilation import compile_quickly
from mtl.data import sequence_synthetic
from mtl.errors import InputError
from mtl.layers import fused_ids
from mtl.metrics import auc
from mtl.models import build_model, initial_variables
from mtl.train import make_loss_fn
from mtl.train.step import find_ownership

NAMES = ("din", "dupn", "dmr1", "dmr2", "dmr2_two_stage", "rui1", "rui2", "rui3")
TINY = {
    **{"num_users": 6, "num_items": 12, "num_categories": 4, "num_interests": 2, "length": 4},
    **{"num_train": 64, "num_val": 8, "num_test": 8, "price_task": True},
}


@functools.cache
def tiny(channels=False):
    return sequence_synthetic(channel_dim=3 if channels else 0, **TINY)


def rows(dataset, split="train", count=32):
    return {k: jnp.asarray(v[:count]) for k, v in dataset.splits[split].items() if k != "truth"}


def started(model, batch):
    return jax.jit(lambda key: initial_variables(model, key, batch)["params"])(jax.random.key(0))


@functools.cache
def case(name, extractor="shared_bottom"):
    """A preset with random parameters, and rows of its data set."""
    dataset = tiny(channels=name == "dmr2_two_stage")
    spec = {"name": name, "embedding_dim": 3, "tower_features": (5,), "extractor": extractor}
    model = build_model(spec, dataset.schema)
    batch = rows(dataset)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)["params"]
    params = jax.tree.map(lambda p: jnp.float32(rng.normal(size=p.shape) * 0.5), shapes)
    return dataset, model, params, batch


@pytest.mark.parametrize("name", NAMES)
def test_two_steps_of_training_lower_the_losses_of_their_batch(name):
    dataset, model, _, batch = case(name)
    params = started(model, batch)
    loss_fn = make_loss_fn(model, dataset.schema.tasks)
    optimizer = optax.adam(1e-2)

    @functools.partial(jax.jit, compiler_options=compile_quickly())
    def step(params, state):
        losses, slope = jax.value_and_grad(lambda p: loss_fn(p, batch, jax.random.key(1)).sum())(params)
        updates, state = optimizer.update(slope, state, params)
        return optax.apply_updates(params, updates), state, losses, slope

    state = optimizer.init(params)
    found = []
    for _ in range(3):
        params, state, loss, slope = step(params, state)
        found.append(float(loss))
    assert np.isfinite(found).all()
    assert found[2] < found[1] < found[0]
    parts = {"encoder", "extractor", "towers", "transfer"}
    parts |= set() if name in ("din", "dupn", "rui1") else {"side_tower"}
    assert set(slope) == parts
    for part in parts:
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slope[part])) > 0, part


@pytest.mark.parametrize("name", NAMES)
def test_the_padding_of_a_history_reaches_nothing(name):
    """The row that padding reads may hold anything: no candidate and no user has id 0 here."""
    dataset, model, params, batch = case(name)
    loss_fn = make_loss_fn(model, dataset.schema.tasks)
    tables = model.encoder if name.startswith("rui") else model.encoder.tables
    names = [column.name for column in dataset.schema.id_columns]
    first = fused_ids(jnp.zeros((1, len(names)), jnp.int32), tables.vocab_sizes, tables.owners)[0]
    padding = np.array([first[names.index(name)] for name in ("item", "category", "past_kind_1")])

    def losses(table):
        encoder = {**params["encoder"], "tables": {"tables": table}}
        encoder = {"tables": table} if name.startswith("rui") else encoder
        return loss_fn({**params, "encoder": encoder}, batch, jax.random.key(0))

    table = params["encoder"]["tables"]
    table = table if name.startswith("rui") else table["tables"]
    both = jax.jit(lambda t: (losses(t), jax.jacrev(losses)(t)), compiler_options=compile_quickly())
    values, slope = both(table)
    np.testing.assert_array_equal(slope[:, padding], 0)
    assert np.abs(slope).max() > 0
    np.testing.assert_array_equal(both(table.at[padding].set(9.0))[0], values)


@pytest.mark.parametrize("name", ["din", "dupn", "dmr1", "dmr2"])
def test_without_sharing_nothing_is_shared(name):
    dataset, model, params, batch = case(name, extractor="single_task")
    shared = find_ownership(model, dataset.schema.tasks, params, batch).shared
    assert not any(jax.tree.leaves(shared))


@pytest.mark.parametrize("name", NAMES)
def test_dtypes_are_never_promoted_by_chance(name):
    dataset, model, params, batch = case(name)
    half = build_model({"name": name, "embedding_dim": 3, "tower_features": (5,)}, dataset.schema, "bfloat16")
    with jax.numpy_dtype_promotion("strict"):
        for each in (model, half):
            loss_fn = make_loss_fn(each, dataset.schema.tasks)
            outputs = jax.eval_shape(each.apply, {"params": params}, batch)
            losses = jax.eval_shape(loss_fn, params, batch, jax.random.key(0))
            assert outputs.dtype == losses.dtype == jnp.float32
            assert outputs.shape == (3, 32, 7)


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_float64_all_the_way(name, x64):
    dataset, _, params, batch = case(name)
    spec = {"name": name, "embedding_dim": 3, "tower_features": (5,)}
    assert not float32_of(build_model(spec, dataset.schema, "float64"), {"params": params}, batch)


def test_refer_features_are_ordinary_inputs_of_the_first_version():
    dataset, model, params, batch = case("rui1")
    names = [column.name for column in dataset.schema.id_columns]
    apply = jax.jit(lambda ids: model.apply({"params": params}, {**batch, "ids": ids}))
    for name in ("refer", "refer_category"):
        changed = batch["ids"].at[:, names.index(name)].set(1 + batch["ids"][:, names.index(name)] % 4)
        assert (apply(changed)[:, :, 0] != apply(batch["ids"])[:, :, 0]).mean() > 0.9


@pytest.mark.parametrize(
    "name, dropped, message",
    [
        ("din", "sequence", "encoder 'din' reads a sequence of items, .*; use encoder='columns'"),
        ("din", "item", "encoder 'din' reads a sequence of items, .* of role 'item'"),
        ("dupn", "sequence", "encoder 'dupn' reads a sequence of items, .*; use encoder='columns'"),
        ("dmr1", "sequence", "encoder 'din' reads a sequence of items"),
        ("dmr2", "item", "encoder 'crosses' reads id columns of the user, .* has 1 and 0"),
        ("dmr2_two_stage", "", "side_tower 'channels' with stage='two_stage' reads pre-trained channels"),
        ("rui2", "refer", "side_tower 'refer' reads id columns .* has none with 'refer'"),
        ("rui3", "user", "side_tower 'rui' reads id columns .* has none with 'user'"),
    ],
)
def test_a_data_set_without_what_a_preset_reads_is_one_clear_line(name, dropped, message):
    schema = tiny().schema
    kept = [
        column
        for column in schema.id_columns
        if not (column.sequence if dropped == "sequence" else column.role == dropped and not column.sequence)
    ]
    known = {column.name for column in kept}
    kept = [c._replace(table=c.table if c.table in known else "") for c in kept]
    with pytest.raises(InputError, match=message) as caught:
        build_model(name, schema._replace(id_columns=tuple(kept)))
    assert "\n" not in str(caught.value)


def test_sequences_of_different_lengths_are_one_clear_line():
    schema = tiny().schema
    message = r"encoder 'dupn' reads sequences of one length, but .* lengths 3, 4; use encoder='columns'"
    with pytest.raises(InputError, match=message):
        build_model("dupn", schema._replace(id_columns=schema.id_columns[:-1]))
    assert build_model("din", schema._replace(id_columns=schema.id_columns[:-1]))


def test_a_stage_is_one_of_two():
    with pytest.raises(InputError, match="stage is 'three', expected one of: end_to_end, two_stage"):
        build_model({"name": "dmr2", "stage": "three"}, tiny().schema)


@functools.cache
def planted():
    sizes = {"num_users": 4000, "num_items": 60, "num_categories": 15, "num_interests": 4, "length": 8}
    return sequence_synthetic(num_train=24_000, num_val=2, num_test=3000, interest=5.0, bias=-3.0, **sizes)


def click_auc(name):
    """Test AUC of the click after 400 steps of Adam."""
    dataset = planted()
    model = build_model({"name": name, "bottom_features": (32,)}, dataset.schema)
    batches = 400
    train = rows(dataset, count=24_000)
    order = np.concatenate([np.random.default_rng(epoch).permutation(24_000) for epoch in range(3)])
    order = jnp.asarray(order[: batches * 128].reshape(batches, 128))
    params = started(model, rows(dataset))
    loss_fn = make_loss_fn(model, dataset.schema.tasks)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def fit(params):
        def step(carry, index):
            params, state = carry
            batch = jax.tree.map(lambda column: column[index], train)
            slope = jax.grad(lambda p: loss_fn(p, batch, jax.random.key(0))[0])(params)
            updates, state = optimizer.update(slope, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), order)[0][0]

    test = rows(dataset, "test", 3000)
    logits = jax.jit(model.apply)({"params": fit(params)}, test)[0, :, 0]
    return auc(np.asarray(logits), np.asarray(test["labels"][:, 0]))


def test_attention_finds_the_planted_interest_that_a_mean_blurs():
    mean, attention = click_auc("shared_bottom"), click_auc("din")
    truth = planted().splits["test"]
    best = auc(truth["truth"][:, 0], truth["labels"][:, 0])
    assert attention > mean + 0.08
    assert attention > best - 0.05
