"""Pre-train, then transfer: parts of one model as the start of another, and parts that do not move."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.types import PyTree


def warm_start(params: PyTree, source: PyTree, parts: Sequence[str] = ("encoder", "extractor")) -> PyTree:
    """Takes parts of the parameters from another training.

    Args:
      params: fresh parameters, or their shapes.
      source: trained parameters; what they hold beside the parts is not looked at.
      parts: paths such as `encoder`, `extractor/experts` or `towers`, each with all that lies below it.

    Returns:
      The parameters, with the leaves of the parts from the source in the dtype of `params`.

    Raises:
      InputError: a part names no parameter, or one of its parameters is not in the source or has another
        shape there.
    """
    mask = jax.tree.leaves(part_mask(params, parts))
    given = {_path(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(source)}
    flat: tuple[list[Any], Any] = jax.tree_util.tree_flatten_with_path(params)
    leaves = []
    for (path, leaf), taken in zip(flat[0], mask, strict=True):
        name = _path(path)
        if not taken:
            leaves.append(leaf)
            continue
        if name not in given:
            raise InputError(
                f"parameter {name!r} is not among those to start from; train the same model there, or leave "
                f"out its part, of {', '.join(parts)}"
            )
        found = given[name]
        if jnp.shape(found) != jnp.shape(leaf):
            raise InputError(
                f"parameter {name!r} has shape {jnp.shape(found)} where the training starts from and "
                f"{jnp.shape(leaf)} here; make the models alike, or leave out its part, of {', '.join(parts)}"
            )
        leaves.append(found.astype(leaf.dtype))
    return jax.tree.unflatten(flat[1], leaves)


def part_mask(params: PyTree, parts: Sequence[str]) -> PyTree:
    """Marks the leaves of parts.

    Args:
      params: parameters, or anything of their structure.
      parts: paths, as for `warm_start`.

    Returns:
      A pytree of bools.

    Raises:
      InputError: a part names no parameter.
    """
    names = [_path(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for part in parts:
        if not any(_within(name, part) for name in names):
            tops = ", ".join(dict.fromkeys(name.partition("/")[0] for name in names))
            raise InputError(f"no parameter lies below {part!r}; the model's parts are {tops}")
    return jax.tree_util.tree_map_with_path(
        lambda path, _: any(_within(_path(path), part) for part in parts), params
    )


def held(
    transformation: optax.GradientTransformation, parts: Sequence[str]
) -> optax.GradientTransformationExtraArgs:
    """Lets a transformation move all parameters but those of some parts.

    Around a weighting it keeps what does not move out of clipping and of the optimiser's moments; around a
    chain it keeps weight decay away as well. What is not computed for the parts is not computed at all under
    `jit`. For a weighting that balances gradients leave the parts out of its `shared` too.

    Args:
      transformation: a weighting, or a chain that begins with one.
      parts: paths, as for `warm_start`.

    Returns:
      A gradient transformation with the same state.

    Raises:
      InputError: in `init`, a part names no parameter.
    """
    inner = optax.with_extra_args_support(transformation)

    def init_fn(params):
        part_mask(params, parts)
        return inner.init(params)

    def update_fn(updates, state, params=None, **extra):
        update, state = inner.update(updates, state, params, **extra)
        fixed = part_mask(update, parts)
        return jax.tree.map(lambda u, still: jnp.zeros_like(u) if still else u, update, fixed), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}/")
