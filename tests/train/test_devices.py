"""A run on eight devices, which share its batch, is the run on one device."""

import functools
import itertools
import re
from collections import defaultdict
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import weightings
from mtl.compilation import compile_quickly
from mtl.data import IdColumn, Schema
from mtl.errors import InputError
from mtl.models import build_model
from mtl.tasks import Task
from mtl.train import (
    Stack,
    Stopped,
    TrainSettings,
    budget,
    chain,
    find_ownership,
    group_data,
    layout_of,
    model_program,
    read_best,
    sparse_rows,
    train_group,
    train_program,
    train_settings,
)
from mtl.train.layout import on_host, put, put_by_run

DEVICES = 8
STEPS = 6
ROWS = 4096
TASKS = (Task("a"), Task("b", "regression"), Task("c", "multiclass", 3))
SCHEMA = Schema((IdColumn("i", 5), IdColumn("j", ROWS - 5)), ("x", "y"), TASKS)
ODD_ROWS = ROWS - 3
ODD = SCHEMA._replace(id_columns=(IdColumn("i", 5), IdColumn("j", ODD_ROWS - 5)))
SETTINGS = TrainSettings(batch_size=16, learning_rate=0.05, optimizer="momentum", steps_per_call=STEPS)
ARGUMENTS = {"static": {"weights": (0.5, 1.0, 1.5)}}


def make_columns(rows=64, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, 2, rows), rng.normal(size=rows), rng.integers(0, 3, rows)], axis=1)
    return {
        "ids": rng.integers(0, (5, ODD_ROWS - 5), (rows, 2)).astype(np.int32),
        "numeric": rng.normal(size=(rows, 2)).astype(np.float32),
        "labels": labels.astype(np.float32),
        "mask": rng.random((rows, 3)) < 0.7,  # of a sample space every device has another number of rows
    }


SMALL = {"name": "shared_bottom", "bottom_features": (4,), "tower_features": (3,), "embedding_dim": 2}
EXPERTS = {
    "name": "mmoe",
    "num_experts": 2,
    "expert_features": (3,),
    "tower_features": (3,),
    "embedding_dim": 2,
}
WIDE = {**SMALL, "bottom_features": (64, 64)}
SPECS = {
    "plain": SMALL,
    "wide": WIDE,
    "dropout": {**SMALL, "tower_dropout": 0.4},
    "tap": EXPERTS,
    "cut": EXPERTS,
    "odd": SMALL,
}
"""Models by what is special: a weighting that reads a tap, backward passes that start at a cut, a table of a
number of rows that devices cannot divide evenly."""


@functools.cache
def model(kind="plain", dtype="float32"):
    return build_model(SPECS[kind], ODD if kind == "odd" else SCHEMA, dtype)


@functools.cache
def shared(kind):
    batch = {k: jnp.asarray(v[:8]) for k, v in make_columns().items()}
    init = jax.jit(model(kind).init, compiler_options=compile_quickly())
    params = init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, batch)["params"]
    return find_ownership(model(kind), TASKS, params, batch).shared


@functools.cache
def functions(layout, kind="plain"):
    return model_program(model(kind), layout)


@functools.cache
def initial(kind, seeds):
    """The first variables of some runs as one device draws them: rounding depends on the layout."""
    layout = layout_of(len(seeds), SETTINGS, jax.devices()[:1])
    row = {k: jnp.asarray(v[:1]) for k, v in make_columns().items()}
    return on_host(functions(layout, kind).init(np.array(seeds, np.uint32), row))


