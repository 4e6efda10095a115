"""The compiled functions of a group of runs: init, start, train K steps, predict.

A group is a stack of runs that share model, weighting and shapes. Its runs differ in the seed, in numbers
such as the learning rate or the weighting's arguments, and in which of the group's data sets they read.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl.compilation import compile_quickly
from mtl.embedding import RowAxis, empty_scratch, row_axes
from mtl.models import FusedTable, MultiTaskModel, fused_table, gate_diagnostics, initial_variables
from mtl.tasks import Task
from mtl.train.layout import Layout, over_runs
from mtl.train.order import rows_of_updates
from mtl.train.random import stream_key
from mtl.train.settings import Budget
from mtl.train.sparse import TABLE, SparseRows, filled, looked_up, on_rows, variable_rows
from mtl.train.step import StepMetrics, TrainState, make_step
from mtl.types import Array, Batch, PyTree
from mtl.weightings import with_key


class Stack(NamedTuple):
    """What distinguishes the S runs of a group.

    Attributes:
      seeds: root seeds `[S]` uint32.
      source: which of the group's data sets a run reads `[S]` int32.
      numbers: numeric hyper-parameters, leaves `[S, …]`, as `make_optimizer` takes them for one run.
      stream: which of the streams of rows a run reads `[S]` int32, where the data stream from disk; None
        where they are on the devices.
    """

    seeds: Any
    source: Any
    numbers: PyTree
    stream: Any = None


class ChunkMetrics(NamedTuple):
    """K steps of S runs, reduced on the device.

    Attributes:
      losses: mean task losses `[S, T]`.
      weights: mean task weights `[S, T]`.
      residual: largest optimality gap `[S]`.
      first_bad: steps of the chunk before the first one that was not finite `[S]`; K if there is none.
      rows: most distinct rows of the table in a sparse step `[S]`; 0 if steps are dense.
    """

    losses: Array
    weights: Array
    residual: Array
    first_bad: Array
    rows: Array


class ModelProgram(NamedTuple):
    """Compiled functions that depend on the model only, shared by all weightings.

    Attributes:
      init: `(seeds [S], rows) -> variables`, parameters and running statistics, stacked over the runs.
      predict: `(variables, source [S], blocks) -> outputs [S, blocks, T, B, K]`.
      diagnose: `(variables, source [S], rows) -> diagnostics of the gates`, stacked over the runs.
      rows: `variables -> RowAxis` of every leaf, from the shapes of one run.
      table: the model's table, of which `init` makes as many rows more as dividing it asks for; or None.
    """

    init: Callable[..., PyTree]
    predict: Callable[..., Array]
    diagnose: Callable[..., Any]
    rows: Callable[..., PyTree]
    table: FusedTable | None


def model_program(model: MultiTaskModel, layout: Layout) -> ModelProgram:
    """Builds the functions of a model.

    Args:
      model: a `MultiTaskModel`.
      layout: where the runs are.
    """

    def init(seed, rows):
        keys = {"params": stream_key(seed, "init"), "dropout": stream_key(seed, "init-dropout")}
        return filled(model, initial_variables(model, keys, rows), layout)

    def predict(variables, source, blocks):
        mine = jax.tree.map(lambda x: x[source], blocks)

        def outputs(rows):
            own, rows = looked_up(model, variables, layout.split(rows), layout)
            return model.apply(own, rows, train=False)

        return jax.lax.map(outputs, mine)

    def diagnose(variables, source, rows):
        mine = jax.tree.map(lambda x: x[source], rows)
        return gate_diagnostics(model, *looked_up(model, variables, mine, layout))

    def rows_of(variables, *arguments):
        del arguments
        return variable_rows(model, variables)

    return ModelProgram(
        init=over_runs(init, layout, 1, rows_of, compiler_options=compile_quickly()),
        predict=over_runs(predict, layout, 2),
        diagnose=over_runs(diagnose, layout, 2),
        rows=rows_of,
        table=fused_table(model),
    )


class TrainProgram(NamedTuple):
    """Compiled functions that depend on model and weighting.

    Attributes:
      start: `(variables, stack) -> TrainState` before the first step, stacked over the runs.
      advance: `(state, stack, columns, done) -> (state, ChunkMetrics)`, K steps of all runs. `columns` have
        leaves `[sets, N, …]`, `done` is the number of steps done; the state is donated. Step k
        takes its batch from the permutation of epoch k // steps_per_epoch, a pure function of (seed, epoch).
        Where the data stream, `columns` are the rows of these K steps alone, `[streams, K·B, …]`, in order.
      rows: `(state, numbers) -> RowAxis` of every leaf of the state, from the shapes of one run; None if
        steps are dense.
    """

    start: Callable[..., TrainState]
    advance: Any
    rows: Callable[..., PyTree | None]


def train_program(
    model: MultiTaskModel,
    tasks: Sequence[Task],
    make_optimizer: Callable[[Any], optax.GradientTransformationExtraArgs],
    budget: Budget,
    batch_size: int,
    layout: Layout,
    *,
    tap: bool = False,
    cut: bool = False,
    losses_after: bool = False,
    sparse: SparseRows | None = None,
) -> TrainProgram:
    """Builds the training of all runs of a group.

    Args:
      model: a `MultiTaskModel`.
      tasks: T tasks.
      make_optimizer: gives a run's chain, beginning with a weighting, from its numbers. It is called while
        the program is traced, with the numbers as arrays.
      budget: K is its `steps_per_call`; it also says how many batches an update reads.
      batch_size: rows B per step.
      layout: where the runs are.
      tap: offer the weighting gradients at the shared representation.
      cut: take the T backward passes from the tasks' own features, see `make_step`.
      losses_after: show the weighting the losses of a batch after the step as well.
      sparse: work on the rows that a batch looks up; None on the whole table.

    Returns:
      The jitted functions.
    """
    # From here on in updates, each of `budget.batches` steps.
    length = budget.steps_per_call // budget.batches
    per_epoch = budget.steps_per_epoch // budget.batches

    def start(variables: dict[str, PyTree], run: Stack) -> TrainState:
        stats = dict(variables)
        params = stats.pop("params")
        opt_state = make_optimizer(run.numbers).init(params)
        return TrainState(params, with_key(opt_state, stream_key(run.seeds, "weighting")), stats)

    def advance(state: TrainState, run: Stack, columns: Batch, done: Array):
        optimizer = make_optimizer(run.numbers)
        own = make_step(model, tasks, optimizer, tap=tap, cut=cut, losses_after=losses_after)
        step: Callable[..., Any] = own
        num_rows = columns["labels"].shape[1]
        first = done // budget.batches
        updates = first + jnp.arange(length)
        if run.stream is None:
            which = run.source
            rows = rows_of_updates(run.seeds, updates, per_epoch, batch_size * budget.batches, num_rows)
            rows = layout.whole(rows)  # its loop need not wait for other devices
        else:
            which, rows = run.stream, jnp.arange(num_rows).reshape(length, -1)

        carry: Any = state
        if sparse is not None:

            def fresh(params: PyTree) -> TrainState:
                return TrainState(params, optimizer.init(params), state.stats)

            step = on_rows(own, fresh, state.params, sparse, layout)
            carry = state, empty_scratch(layout.filled(sparse.table.num_rows))

        def body(carry: Any, update: tuple[Array, Array]) -> tuple[Any, StepMetrics]:
            k, mine = update
            batch, *others = (
                layout.split({name: column[which, part] for name, column in columns.items()})
                for part in mine.reshape(budget.batches, batch_size)
            )
            return step(carry, batch, stream_key(run.seeds, "dropout", k), *others)

        carry, metrics = jax.lax.scan(body, carry, (updates, rows))
        state = carry if sparse is None else carry[0]
        bad = ~metrics.finite
        return state, ChunkMetrics(
            losses=jnp.mean(metrics.losses, axis=0),
            weights=jnp.mean(metrics.weights, axis=0),
            residual=jnp.max(metrics.residual),
            first_bad=jnp.where(jnp.any(bad), jnp.argmax(bad), length) * budget.batches,
            rows=jnp.max(metrics.rows),
        )

    def rows_of(state: TrainState, numbers: PyTree) -> PyTree | None:
        if sparse is None:
            return None
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), numbers)

        def fresh(params: PyTree) -> TrainState:
            return TrainState(params, make_optimizer(zeros).init(params), state.stats)

        return row_axes(fresh, state.params, {TABLE: "/".join(sparse.table.path)})

    def rows_after(result: Any, state: TrainState, run: Stack, *arguments: Any) -> PyTree | None:
        found = rows_of(state, run.numbers)
        return found and (found, jax.tree.map(lambda _: RowAxis(), result[1]))

    return TrainProgram(
        start=over_runs(
            *(start, layout, 2, lambda state, _, run: rows_of(state, run.numbers)),
            compiler_options=compile_quickly(),
        ),
        advance=over_runs(advance, layout, 2, rows_after, donate_argnums=0),
        rows=rows_of,
    )


@partial(jax.jit, donate_argnums=1)
def keep_best(better: Array, best: PyTree, variables: PyTree) -> PyTree:
    """Returns, run by run, the current variables where `better [S]`, else the best so far."""
    return jax.tree.map(
        lambda old, new: jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old), best, variables
    )


def blocks(columns: dict[str, np.ndarray], size: int) -> tuple[dict[str, np.ndarray], int]:
    """Cuts a split into blocks of equal size for `predict`, padding the last by repeating row 0.

    Args:
      columns: `ids` and `numeric`, leaves `[sets, N, …]`.
      size: most rows per block.

    Returns:
      Arrays with leaves `[sets, blocks, size, …]`, and N.
    """
    rows = columns["numeric"].shape[1]
    size = min(size, rows)
    count = -(-rows // size)
    index = np.concatenate([np.arange(rows), np.zeros(count * size - rows, np.int64)])
    out = {}
    for name in ("ids", "numeric"):
        array = np.take(columns[name], index, axis=1)
        out[name] = array.reshape(len(array), count, size, *array.shape[2:])
    return out, rows


def join(outputs: Array, num_rows: int) -> np.ndarray:
    """Turns the blocks of `predict` `[S, blocks, T, B, K]` back into `[S, T, N, K]` on the host."""
    array = np.asarray(outputs)
    runs, count, tasks, size, width = array.shape
    array = array.transpose(0, 2, 1, 3, 4).reshape(runs, tasks, count * size, width)
    return array[:, :, :num_rows]
