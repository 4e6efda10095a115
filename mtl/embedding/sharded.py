"""Tables whose rows are divided over an axis of a mesh: what a step reads and writes of them.

A device looks for the ids that are its own, and sums carry what it finds to the others. So a collective moves
the rows of a batch, never a table: neither of parameters nor of optimiser state, nor the words of
`unique_rows`. The functions are called inside `jit` with a mesh in context, as inside `shard_map`; on that
axis ids and rows are the same on all devices, on other axes XLA may divide as it likes.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from mtl.embedding.row_tree import RowAxis
from mtl.embedding.unique import Rows, numbered
from mtl.types import Array, PyTree


def row_spec(where: RowAxis, over: str) -> PartitionSpec:
    """How a leaf lies on the devices.

    Args:
      where: its axis of rows, see `row_axes`.
      over: the axis of the mesh.

    Returns:
      Its rows divided; a leaf without rows whole.
    """
    return PartitionSpec(*[None] * where.axis, over) if where.table else PartitionSpec()


def unique_sharded_rows(scratch: Array, ids: Array, capacity: int, over: str) -> tuple[Array, Rows]:
    """`unique_rows` with the scratch memory divided as the table is.

    Args:
      scratch: `[V] int32`, see `empty_scratch`; V is a multiple of the devices on the axis.
      ids: rows of the table, of any shape, each in [0, V).
      capacity: U, the most distinct ids that find a place.
      over: the axis of the mesh.

    Returns:
      The scratch memory, written to, and the rows.
    """
    place = jnp.arange(ids.size, dtype=jnp.int32)

    def speakers(mine, flat):
        at = _own(flat, mine.shape[0], over)
        mine = mine.at[at].set(-1, mode="drop").at[at].max(place, mode="drop")
        return mine, jax.lax.psum(mine.at[at].get(mode="fill", fill_value=0), over)

    table = PartitionSpec(over)
    scratch, speaker = _on_shards(speakers, over, (table, PartitionSpec()), (table, PartitionSpec()))(
        scratch, ids.reshape(-1)
    )
    return scratch, numbered(speaker, ids, scratch.shape[0], capacity)


def gather_sharded_rows(state: PyTree, axes: PyTree, rows: Mapping[str, Rows], over: str) -> PyTree:
    """`gather_rows` of divided tables.

    Args:
      state: the whole state.
      axes: see `row_axes`.
      rows: by table, the rows to take.
      over: the axis of the mesh.

    Returns:
      The state with U rows in place of V, the same on all devices of the axis.
    """

    def take(leaf, where):
        if not where.table:
            return leaf

        def own(mine, ids):
            at = _own(ids, mine.shape[where.axis], over)
            found = jnp.take(mine, at, axis=where.axis, mode="fill", fill_value=0)
            return jax.lax.psum(found, over)

        specs = row_spec(where, over), PartitionSpec()
        return _on_shards(own, over, specs, PartitionSpec())(leaf, rows[where.table].ids)

    return jax.tree.map(take, state, axes)


def scatter_sharded_rows(
    state: PyTree, small: PyTree, axes: PyTree, rows: Mapping[str, Rows], over: str
) -> PyTree:
    """`scatter_rows` of divided tables; no device hears of another's.

    Args:
      state: the whole state.
      small: what became of `gather_sharded_rows`.
      axes: see `row_axes`.
      rows: the same rows.
      over: the axis of the mesh.

    Returns:
      The whole state: rows and all else as in `small`, the other rows as they were.
    """

    def put(leaf, new, where):
        if not where.table:
            return new

        def own(mine, ids, new):
            at = _own(ids, mine.shape[where.axis], over)
            index = (*[slice(None)] * where.axis, at)
            return mine.at[index].set(new, mode="drop", unique_indices=True)

        specs = row_spec(where, over), PartitionSpec(), PartitionSpec()
        return _on_shards(own, over, specs, specs[0])(leaf, rows[where.table].ids, new)

    return jax.tree.map(put, state, small, axes)


def _own(ids: Array, num_rows: int, over: str) -> Array:
    """Where among this device's rows the ids are; those of others get different numbers outside."""
    at = ids - jax.lax.axis_index(over) * num_rows
    outside = num_rows + jnp.arange(ids.size, dtype=ids.dtype)
    return jnp.where((at >= 0) & (at < num_rows), at, outside)


def _on_shards(function, over, in_specs, out_specs):
    return jax.shard_map(function, in_specs=in_specs, out_specs=out_specs, axis_names={over}, check_vma=False)
