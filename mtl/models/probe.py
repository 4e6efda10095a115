"""Looking into a model: its gates' statistics, and its tap."""

from collections.abc import Mapping

import flax
import jax
import jax.numpy as jnp

from mtl.errors import InputError
from mtl.jacobian import TaskCut, TaskTap
from mtl.layers import Common, Mixture
from mtl.models.model import MultiTaskModel
from mtl.transfers import Independent
from mtl.types import Array, Batch, PyTree


def gate_diagnostics(
    model: MultiTaskModel, variables: Mapping[str, PyTree], batch: Batch
) -> dict[str, dict[str, Array]]:
    """Measures every gate of a model on a batch, in one forward pass without dropout.

    Args:
      model: the model.
      variables: its parameters and, where it has any, running statistics.
      batch: B rows.

    Returns:
      For each gate (`gate`, or `level1/task_gate`, `level1/shared_gate` … of CGC and PLE) the arrays of
      `mtl.layers.gate_statistics`, whose leading axis is T for gates per task and 1 for a single gate.
      Empty for a model without gates.
    """
    _, state = model.apply(variables, batch, mutable=["diagnostics"])
    gates: dict[str, dict[str, Array]] = {}
    for path, value in flax.traverse_util.flatten_dict(state.get("diagnostics", {})).items():
        gate = "/".join(path[:-1]).removeprefix("extractor/")
        gates.setdefault(gate, {})[path[-1]] = value
    return gates


def zero_perturbations(
    model: MultiTaskModel,
    params: PyTree,
    batch: Batch,
    *,
    rows: Array | None = None,
    stats: PyTree | None = None,
) -> PyTree:
    """Makes the zeros that, added at the tap, receive the gradients at the representation.

    `jax.grad` of `model.apply({"params": params, "perturbations": zeros}, batch)` with respect to
    `zeros` is the gradient at the last shared tensor. Nothing is computed here, only shapes.

    Args:
      model: the model.
      params: its parameters.
      batch: B rows; a perturbation has the batch's size.
      rows: rows gathered beforehand, when `params` has no tables.
      stats: the model's running statistics, where it has any.

    Returns:
      The collection `perturbations`, all zeros.

    Raises:
      InputError: the model shares no representation, so that it has no tap.
    """
    shapes = jax.eval_shape(
        lambda: model.apply({"params": params, **(stats or {})}, batch, rows=rows, mutable=["perturbations"])[
            1
        ]
    )
    if "perturbations" not in shapes:
        raise InputError(
            f"extractor {type(model.extractor).__name__} has no shared representation to tap; "
            "take gradients at the parameters, or choose an extractor that shares"
        )
    return _zeros_by_row(shapes["perturbations"], batch)


def shared_tap(
    model: MultiTaskModel, params: PyTree, batch: Batch, stats: PyTree | None = None
) -> PyTree | TaskTap:
    """Makes the cheapest tap that reads gradients at the shared representation.

    Where tasks read the shared experts through mixtures of their own, or all read one tensor, and no task
    reads another task's, that is a `TaskTap`: all T gradients in one pass through the heads. Else it is
    `zero_perturbations`, which takes T passes through the heads. Both give the same Gramian.

    Args:
      model: the model.
      params: its parameters.
      batch: B rows.
      stats: its running statistics, where it has any.

    Returns:
      The `tap` for `task_jacobian`.

    Raises:
      InputError: the model shares no representation, so that it has no tap.
    """
    zeros = zero_perturbations(model, params, batch, stats=stats)
    cut = task_cut(model, params, batch)
    return zeros if cut is None else cut


def task_cut(model: MultiTaskModel, params: PyTree, batch: Batch) -> TaskTap | None:
    """Makes the tap at the tasks' own features, if the model has such: one slice per task, read by it alone.

    A Jacobian made with it has the same gradients, and the T backward passes leave out the heads, each of
    which would otherwise run T times.

    Args:
      model: the model.
      params: its parameters.
      batch: B rows.

    Returns:
      The `tap` for `task_jacobian` of a loss function `(params, batch, key)`; None where tasks read each
      other's features.
    """
    if not isinstance(model.transfer, Independent) or model.side_tower is not None:
        return None
    shapes = jax.eval_shape(
        lambda: model.apply({"params": params}, batch, mutable=["task_perturbations", "mixture"])[1]
    )
    if "task_perturbations" not in shapes:
        return None

    def values(params, batch, key, train=True):
        rngs = {"dropout": key}
        _, state = model.apply({"params": params}, batch, train=train, rngs=rngs, mutable=["mixture"])
        (mixture,) = jax.tree.leaves(state["mixture"], is_leaf=lambda x: isinstance(x, Mixture | Common))
        return mixture

    zeros = _zeros_by_row(shapes["task_perturbations"], batch)
    return TaskTap(zeros, TaskCut(values, lambda y: y.together(), lambda y, t: y.alone(t)))


def _zeros_by_row(shapes: PyTree, batch: Batch) -> PyTree:
    """Zeros that belong to the rows of the batch.

    Inside `shard_map` every device then has its own. One copy for all of them would receive the sum of
    gradients of different rows.
    """
    axes = tuple(frozenset().union(*(jax.typeof(column).mat.varying for column in batch.values())))

    def zeros(shape):
        value = jnp.zeros(shape.shape, shape.dtype)
        return jax.lax.pcast(value, axes, to="varying") if axes else value

    return jax.tree.map(zeros, shapes)
