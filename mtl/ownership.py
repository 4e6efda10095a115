"""Which losses depend on which parameters, found from the structure of any loss function."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.types import LossFn, PyTree


class Ownership(NamedTuple):
    """Which losses depend on which parameters; made by `task_ownership`.

    Attributes:
      tasks: per leaf a bool array `[T]`: the losses that depend on it.
      shared: per leaf a bool: whether some element of it is moved by more than one task. Pass it as
        `shared=` to a weighting. A stacked leaf `[T, …]` whose slice t only task t reads is private.
      slices: per leaf a bool array `[S, T]`: the losses that depend on each of its slices; S is T for leaves
        `[T, …]`, else 1.
    """

    tasks: PyTree
    shared: PyTree
    slices: PyTree


def task_ownership(loss_fn: LossFn, params: PyTree, *args: Any) -> Ownership:
    """Finds the shared and the private leaves of any loss function.

    A leaf is poisoned with NaN and the losses that turn NaN depend on it. NaN survives what hides a
    dependence from a gradient (a dead ReLU, a saturated gate, a factor that happens to be zero), so
    the answer follows the function's structure rather than one batch's numbers. Leaves with T slices
    are poisoned slice by slice as well.

    Args:
      loss_fn: `loss_fn(params, *args) -> losses [T]`, finite at `params`.
      params: the pytree of parameters (values, not shapes).
      *args: passed on; a few rows are enough.

    Returns:
      An `Ownership` of NumPy values. Call it once, outside `jit`.

    Raises:
      InputError: a loss is not finite before anything is poisoned, or a row of `args` leaves a task
        without any dependence (an empty sample space hides everything from its loss).
    """
    flat: tuple[list[Any], Any] = jax.tree.flatten(params)
    leaves, treedef = flat
    shape = jax.eval_shape(lambda p: loss_fn(p, *args), params).shape
    if len(shape) != 1:
        raise InputError(f"task_ownership needs finite losses [T]; found an array of shape {shape}")
    (num_tasks,) = shape

    def probe(leaf, piece):
        """Losses after poisoning slice `piece` of a leaf, or all of it for piece = T; leaf -1 is none."""

        def poison(x, index):
            if x.shape[:1] == (num_tasks,):
                hit = (jnp.arange(num_tasks) == piece) | (piece == num_tasks)
                hit = hit.reshape(-1, *[1] * (x.ndim - 1))
            else:
                hit = piece == num_tasks
            return jnp.where((leaf == index) & hit, jnp.nan, x)

        poisoned = [poison(jnp.asarray(x), i) for i, x in enumerate(leaves)]
        return loss_fn(treedef.unflatten(poisoned), *args)

    pairs = [(i, num_tasks) for i in range(-1, len(leaves))]
    sliced = [i for i, x in enumerate(leaves) if jnp.shape(x)[:1] == (num_tasks,)]
    pairs += [(i, t) for i in sliced for t in range(num_tasks)]
    probes = jnp.asarray(pairs, jnp.int32)
    run = jax.jit(lambda ps: jax.lax.map(lambda p: probe(p[0], p[1]), ps), compiler_options=compile_quickly())
    losses, hits = np.split(np.asarray(run(probes)), [1])
    if not np.isfinite(losses).all():
        raise InputError(f"task_ownership needs finite losses [T]; found {losses[0]}")
    hits = np.isnan(hits)
    tasks = list(hits[: len(leaves)])
    blind = [t for t in range(num_tasks) if not any(leaf[t] for leaf in tasks)]
    if blind:
        raise InputError(
            f"task_ownership: loss {blind[0]} depends on no parameter for this batch; "
            "pass rows inside every task's sample space"
        )
    slices = [leaf[None] for leaf in tasks]
    for n, i in enumerate(sliced):
        start = len(leaves) + n * num_tasks
        slices[i] = hits[start : start + num_tasks]
    shared = [bool((rows.sum(axis=1) > 1).any()) for rows in slices]
    return Ownership(*map(treedef.unflatten, (tasks, shared, slices)))