def prepare(names, settings, seeds=(3,), kind="plain"):
    """A compiled call of six steps for a group of runs, one weighting each, and its arguments.

    All of it is in float64 where that is enabled, parameters included.
    """
    dtype = jnp.result_type(float)
    own = model(kind, dtype.name)

    def precise(tree):
        return jax.tree.map(lambda x: x.astype(dtype) if x.dtype == np.float32 else x, tree)

    more = {"tap": True} if kind == "tap" else {}
    specs = [{"name": name, **ARGUMENTS.get(name, {}), **more} for name in names]
    asks = weightings.needs(specs[0])
    steps = budget(settings._replace(steps_per_call=STEPS * asks.batches), 64, asks.batches)
    steps = steps._replace(steps_per_call=STEPS * asks.batches)
    devices = settings.data_parallel * settings.table_shards * len(seeds)
    layout = layout_of(len(seeds), settings, jax.devices()[:devices])
    group = {"kinds": [t.kind for t in TASKS], "shared": shared(kind), "steps_per_epoch": 2}

    def make_optimizer(branch):
        return chain(weightings.build_one_of(specs, branch, **group), settings, STEPS)

    program = train_program(
        own,
        TASKS,
        make_optimizer,
        steps,
        settings.batch_size,
        layout,
        losses_after=asks.losses_after,
        sparse=sparse_rows(own, settings, asks.batches),
        tap=kind == "tap",
        cut=kind == "cut",
    )
    columns = put(precise({k: v[None] for k, v in make_columns().items()}), layout.everywhere)
    branches = np.arange(len(seeds), dtype=np.int32) % len(names)
    runs = put_by_run(Stack(np.array(seeds, np.uint32), np.zeros(len(seeds), np.int32), branches), layout)
    like = functions(layout, kind).init(runs.seeds, {k: v[0, :1] for k, v in columns.items()})
    variables = precise(put_by_run(initial(kind, seeds), layout, like))
    arguments = program.start(variables, runs), runs, columns, np.int32(0)
    return program.advance.lower(*arguments).compile(compiler_options=compile_quickly()), arguments


def trained(names, settings, seeds=None, kind="plain"):
    """Parameters after six steps, and the losses and weights on the way, by name."""
    advance, arguments = prepare(names, settings, seeds or (3,) * len(names), kind)
    state, metrics = on_host(advance(*arguments))
    assert (metrics.first_bad >= STEPS).all()
    return {"params": state.params, "losses": metrics.losses, "weights": metrics.weights}


def error(found, expected):
    """Largest difference relative to the largest entry, over all arrays."""

    def of(a, b):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))

    return max(jax.tree.leaves(jax.tree.map(of, found, expected)))


def compared(names):
    """The errors of eight devices by weighting; those of a list are one program."""
    one, many = trained(names, SETTINGS), trained(names, SETTINGS._replace(data_parallel=DEVICES))
    pick = [jax.tree.map(lambda x, i=i: x[i], (many, one)) for i in range(len(names))]
    return {name: {k: error(a[k], b[k]) for k in b} for name, (a, b) in zip(names, pick, strict=True)}


@pytest.fixture(scope="module")
def errors():
    """Errors of all weightings; as many as can be are one program, which saves compilations.

    In float32 a bias whose gradients cancel, or a method that divides by a small difference, makes more than
    1e-6 of a rounding; in float64 everything that is wrong remains.
    """
    programs = defaultdict(list)
    for name in weightings.WEIGHTINGS:
        reads = weightings.reads({"name": name, **ARGUMENTS.get(name, {})})
        programs[reads or name].append(name)
    with jax.enable_x64(True):
        found = [compared(names) for names in programs.values()]
    return {name: each for errors in found for name, each in errors.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", weightings.WEIGHTINGS)
def test_eight_devices_equal_one(errors, name):
    assert max(errors[name].values()) <= 1e-12, errors[name]


def largest_error(found, expected):
    return max(error(found[k], expected[k]) for k in expected)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("ew", "dropout"),
        pytest.param("mgda", "tap", marks=pytest.mark.slow),
        pytest.param("upgrad", "cut", marks=pytest.mark.slow),
    ],
)
def test_eight_devices_equal_one_with_a_dropout_a_tap_and_a_cut(x64, name, kind):
    one = trained([name], SETTINGS, kind=kind)
    many = trained([name], SETTINGS._replace(data_parallel=DEVICES), kind=kind)
    assert largest_error(many, one) <= 1e-12


def test_two_runs_with_four_devices_each_equal_two_with_one_device_each_in_float32():
    one = trained(["mgda"], SETTINGS, (3, 4))
    many = trained(["mgda"], SETTINGS._replace(data_parallel=4), (3, 4))
    assert largest_error(many, one) <= 1e-6
    assert not np.allclose(one["losses"][0], one["losses"][1])


SPARSE = SETTINGS._replace(sparse_rows=True, optimizer="adam", learning_rate=0.01)
DIVIDED = SPARSE._replace(data_parallel=2, table_shards=4)


