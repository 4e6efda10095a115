"""A small schema with everything that a match tower may read, and its rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.columns import table_owners
from mtl.data import IdColumn, Schema
from mtl.layers import Encoder
from mtl.side_towers import SIDE_TOWERS
from mtl.tasks import Task

LENGTH, DIM = 3, 2


def history(name, size, table=""):
    first = f"{name}_1"
    return tuple(
        IdColumn(f"{name}_{i + 1}", size, "user", name, table or ("" if i == 0 else first))
        for i in range(LENGTH)
    )


SCHEMA = Schema(
    (
        IdColumn("user", 3, "user"),
        IdColumn("item", 6, "item"),
        IdColumn("category", 4, "item"),
        IdColumn("refer", 6, "refer", table="item"),
        *history("past_item", 6, "item"),
        *history("past_category", 4, "category"),
        *history("past_kind", 3),
    ),
    ("age", "height"),
    (
        Task("click"),
        Task("buy", parents=("click",), requires=("click",)),
        Task("price", "multiclass", 3),
    ),
)
PAST = [[2, 3, 1], [4, 0, 0], [0, 0, 0], [5, 5, 0]]
IDS = np.array(
    [
        [1, 1, 2, 3, *PAST[0], 1, 2, 3, 1, 2, 1],
        [2, 4, 1, 2, *PAST[1], 3, 0, 0, 2, 0, 0],
        [1, 2, 3, 5, *PAST[2], 0, 0, 0, 0, 0, 0],
        [2, 5, 2, 1, *PAST[3], 1, 3, 0, 1, 1, 0],
    ],
    np.int32,
)
NUMERIC = np.float32([[0.5, 1.0], [-1.0, 0.2], [2.0, 0.0], [0.3, -0.4]])


class Tower:
    """A side tower with random parameters, on random rows."""

    def __init__(self, name, schema=SCHEMA, numeric=NUMERIC, private=False, **arguments):
        self.module = SIDE_TOWERS[name](schema, jnp.float32, **arguments)
        rng = np.random.default_rng(0)
        encoder = Encoder(tuple(c.vocab_size for c in schema.id_columns), DIM, owners=table_owners(schema))
        self.tables = jnp.float32(rng.normal(size=(16, DIM)))
        self.rows = encoder.apply({"params": {"tables": self.tables}}, IDS, method="look_up")
        if private:
            self.rows = jnp.stack([self.rows, -self.rows, 2 * self.rows])
        self.x = jnp.zeros((len(IDS), 5))
        self.numeric = numeric
        shapes = jax.eval_shape(self.module.init, jax.random.key(0), self.x, IDS, numeric, self.rows)[
            "params"
        ]
        self.params = jax.tree.map(lambda p: jnp.float32(rng.normal(size=p.shape)), shapes)
        self.serve, self.train = jax.jit(self._serve), jax.jit(self._train)

    def _serve(self, params, rows, ids):
        return self.module.apply({"params": params}, self.x, ids, self.numeric, rows)

    def _train(self, params, rows, ids, key):
        """What is sown in training."""
        arguments = self.x, ids, self.numeric, rows
        rngs = {"dropout": key}
        return self.module.apply(
            {"params": params}, *arguments, train=True, mutable=["penalties"], rngs=rngs
        )[1]

    def __call__(self, params=None, rows=None, ids=IDS):
        params = self.params if params is None else params
        return self.serve(params, self.rows if rows is None else rows, ids)

    def penalties(self, params=None, rows=None, ids=IDS, key=0):
        """The sum of what is sown `[T]`."""
        params = self.params if params is None else params
        sown = self.train(params, self.rows if rows is None else rows, ids, jax.random.key(key))
        return sum(jax.tree.leaves(sown["penalties"]))


@pytest.fixture
def tower():
    return Tower


@pytest.fixture
def schema():
    return SCHEMA


@pytest.fixture
def ids():
    return IDS


def vector_reference(params, x):
    """A network with one ReLU layer and a linear one, per task, in float64."""
    hidden, vector = params["mlp"]["dense0"], params["vector"]
    out = []
    for t in range(len(vector["bias"])):
        h = np.maximum(x @ np.float64(hidden["kernel"][t]) + np.float64(hidden["bias"][t]), 0)
        out.append(h @ np.float64(vector["kernel"][t]) + np.float64(vector["bias"][t]))
    return np.stack(out)


@pytest.fixture
def reference():
    return vector_reference
