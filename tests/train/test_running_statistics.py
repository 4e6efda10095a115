"""Running statistics of a model on their way: through steps, evaluation, the best step, stops and stacks."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import weightings
from mtl.compilation import compile_quickly
from mtl.data import load
from mtl.models import build_model, initial_variables
from mtl.train import (
    Stack,
    Stopped,
    TrainSettings,
    budget,
    chain,
    group_data,
    layout_of,
    model_program,
    train_group,
    train_program,
)
from mtl.train.evaluate import evaluate
from mtl.train.layout import put_by_run
from mtl.train.program import join
from mtl.train.step import find_ownership, make_loss_fn

SETTINGS = TrainSettings(batch_size=32, learning_rate=0.01, steps=24, eval_every=8, steps_per_call=4)
SPEC = {"name": "star", "star_features": (5,), "tower_features": (3,), "embedding_dim": 2, "least_rows": 4}


@functools.cache
def dataset():
    sizes = {"num_train": 96, "num_val": 40, "num_test": 40, "num_scenarios": 2, "dim": 6, "shift": 1.0}
    return load("scenario_synthetic", **sizes)


@functools.cache
def functions(num_runs, devices=1):
    layout = layout_of(num_runs, SETTINGS._replace(data_parallel=devices), jax.devices()[:devices])
    return layout, model_program(build_model(SPEC, dataset().schema), layout)


@functools.cache
def setup(num_runs, weighting="static", devices=1):
    model, tasks = build_model(SPEC, dataset().schema), dataset().schema.tasks
    steps = budget(SETTINGS, 96)
    built = weightings.build(weighting, kinds=[t.kind for t in tasks])
    layout, program = functions(num_runs, devices)
    train = train_program(
        model, tasks, lambda numbers: chain(built, SETTINGS, steps.steps), steps, SETTINGS.batch_size, layout,
        losses_after=weighting == "famo",
    )  # fmt: skip
    return layout, program, train, steps


@functools.cache
def data():
    return group_data([dataset().splits], 64, setup(2)[0])


def fit(seeds, weighting="static", **options):
    layout, model, train, steps = setup(len(seeds), weighting)
    runs = Stack(np.array(seeds, np.uint32), np.zeros(len(seeds), np.int32), {})
    tasks = dataset().schema.tasks
    return train_group(layout, model, train, tasks, SETTINGS, steps, data(), runs, **options)


@pytest.fixture(scope="module")
def results():
    return fit((0, 1))


@pytest.mark.slow
def test_devices_that_share_a_batch_keep_the_statistics_of_all_of_it():
    found = []
    for devices in (1, 4):
        layout, model, train, _ = setup(1, devices=devices)
        runs = put_by_run(Stack(np.zeros(1, np.uint32), np.zeros(1, np.int32), {}), layout)
        columns = jax.device_put(jax.device_get(data().train), layout.everywhere)
        start = model.init(runs.seeds, {k: v[0, :1] for k, v in columns.items()})
        state, _ = train.advance(train.start(start, runs), runs, columns, np.int32(0))
        found.append(jax.device_get(state.stats))
    assert jax.tree.leaves(found[0])
    jax.tree.map(lambda one, many: np.testing.assert_allclose(many, one, rtol=1e-6, atol=1e-6), *found)


def test_the_selected_steps_own_statistics_serve_its_test_split(results):
    layout, model, train, _ = setup(2)
    runs = put_by_run(Stack(np.array((0, 1), np.uint32), np.zeros(2, np.int32), {}), layout)
    start = model.init(runs.seeds, {k: v[0, :1] for k, v in data().train.items()})
    state = train.start(start, runs)
    served, means = {}, []
    for k in range(0, 24, 4):
        state, _ = train.advance(state, runs, data().train, np.int32(k))
        predicted = model.predict(state.variables, runs.source, data().evals["test"])
        served[k + 4] = join(predicted, 40)
        means.append(np.asarray(state.stats["batch_stats"]["extractor"]["norm"]["mean"]))
    assert all((a != b).any() for a, b in itertools.pairwise(means))
    columns = dataset().splits["test"]
    for r, run in enumerate(results):
        expected = evaluate(
            dataset().schema.tasks, served[run.step][r], columns["labels"], truth=columns["truth"]
        )
        assert run.test == expected


def test_a_run_in_a_group_equals_the_run_alone(results):
    (alone,) = fit((1,))
    for task, metrics in results[1].test.items():
        assert alone.test[task] == pytest.approx(metrics, rel=1e-4)


def test_a_stopped_group_goes_on_bit_exactly(results, tmp_path):
    calls = iter(range(100))
    with pytest.raises(Stopped):
        fit((0, 1), folder=tmp_path, stop_requested=lambda: next(calls) == 2)
    again = fit((0, 1), folder=tmp_path)
    assert [run.test for run in again] == [run.test for run in results]
    assert [run.curves for run in again] == [run.curves for run in results]


def batch(rows=16):
    return {k: jnp.asarray(v[:rows]) for k, v in dataset().splits["train"].items()}


def started():
    """The model, its tasks, parameters and statistics before the first step."""
    model = build_model(SPEC, dataset().schema)
    init = jax.jit(functools.partial(initial_variables, model), compiler_options=compile_quickly())
    stats = init(jax.random.key(0), batch())
    return model, dataset().schema.tasks, stats.pop("params"), stats


def test_a_step_renews_them_once_and_evaluation_never():
    model, tasks, params, stats = started()
    loss_fn = jax.jit(make_loss_fn(model, tasks, stats), static_argnames="train")
    losses, renewed = loss_fn(params, batch(), jax.random.key(1))
    assert losses.shape == (2,)
    norm = renewed["batch_stats"]["extractor"]["norm"]
    domain = np.asarray(batch()["ids"][:, 0])
    x = model.bind({"params": params}).encoder(batch()["ids"], batch()["numeric"])
    np.testing.assert_allclose(norm["mean"][1], np.asarray(x)[domain == 1].mean(axis=0), rtol=1e-4, atol=1e-5)
    _, same = loss_fn(params, batch(), jax.random.key(1), train=False)
    jax.tree.map(np.testing.assert_array_equal, same, stats)


def test_losses_seen_after_a_step_leave_them_alone():
    """FAMO reads the batch's losses again with the new parameters; statistics follow the step's own pass."""
    plain, famo = ({r.seed: r for r in fit((0,), weighting=w)} for w in ("static", "famo"))
    assert np.isfinite(famo[0].test["click"]["logloss"])
    layout, model, train, _ = setup(1, "famo")
    runs = put_by_run(Stack(np.array((0,), np.uint32), np.zeros(1, np.int32), {}), layout)
    other = setup(1)
    means = []
    for program in (train, other[2]):
        start = model.init(runs.seeds, {k: v[0, :1] for k, v in data().train.items()})
        state, _ = program.advance(program.start(start, runs), runs, data().train, np.int32(0))
        means.append(state.stats["batch_stats"]["extractor"]["norm"]["seen"])
    np.testing.assert_array_equal(*means)
    assert plain


def test_ownership_is_found_with_them():
    model, tasks, params, stats = started()
    shared = find_ownership(model, tasks, params, batch(), stats).shared
    assert shared["extractor"]["norm"]["scale"]
    assert not shared["towers"]["dense0"]["kernel"]


@pytest.mark.parametrize("weighting", ["mgda", {"name": "mgda", "tap": True}, "modo"])
def test_weightings_that_read_gradients_train_models_with_statistics(weighting, results):
    del results
    model, tasks = build_model(SPEC, dataset().schema), dataset().schema.tasks
    name = weighting if isinstance(weighting, str) else weighting["name"]
    steps = budget(SETTINGS, 96, batches=3 if name == "modo" else 1)
    built = weightings.build(weighting, kinds=[t.kind for t in tasks])
    layout, program = functions(1)
    tap = not isinstance(weighting, str)
    train = train_program(
        model,
        tasks,
        lambda numbers: chain(built, SETTINGS, steps.steps),
        steps,
        32,
        layout,
        tap=tap,
        cut=not tap,
    )
    runs = put_by_run(Stack(np.zeros(1, np.uint32), np.zeros(1, np.int32), {}), layout)
    init = program.init(runs.seeds, {k: v[0, :1] for k, v in data().train.items()})
    state, metrics = train.advance(train.start(init, runs), runs, data().train, np.int32(0))
    assert np.isfinite(metrics.losses).all()
    seen = state.stats["batch_stats"]["extractor"]["norm"]["seen"][0, :, 0]
    np.testing.assert_array_equal(seen, [0, 1, 1])
