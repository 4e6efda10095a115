"""Which leaves of a state have a table's rows, and how rows are taken out of them and put back."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl.embedding.unique import Rows
from mtl.errors import InputError
from mtl.types import PyTree


class RowAxis(NamedTuple):
    """Where a leaf has the rows of a table.

    Attributes:
      table: the table's name; "" for a leaf without rows.
      axis: the axis of the rows.
    """

    table: str = ""
    axis: int = 0


def row_axes(make_state: Callable[[PyTree], PyTree], params: PyTree, tables: Mapping[str, str]) -> PyTree:
    """Finds the leaves of a training state that have one entry per row of a table.

    The state is made, in shapes alone, from parameters whose table has one row more: leaves that grow with it
    hold rows. So no optimiser and no weighting needs to be known here.

    Args:
      make_state: from parameters to the state, such as `lambda p: (p, tx.init(p))`.
      params: the parameters, or their shapes.
      tables: name → path of a leaf `[…, V, E]`, such as `{"ids": "encoder/tables"}`. Several tables may be
        looked up with ids of their own.

    Returns:
      The state's tree with a `RowAxis` for every leaf.

    Raises:
      InputError: a path names no leaf, or a state does not keep rows apart: it is not element-wise, as that
        of Shampoo.
    """
    flat: tuple[list[Any], Any] = jax.tree_util.tree_flatten_with_path(params)
    paths, treedef = flat
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]
    shapes = [jax.ShapeDtypeStruct(jnp.shape(x), x.dtype) for _, x in paths]

    def state_shapes(grown: int | None) -> tuple[list[Any], Any]:
        leaves = list(shapes)
        if grown is not None:
            *lead, rows, width = leaves[grown].shape
            leaves[grown] = jax.ShapeDtypeStruct((*lead, rows + 1, width), leaves[grown].dtype)
        return jax.tree.flatten(jax.eval_shape(make_state, treedef.unflatten(leaves)))

    before, state_tree = state_shapes(None)
    axes = [RowAxis()] * len(before)
    for table, path in tables.items():
        if path not in names or len(shapes[names.index(path)].shape) < 2:
            raise InputError(f"table {table!r}: no leaf [..., V, E] at {path!r}; the leaves are {names}")
        after, _ = state_shapes(names.index(path))
        for i, (old, new) in enumerate(zip(before, after, strict=True)):
            grew = [a for a, (m, n) in enumerate(zip(old.shape, new.shape, strict=True)) if m != n]
            if len(grew) > 1 or any(new.shape[a] != old.shape[a] + 1 for a in grew):
                raise InputError(
                    f"table {table!r}: a state of shape {old.shape} does not keep one entry per row; sparse "
                    "rows need element-wise optimisers"
                )
            if grew:
                axes[i] = RowAxis(table, grew[0])
    return state_tree.unflatten(axes)


def gather_rows(state: PyTree, axes: PyTree, rows: Mapping[str, Rows]) -> PyTree:
    """Takes the rows of a batch out of a state.

    Args:
      state: the whole state.
      axes: see `row_axes`.
      rows: by table, the rows to take.

    Returns:
      The state with U rows in place of V; the places that `rows` leaves over are 0.
    """

    def take(leaf, where):
        if not where.table:
            return leaf
        return jnp.take(leaf, rows[where.table].ids, axis=where.axis, mode="fill", fill_value=0)

    return jax.tree.map(take, state, axes)


def scatter_rows(state: PyTree, small: PyTree, axes: PyTree, rows: Mapping[str, Rows]) -> PyTree:
    """Puts the rows of a batch back, in place where `state` is donated or carried by a scan.

    Args:
      state: the whole state.
      small: what became of `gather_rows`.
      axes: see `row_axes`.
      rows: the same rows.

    Returns:
      The whole state: rows and all else as in `small`, the other rows as they were.
    """

    def put(leaf, new, where):
        if not where.table:
            return new
        index = (*[slice(None)] * where.axis, rows[where.table].ids)
        return leaf.at[index].set(new, mode="drop", unique_indices=True)

    return jax.tree.map(put, state, small, axes)
