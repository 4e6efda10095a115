"""Which rows a step sees: a permutation per epoch, a pure function of (seed, epoch).

Every row is one unit vector, so that the gradient of a linear model names the rows of a batch.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from mtl import weightings
from mtl.tasks import Task
from mtl.train import Budget, Stack, layout_for, stream_key, train_program
from mtl.train.layout import put_by_run
from mtl.train.order import rows_of_updates

ROWS, BATCH, PER_EPOCH = 13, 4, 3
TASKS = (Task("a", "regression"), Task("b", "regression"))
COLUMNS = {
    "ids": jnp.zeros((ROWS, 0), jnp.int32),
    "numeric": jnp.eye(ROWS),
    "labels": jnp.ones((ROWS, 2)),
}


class Recorder(nn.Module):
    """Predicts one weight per row, for both tasks."""

    @nn.compact
    def __call__(self, batch, *, train=False):
        weight = self.param("weight", nn.initializers.zeros, (ROWS,))
        return jnp.broadcast_to(batch["numeric"] @ weight, (2, len(batch["labels"])))[..., None]


def rows_seen(seeds, steps, steps_per_call=1, weighting=None):
    """Which rows each call touched, `[calls, runs, ROWS]` bool."""
    weighting = weighting or weightings.static(num_tasks=2)
    # Gradients of squared errors around 1 never vanish on a row that was seen: steps are small.
    optimizer = optax.with_extra_args_support(optax.chain(weighting, optax.sgd(1e-3)))
    layout = layout_for(len(seeds))
    lengths = Budget(steps, PER_EPOCH, steps_per_call, steps_per_call)
    train = train_program(Recorder(), TASKS, lambda numbers: optimizer, lengths, BATCH, layout)
    runs = put_by_run(Stack(np.array(seeds, np.uint32), np.zeros(len(seeds), np.int32), {}), layout)
    state = train.start({"params": {"weight": jnp.zeros((len(seeds), ROWS))}}, runs)
    columns = {name: column[None] for name, column in COLUMNS.items()}
    seen = []
    for start in range(0, steps, steps_per_call):
        before = np.asarray(state.params["weight"])
        state, _ = train.advance(state, runs, columns, start)
        seen.append(np.asarray(state.params["weight"]) != before)
    return np.array(seen)


@pytest.fixture(scope="module")
def nine_steps():
    return rows_seen([0, 1, 2], 9)


def test_every_batch_has_its_size_and_no_row_twice_in_an_epoch(nine_steps):
    np.testing.assert_array_equal(nine_steps.sum(axis=2), BATCH)
    epochs = nine_steps.reshape(3, PER_EPOCH, 3, ROWS).sum(axis=1)
    assert epochs.max() == 1
    np.testing.assert_array_equal(epochs.sum(axis=2), PER_EPOCH * BATCH)


def test_batches_are_those_of_seed_and_step(nine_steps):
    for run, seed in enumerate((0, 1, 2)):
        rows = rows_of_updates(jnp.uint32(seed), jnp.arange(9), PER_EPOCH, BATCH, ROWS)
        for step in range(9):
            assert np.flatnonzero(nine_steps[step, run]).tolist() == sorted(rows[step].tolist())


def test_epochs_and_seeds_differ(nine_steps):
    first = nine_steps[0]
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(nine_steps[0], nine_steps[PER_EPOCH])


def test_methods_with_one_seed_see_the_same_rows(nine_steps):
    other = rows_seen([0, 1, 2], 9, weighting=weightings.static((0.2, 0.9)))
    np.testing.assert_array_equal(other, nine_steps)


def test_a_run_does_not_depend_on_its_neighbours(nine_steps):
    np.testing.assert_array_equal(rows_seen([2], 9)[:, 0], nine_steps[:, 2])


@pytest.mark.parametrize("steps_per_call", [2, 4, 7])
def test_the_length_of_a_call_does_not_matter(nine_steps, steps_per_call):
    """Calls shorter and longer than an epoch, and such that start and end within one."""
    steps = 4 * steps_per_call
    single = rows_seen([0, 1, 2], steps)
    np.testing.assert_array_equal(single[:9], nine_steps[: min(9, steps)])
    together = rows_seen([0, 1, 2], steps, steps_per_call)
    np.testing.assert_array_equal(
        together, single.reshape(4, steps_per_call, 3, ROWS).any(axis=1), strict=True
    )


def test_streams_are_named_and_indexed():
    def key(*arguments):
        return tuple(jax.random.key_data(stream_key(*arguments)).tolist())

    names = ["init", "order", "dropout", "init-dropout"]
    keys = {key(seed, name, index) for seed in range(3) for name in names for index in range(3)}
    assert len(keys) == 36
    assert key(1, "order", 2) == key(jnp.uint32(1), "order", jnp.int32(2))
