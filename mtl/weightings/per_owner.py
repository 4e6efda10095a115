"""One optimiser per set of owners: what only tasks of weight 0 own stays as it is, moments included."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl.errors import InputError
from mtl.types import Array, PyTree
from mtl.weightings.build import weighting_state

Owners = tuple[bool, ...]
"""Which of the T tasks own a parameter."""


class PerOwnerState(NamedTuple):
    """State of `per_owner`.

    Attributes:
      weighting: the weighting's state.
      optimizers: the optimiser's state of every set of owners; the key lists their indices, as in `0,2`, and
        is empty for what no task owns, which never moves.
    """

    weighting: Any
    optimizers: Mapping[str, optax.OptState]


def per_owner(
    weighting: optax.GradientTransformationExtraArgs,
    optimizer: optax.GradientTransformation,
    slices: PyTree,
) -> optax.GradientTransformationExtraArgs:
    """Moves only parameters, and moments, that some task of weight ≠ 0 owns.

    Parameters with the same owners share one optimiser, with its own count of steps. It is used in the steps
    in which one of the owners has a weight, and frozen in the others. So a tower that is trained in every
    T-th step moves just as its own optimiser would move it, where the zero gradients of the steps between
    would let Adam's moments decay and go on moving it. It stands where weighting and optimiser stand in a
    chain.

    Args:
      weighting: a weighting, or a chain that begins with one; meant for `alternating`.
      optimizer: what the update goes through, such as `optax.scale_by_adam()`. A schedule inside counts the
        steps of one set of owners; one of the whole training belongs after it.
      slices: the owners of every leaf, `slices` of `task_ownership`.

    Returns:
      A gradient transformation; its state holds the weighting's, which `weighting_state` finds.

    Raises:
      InputError: the owners do not fit the parameters.
    """

    def init_fn(params):
        parts = _split(params, slices)
        return PerOwnerState(weighting.init(params), {key: optimizer.init(p) for key, p in parts.items()})

    def update_fn(updates, state, params=None, **extra):
        update, weighted = weighting.update(updates, state.weighting, params, **extra)
        active = weighting_state(weighted).weights != 0  # also of NaN, which must show
        parts = _split(update, slices)
        places = {} if params is None else _split(params, slices)
        changes, states = {}, {}
        for key, part in parts.items():
            moves = jnp.any(active[np.array([int(t) for t in key.split(",") if t], np.int32)])
            before = state.optimizers[key]
            change, after = optimizer.update(part, before, places.get(key))
            changes[key] = [jnp.where(moves, x, 0) for x in change]
            states[key] = jax.tree.map(functools.partial(jnp.where, moves), after, before)
        return _join(changes, update, slices), PerOwnerState(weighted, states)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _owners(tree: PyTree, slices: PyTree) -> list[tuple[str, ...]]:
    """The owners of every leaf, one key for all of it or one per slice."""
    given: Any = jax.tree.structure(slices)
    if given != jax.tree.structure(tree):
        raise InputError("slices= must have the structure of the parameters; pass that of task_ownership")
    found = []
    for leaf, rows in zip(jax.tree.leaves(tree), jax.tree.leaves(slices), strict=True):
        keys = tuple(",".join(str(t) for t in np.flatnonzero(row)) for row in np.asarray(rows))
        if len(keys) > 1 and jnp.shape(leaf)[:1] != (len(keys),):
            raise InputError(f"slices= names {len(keys)} slices of a parameter of shape {jnp.shape(leaf)}")
        found.append(keys[:1] if len(set(keys)) == 1 else keys)
    return found


def _split(tree: PyTree, slices: PyTree) -> dict[str, list[Array]]:
    """The leaves, or slices of leaves, of every set of owners."""
    parts: dict[str, list[Array]] = {}
    for leaf, keys in zip(jax.tree.leaves(tree), _owners(tree, slices), strict=True):
        for i, key in enumerate(keys):
            parts.setdefault(key, []).append(leaf if len(keys) == 1 else leaf[i])
    return parts


def _join(parts: dict[str, list[Array]], like: PyTree, slices: PyTree) -> PyTree:
    """Puts what `_split` took apart together again."""
    left = {key: iter(leaves) for key, leaves in parts.items()}
    whole = [
        next(left[keys[0]]) if len(keys) == 1 else jnp.stack([next(left[key]) for key in keys])
        for keys in _owners(like, slices)
    ]
    return jax.tree.unflatten(jax.tree.structure(like), whole)
