"""Steps on the rows of a table that a batch looks up, see `mtl.embedding`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl.embedding import (
    Rows,
    gather_rows,
    gather_sharded_rows,
    row_axes,
    row_spec,
    scatter_rows,
    scatter_sharded_rows,
    unique_rows,
    unique_sharded_rows,
)
from mtl.models import FusedTable, MultiTaskModel, fused_table
from mtl.train.layout import Layout
from mtl.train.settings import TrainSettings
from mtl.train.step import StepMetrics, TrainState
from mtl.types import Array, Batch, PyTree

TABLE = "encoder"
"""The name of a model's one table."""

_WHOLE: Any = (unique_rows, gather_rows, scatter_rows)
_DIVIDED: Any = (unique_sharded_rows, gather_sharded_rows, scatter_sharded_rows)


class SparseRows(NamedTuple):
    """How steps treat a model's table.

    Attributes:
      table: the table.
      capacity: U, the most distinct rows of an update.
    """

    table: FusedTable
    capacity: int


def sparse_rows(model: MultiTaskModel, settings: TrainSettings, batches: int = 1) -> SparseRows | None:
    """Works out how the steps of a run treat embeddings.

    Args:
      model: the model.
      settings: checked settings.
      batches: batches of an update.

    Returns:
      Capacity and table; None where steps are dense: as `settings` say, or for a model without embeddings.
      Without a capacity in `settings` it is what never overflows: all ids of an update, at most V.
    """
    table = fused_table(model)
    if not settings.sparse_rows or table is None:
        return None
    most = min(batches * settings.batch_size * len(table.vocab_sizes), table.num_rows)
    return SparseRows(table, min(settings.sparse_capacity or most, most))


def on_rows(
    step: Callable[..., tuple[TrainState, StepMetrics]],
    make_state: Callable[[PyTree], TrainState],
    params: PyTree,
    sparse: SparseRows,
    layout: Layout | None = None,
) -> Callable[..., tuple[tuple[TrainState, Array], StepMetrics]]:
    """Turns a step on whole states into one that works on the batch's rows and puts them back.

    Args:
      step: see `make_step`.
      make_state: from parameters to a state, of which only shapes are read.
      params: the parameters, of which only shapes are read.
      sparse: table and capacity.
      layout: where the run is, which may have several devices; None: on one.

    Returns:
      `((state, scratch), batch, key, *others) -> ((state, scratch), metrics)`, with `scratch` from
      `mtl.embedding.empty_scratch`. The rows of all batches of an update are gathered together.
    """
    table = sparse.table
    axes = row_axes(make_state, params, {TABLE: "/".join(table.path)})
    axis = [layout.table_axis] if layout is not None and layout.table_axis else []
    unique, gather, scatter = _DIVIDED if axis else _WHOLE
    whole, split = (_same, _same) if layout is None else (layout.whole, layout.split)

    def sparse_step(carry: tuple[TrainState, Array], batch: Batch, key: Array, *others: Batch):
        state, scratch = carry
        ids = jnp.stack([table.rows(each["ids"]) for each in (batch, *others)])
        ids = whole(ids)  # else the devices would each find some, and add up whole tables
        scratch, rows = unique(scratch, ids, sparse.capacity, *axis)
        rows = whole(rows)  # else XLA divides the search as the batch is divided, and gathers it step by step
        batches: list[Any] = [
            {**each, "positions": split(positions)}
            for each, positions in zip((batch, *others), rows.positions, strict=True)
        ]
        small, metrics = step(gather(state, axes, {TABLE: rows}, *axis), batches[0], key, *batches[1:])
        state = scatter(state, whole(small), axes, {TABLE: rows}, *axis)
        return (state, scratch), metrics._replace(rows=rows.distinct)

    return sparse_step


def _same(tree: Any) -> Any:
    return tree


def variable_rows(model: MultiTaskModel, variables: PyTree) -> PyTree:
    """Which variables have a table's rows.

    Args:
      model: the model.
      variables: its parameters and running statistics by collection, or their shapes.

    Returns:
      A `RowAxis` for every leaf.
    """
    table = fused_table(model)
    tables = {} if table is None else {TABLE: "/".join(("params", *table.path))}
    return row_axes(lambda variables: variables, variables, tables)


def filled(model: MultiTaskModel, variables: PyTree, layout: Layout) -> PyTree:
    """Fills up a table whose rows are to be divided evenly, with rows that no id means.

    Args:
      model: the model.
      variables: its parameters and running statistics by collection.
      layout: where the run is.

    Returns:
      The same; of a table `Layout.filled` rows.
    """
    table = fused_table(model)
    if table is None or layout.filled(table.num_rows) == table.num_rows:
        return variables
    more = layout.filled(table.num_rows) - table.num_rows

    def fill(leaf, where):
        if not where.table:
            return leaf
        # Else each device would make the whole table first.
        leaf = jax.lax.with_sharding_constraint(leaf, row_spec(where, layout.table_axis))
        return jnp.pad(leaf, [(0, more if axis == where.axis else 0) for axis in range(leaf.ndim)])

    return jax.tree.map(fill, variables, variable_rows(model, variables))


def looked_up(model: MultiTaskModel, variables: PyTree, batch: Batch, layout: Layout) -> tuple[PyTree, Batch]:
    """Variables and batch as a model takes them where the rows of its table are divided.

    Args:
      model: the model.
      variables: of one run.
      batch: rows of data with `ids [B, C]`.
      layout: where the run is.

    Returns:
      The same; with a divided table the rows that the batch looks up in place of the table, and `positions`.
    """
    table = fused_table(model)
    if not layout.table_axis or table is None:
        return variables, batch
    ids = layout.whole(table.rows(batch["ids"]))
    inside = (ids >= 0) & (ids < table.num_rows)  # others give NaN, as they do in a whole table
    positions = jnp.where(inside, jnp.arange(ids.size, dtype=jnp.int32).reshape(ids.shape), ids.size)
    rows = {TABLE: Rows(ids.reshape(-1), positions, jnp.int32(ids.size))}
    small = gather_sharded_rows(variables, variable_rows(model, variables), rows, layout.table_axis)
    return small, {**batch, "positions": layout.split(positions)}
