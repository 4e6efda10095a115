"""One small schema and batch, and every preset on it with random parameters."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.compilation import compile_quickly
from mtl.data import IdColumn, Schema
from mtl.models import PRESETS, MultiTaskModel, build_model, initial_variables
from mtl.tasks import Task

B = 12
SCHEMA = Schema(
    id_columns=(IdColumn("colour", 4, "user"), IdColumn("shape", 6, "item"), IdColumn("page", 3, "domain")),
    numeric_columns=("height", "width", "depth"),
    tasks=(
        Task("click"),
        Task("digit", "multiclass", 10),
        Task("buy", parents=("click",), requires=("click",)),
        Task("stars", "regression", parents=("click", "buy")),
    ),
)


HISTORIES = {"din", "dupn", "crosses", "match", "channels", "refer", "rui"}
"""Parts that read sequences or the item that a user comes from; see `test_sequence_presets.py`."""

PLAIN = [name for name, row in PRESETS.items() if not HISTORIES & {row.get("encoder"), row.get("side_tower")}]


class Case(NamedTuple):
    name: str
    model: MultiTaskModel
    params: Any
    batch: dict[str, jax.Array]
    stats: dict[str, Any]


def make_batch(schema, seed=0):
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, c.vocab_size, size=B) for c in schema.id_columns]
    return {
        "ids": jnp.asarray(np.array(ids, np.int32).reshape(-1, B).T),
        "numeric": jnp.asarray(rng.normal(size=(B, len(schema.numeric_columns))), jnp.float32),
        "labels": jnp.zeros((B, len(schema.tasks))),
    }


def random_params(model, batch, seed=0):
    """Every entry is drawn, with biases mostly positive, so that no unit of the network is idle by chance."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)["params"]

    def draw(path, p):
        return jnp.float32(rng.normal(size=p.shape) * 0.5 + 0.5 * ("bias" in path[-1].key))

    return jax.tree_util.tree_map_with_path(draw, shapes)


def start_statistics(model, batch):
    """Running statistics at their start: rows pass the normalisation as they are."""

    def others():
        return {k: v for k, v in initial_variables(model, jax.random.key(0), batch).items() if k != "params"}

    return jax.jit(others, compiler_options=compile_quickly())()


@functools.cache
def make_case(name):
    spec = {"name": name, "embedding_dim": 2, "tower_features": (7,)}
    model = build_model(spec, SCHEMA)
    batch = make_batch(SCHEMA)
    return Case(name, model, random_params(model, batch), batch, start_statistics(model, batch))


@pytest.fixture(params=PLAIN)
def case(request):
    return make_case(request.param)


@pytest.fixture
def preset():
    return make_case


@pytest.fixture
def schema():
    return SCHEMA


@pytest.fixture
def batch_of():
    return make_batch


@pytest.fixture
def stats_of():
    return start_statistics


@pytest.fixture
def params_of():
    return random_params


@pytest.fixture(params=PLAIN)
def plain_preset(request):
    return request.param


@pytest.fixture
def plain():
    return PLAIN
