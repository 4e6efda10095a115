"""Steps on the rows of a table that a batch looks up, see `mtl.embedding`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from mtl.embedding import gather_rows, row_axes, scatter_rows, unique_rows
from mtl.models import FusedTable, MultiTaskModel, fused_table
from mtl.train.settings import TrainSettings
from mtl.train.step import StepMetrics, TrainState
from mtl.types import Array, Batch, PyTree

TABLE = "encoder"
"""The name of a model's one table."""


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
) -> Callable[..., tuple[tuple[TrainState, Array], StepMetrics]]:
    """Turns a step on whole states into one that works on the batch's rows and puts them back.

    Args:
      step: see `make_step`.
      make_state: from parameters to a state, of which only shapes are read.
      params: the parameters, of which only shapes are read.
      sparse: table and capacity.

    Returns:
      `((state, scratch), batch, key, *others) -> ((state, scratch), metrics)`, with `scratch` from
      `mtl.embedding.empty_scratch`. The rows of all batches of an update are gathered together.
    """
    table = sparse.table
    axes = row_axes(make_state, params, {TABLE: "/".join(table.path)})

    def sparse_step(carry: tuple[TrainState, Array], batch: Batch, key: Array, *others: Batch):
        state, scratch = carry
        ids = jnp.stack([table.rows(each["ids"]) for each in (batch, *others)])
        scratch, rows = unique_rows(scratch, ids, sparse.capacity)
        batches: list[Any] = [
            {**each, "positions": positions}
            for each, positions in zip((batch, *others), rows.positions, strict=True)
        ]
        small, metrics = step(gather_rows(state, axes, {TABLE: rows}), batches[0], key, *batches[1:])
        state = scatter_rows(state, small, axes, {TABLE: rows})
        return (state, scratch), metrics._replace(rows=rows.distinct)

    return sparse_step