@pytest.mark.parametrize(
    "name",
    ["mgda", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ew", "upgrad", "famo", "graddrop"))],
)
def test_a_divided_table_equals_a_whole_one(x64, name):
    one, many = trained([name], SPARSE), trained([name], DIVIDED)
    assert largest_error(many, one) <= 1e-12


def test_a_divided_table_may_have_any_number_of_rows(x64):
    one, many = trained(["mgda"], SPARSE, kind="odd"), trained(["mgda"], DIVIDED, kind="odd")
    table = many["params"]["encoder"]["tables"]
    assert table.shape == (1, ROWS, 2)  # the next multiple of 4
    assert not table[:, ODD_ROWS:].any()  # nothing is ever written there
    many["params"]["encoder"]["tables"] = table[:, :ODD_ROWS]
    assert largest_error(many, one) <= 1e-12


@pytest.mark.slow
def test_a_weighting_may_remember_gradients_of_a_divided_table(x64):
    one, many = trained(["moco"], SPARSE), trained(["moco"], DIVIDED)
    assert largest_error(many, one) <= 1e-12


def test_a_device_has_its_rows_of_the_table_and_of_its_moments():
    _, (state, *_) = prepare(["ew"], DIVIDED)
    tables = [x for x in jax.tree.leaves(state) if x.shape[-2:] == (ROWS, 2)]
    assert len(tables) == 3  # with Adam's two moments
    for table in tables:
        assert {shard.data.shape for shard in table.addressable_shards} == {(1, ROWS // 4, 2)}


def collectives(text):
    """The type and the number of elements of every array that devices exchange in a compiled program."""
    lines = re.findall(r"= (.*?) (?:all-|reduce-scatter|collective-|ragged-)[a-z-]*\(", text)
    found = [pair for line in lines for pair in re.findall(r"(\w+)\[([\d,]*)\]", line)]
    return [(dtype, int(np.prod([int(n) for n in shape.split(",") if n]))) for dtype, shape in found]


@pytest.mark.parametrize("shards", [1, 4])
def test_devices_exchange_rows_of_the_batch_and_no_table(shards):
    settings = DIVIDED._replace(data_parallel=8 // shards, table_shards=shards)
    advance, _ = prepare(["mgda"], settings)
    exchanged = collectives(advance.as_text())
    sizes = [size for _, size in exchanged]
    assert max(sizes) >= 2 * settings.batch_size  # the rows of a batch do travel
    assert max(sizes) < ROWS // DEVICES
    # Every device finds the distinct rows by itself: ids travel once on the way there and once on the way
    # back, and where the table is divided what each device knows of them.
    assert sum(dtype == "s32" for dtype, _ in exchanged) <= (2 if shards == 1 else 3)


def test_the_devices_of_a_run_divide_its_work():
    """With layers wide enough that rows are most of the work: the order of rows is found on each device."""

    def flops(settings):
        advance, _ = prepare(["ew"], settings._replace(batch_size=64), kind="wide")
        return advance.cost_analysis()["flops"]

    assert flops(SPARSE._replace(data_parallel=DEVICES)) < flops(SPARSE) / 3


# ---- checkpoints --------------------------------------------------------------------------------------

LONG = TrainSettings(
    *(16, 0.01), steps=12, eval_every=6, steps_per_call=3, checkpoint_seconds=0.0, sparse_rows=True
)


@functools.cache
def trainer(data, shards, kind="plain"):
    """Two runs of which each has so many devices, to be trained with checkpoints in a folder."""
    settings = LONG._replace(data_parallel=data, table_shards=shards)
    steps = budget(settings, 64)
    layout = layout_of(2, settings, jax.devices()[: data * shards])
    weighting = weightings.build("uwl", kinds=[t.kind for t in TASKS])
    program = train_program(
        *(model(kind), TASKS, lambda numbers: chain(weighting, settings, steps.steps)),
        *(steps, settings.batch_size, layout),
        sparse=sparse_rows(model(kind), settings),
    )
    splits = {name: make_columns(seed=i) for i, name in enumerate(("train", "val", "test"))}
    held = group_data([splits], 64, layout)
    runs = Stack(np.array((3, 4), np.uint32), np.zeros(2, np.int32), {})

    def train(folder, calls=100, begin=None):
        count = itertools.count(1)
        return train_group(
            *(layout, functions(layout, kind), program, TASKS, settings, steps, held, runs),
            folder=folder,
            stop_requested=lambda: next(count) >= calls,
            begin=begin,
        )

    return train


def curves(results):
    """All numbers of all curves, and the test metrics."""
    return jax.tree.leaves([(r.test, [list(record.values())[2:] for record in r.curves]) for r in results])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return trainer(2, 4)(tmp_path_factory.mktemp("eight"))


@pytest.mark.parametrize(
    "data, shards", [(2, 4), (1, 1), *(pytest.param(1, n, marks=pytest.mark.slow) for n in (2, 4))]
)
def test_what_eight_devices_have_saved_goes_on_elsewhere(undisturbed, data, shards, tmp_path):
    with pytest.raises(Stopped):
        trainer(2, 4)(tmp_path, calls=2)
    found = trainer(data, shards)(tmp_path)
    if data * shards == 8:
        assert found == undisturbed
    assert [r.step for r in found] == [r.step for r in undisturbed]
    np.testing.assert_allclose(curves(found), curves(undisturbed), rtol=1e-6)
    best = read_best(tmp_path / "last")  # on the host, whole
    assert best["params"]["encoder"]["tables"].shape == (2, ROWS, 2)


@pytest.mark.parametrize(
    "data, shards", [(1, 1), *(pytest.param(1, n, marks=pytest.mark.slow) for n in (2, 8))]
)
def test_rows_that_fill_up_a_table_are_not_kept(data, shards, tmp_path):
    shapes = []

    def begin(variables):
        shapes.append(variables["params"]["encoder"]["tables"].shape)
        return variables

    whole = trainer(2, 4, "odd")(tmp_path / "whole", begin=begin)
    with pytest.raises(Stopped):
        trainer(2, 4, "odd")(tmp_path / "stopped", calls=2)
    found = trainer(data, shards, "odd")(tmp_path / "stopped")
    np.testing.assert_allclose(curves(found), curves(whole), rtol=1e-6)
    best = read_best(tmp_path / "whole" / "last")
    shapes.append(best["params"]["encoder"]["tables"].shape)
    assert shapes == [(2, ODD_ROWS, 2)] * 2


# ---- which devices ------------------------------------------------------------------------------------


def layout(num_runs=1, devices=DEVICES, **asked):
    found = layout_of(num_runs, SETTINGS._replace(**asked), jax.devices()[:devices])
    return dict(found.mesh.shape)


def test_runs_take_the_places_that_they_fill_evenly():
    assert layout(3) == {"runs": 3}
    assert layout(1, data_parallel=8) == {"runs": 1, "data": 8, "rows": 1}
    assert layout(1, data_parallel=0) == {"runs": 1, "data": 8, "rows": 1}
    assert layout(1, data_parallel=0, table_shards=4) == {"runs": 1, "data": 2, "rows": 4}
    assert layout(4, data_parallel=2) == {"runs": 4, "data": 2, "rows": 1}
    assert layout(3, data_parallel=4) == {"runs": 1, "data": 4, "rows": 1}
    assert layout(6, data_parallel=2, table_shards=1) == {"runs": 3, "data": 2, "rows": 1}
    assert layout(1, devices=1, data_parallel=0) == {"runs": 1}


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"data_parallel": 16}, "16 x 1 devices for a run, but there are 8; ask for fewer"),
        ({"data_parallel": 4, "table_shards": 4}, "4 x 4 devices for a run, but there are 8"),
        ({"data_parallel": 3}, "batch_size is 16, which 3 devices cannot share evenly .* a multiple of 3"),
        ({"data_parallel": 0, "batch_size": 12}, "batch_size is 12, which 8 devices cannot share"),
    ],
)
def test_devices_that_cannot_be_had(asked, message):
    with pytest.raises(InputError, match=message):
        layout(**asked)


@dataclass(frozen=True)
class Device:
    """A device of some process."""

    id: int
    process_index: int
    platform: str = "cpu"


def test_processes_that_train_together_give_every_run_equally_many_devices():
    devices = [Device(i, i // 3) for i in range(6)]
    asked = SETTINGS._replace(data_parallel=2)
    mesh = layout_of(6, asked, devices).mesh
    assert mesh.shape["runs"] == 3
    assert [[d.process_index for d in place] for place in mesh.devices[0]] == [[0, 1]] * 3
    with pytest.raises(InputError, match="is 1 x 1, expected a multiple of the 2 processes"):
        layout_of(1, SETTINGS, devices)


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"data_parallel": -1}, "train.data_parallel is -1, expected at least 0"),
        ({"table_shards": 0}, "train.table_shards is 0, expected at least 1"),
        ({"table_shards": 2}, "train.table_shards is 2, which only train.sparse_rows=True uses"),
    ],
)
def test_settings_that_make_no_sense(asked, message):
    with pytest.raises(InputError, match=message):
        train_settings(asked)
