"""From a name and arguments to a weighting: the literal dict and its checks."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax

from mtl.errors import InputError, unknown_name
from mtl.jacobian import Shared
from mtl.weightings.loss_norm import loss_norm
from mtl.weightings.mgda import mgda
from mtl.weightings.normalize import normalized
from mtl.weightings.pe_ltr import pe_ltr
from mtl.weightings.static import static
from mtl.weightings.uwl import uwl

WEIGHTINGS: dict[str, Callable[..., optax.GradientTransformationExtraArgs]] = {
    "static": static,
    "uwl": uwl,
    "mgda": mgda,
    "pe_ltr": pe_ltr,
    "loss_norm": loss_norm,
}

SCALARIZATIONS = frozenset({"static", "uwl", "loss_norm"})
"""Methods defined as a weighted *loss*, heads included: `build` does not restrict them to shared leaves."""

_GIVEN = ("num_tasks", "kinds", "shared")


def build(
    spec: str | Mapping[str, Any],
    *,
    kinds: Sequence[str],
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Makes a weighting from its name, or from a mapping with `name`, `normalize` and arguments.

    Args:
      spec: `"mgda"` or `{"name": "mgda", "normalizer": "l2", "normalize": "mean_norm"}`.
      kinds: the kinds of the T tasks.
      shared: the shared leaves, for methods that balance gradients; see `SCALARIZATIONS`.

    Returns:
      A weighting.

    Raises:
      InputError: the name or an argument is unknown, or a value is out of range.
    """
    name, arguments = parse(spec)
    how = arguments.pop("normalize", "none")
    factory = WEIGHTINGS[name]
    scope = None if name in SCALARIZATIONS else shared
    given = {"num_tasks": len(kinds), "kinds": tuple(kinds), "shared": scope}
    accepted = inspect.signature(factory).parameters
    given = {k: v for k, v in given.items() if k in accepted}
    try:
        weighting = factory(**given, **arguments)
    except TypeError as e:
        raise InputError(f"weighting {name!r}: {e}; check the types of {arguments}") from None
    except InputError as e:
        raise InputError(f"weighting {name!r}: {e}") from None
    return normalized(weighting, how, scope)


def parse(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Splits a weighting's spec into its name and arguments, and checks the keys.

    Raises:
      InputError: there is no known name, or a key is not an argument of the method.
    """
    arguments = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = arguments.pop("name", None)
    if name not in WEIGHTINGS:
        raise unknown_name("weighting", name, WEIGHTINGS)
    accepted = [p for p in inspect.signature(WEIGHTINGS[name]).parameters if p not in _GIVEN]
    accepted = [*(p for p in accepted if p != "optimizer"), "normalize"]
    for key in arguments:
        if key not in accepted:
            raise unknown_name(f"argument of weighting {name!r}:", key, accepted)
    return name, arguments


def weighting_state(opt_state: optax.OptState) -> Any:
    """Finds the weighting's state inside the state of a chain.

    Args:
      opt_state: the state of a chain that holds a weighting.

    Returns:
      The first NamedTuple that has a field `weights`.

    Raises:
      InputError: there is none.
    """
    found = jax.tree.leaves(opt_state, is_leaf=lambda s: hasattr(s, "weights"))
    for state in found:
        if hasattr(state, "weights"):
            return state
    raise InputError("the optimiser's state holds no weighting; put the weighting first in the chain")
