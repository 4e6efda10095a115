"""From a name and arguments to a weighting: the literal dict and its checks."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError, unknown_name
from mtl.jacobian import Shared
from mtl.types import Array
from mtl.weightings.aligned_mtl import aligned_mtl
from mtl.weightings.alternating import alternating
from mtl.weightings.cagrad import cagrad
from mtl.weightings.config import config
from mtl.weightings.contract import is_traced, known_false
from mtl.weightings.db_mtl import db_mtl
from mtl.weightings.dual_proj import dual_proj
from mtl.weightings.dwa import dwa
from mtl.weightings.ew import ew
from mtl.weightings.excess_mtl import excess_mtl
from mtl.weightings.fairgrad import fairgrad
from mtl.weightings.famo import famo
from mtl.weightings.gls import gls
from mtl.weightings.go4align import go4align
from mtl.weightings.graddrop import graddrop
from mtl.weightings.gradnorm import gradnorm
from mtl.weightings.gradvac import gradvac
from mtl.weightings.group_dro import group_dro
from mtl.weightings.imtl_g import imtl_g
from mtl.weightings.imtl_l import imtl_l
from mtl.weightings.loss_norm import loss_norm
from mtl.weightings.mgda import mgda
from mtl.weightings.moco import moco
from mtl.weightings.modo import modo
from mtl.weightings.nash_mtl import nash_mtl
from mtl.weightings.normalize import normalized
from mtl.weightings.ntkmtl import ntkmtl
from mtl.weightings.pcd import pcd
from mtl.weightings.pcgrad import pcgrad
from mtl.weightings.pe_ltr import pe_ltr
from mtl.weightings.rlw import rlw
from mtl.weightings.sdmgrad import sdmgrad
from mtl.weightings.si import si
from mtl.weightings.slaw import slaw
from mtl.weightings.smooth import smoothed
from mtl.weightings.static import static
from mtl.weightings.stch import stch
from mtl.weightings.switched import SwitchedState, switched
from mtl.weightings.upgrad import upgrad
from mtl.weightings.uwl import uwl

WEIGHTINGS: dict[str, Callable[..., optax.GradientTransformationExtraArgs]] = {
    # from the losses alone: one backward pass
    "ew": ew,
    "static": static,
    "alternating": alternating,
    "uwl": uwl,
    "gls": gls,
    "si": si,
    "dwa": dwa,
    "rlw": rlw,
    "imtl_l": imtl_l,
    "famo": famo,
    "stch": stch,
    "go4align": go4align,
    "slaw": slaw,
    "group_dro": group_dro,
    "loss_norm": loss_norm,
    # from the Gramian of the task gradients: T backward passes
    "mgda": mgda,
    "pe_ltr": pe_ltr,
    "imtl_g": imtl_g,
    "config": config,
    "gradnorm": gradnorm,
    "pcgrad": pcgrad,
    "gradvac": gradvac,
    "cagrad": cagrad,
    "nash_mtl": nash_mtl,
    "fairgrad": fairgrad,
    "aligned_mtl": aligned_mtl,
    "upgrad": upgrad,
    "dual_proj": dual_proj,
    "pcd": pcd,
    "ntkmtl": ntkmtl,
    # from the gradients themselves, their past, or several batches
    "db_mtl": db_mtl,
    "moco": moco,
    "modo": modo,
    "sdmgrad": sdmgrad,
    "excess_mtl": excess_mtl,
    "graddrop": graddrop,
}

SCALARIZATIONS = frozenset(
    {
        *("ew", "static", "uwl", "gls", "si", "dwa", "rlw", "imtl_l", "famo", "stch", "go4align", "slaw"),
        *("group_dro", "loss_norm", "alternating"),
    }
)
"""Methods defined as a weighted *loss*, heads included: `build` does not restrict them to shared leaves."""

UNWEIGHTED = frozenset({"db_mtl", "moco", "graddrop"})
"""Methods whose update is not Σ_t weights_t g_t with this step's gradients, so that no wrapper can
recompute it from the weights. (`db_mtl` with β = 0 is an exception.)"""


FROM_GRAMIAN = frozenset(
    {
        *("mgda", "pe_ltr", "imtl_g", "config", "gradnorm", "pcgrad", "gradvac", "cagrad", "nash_mtl"),
        *("fairgrad", "aligned_mtl", "upgrad", "dual_proj", "pcd", "ntkmtl"),
    }
)
"""Methods whose weights are a function of Gramian, losses and their own state, and nothing else."""


class Needs(NamedTuple):
    """What a weighting consumes in a step, besides the losses and their Jacobian.

    Attributes:
      batches: independent batches in all. The Jacobians of those after the first are passed to `update` as
        `jacobians=(…)`; a comparison at equal budget counts them.
      losses_after: whether `observe` must be given the losses of the batch after the step, which costs a
        forward pass.
    """

    batches: int = 1
    losses_after: bool = False


NEEDS: dict[str, Needs] = {
    "famo": Needs(losses_after=True),
    "modo": Needs(batches=3),
    "sdmgrad": Needs(batches=3),
}
"""The methods that need more than most."""

STRUCTURAL: dict[str, dict[str, float]] = {
    "db_mtl": {"beta": 0.0},  # keeps no averages, so that its state is another one
}
"""Values of float arguments that make another program; see `numbers`. For every method `smooth` 0 is one."""

_GIVEN = ("num_tasks", "kinds", "shared", "steps_per_epoch")


def build(
    spec: str | Mapping[str, Any],
    *,
    kinds: Sequence[str],
    shared: Shared = None,
    steps_per_epoch: int = 1,
) -> optax.GradientTransformationExtraArgs:
    """Makes a weighting from its name, or from a mapping with `name` and arguments.

    Two arguments go with every method: `normalize`, see `normalized`, and `smooth`, see `smoothed`.

    Inside `jit`, `vmap` or `scan` those that `numbers` names may be traced: `[]` or `[T]`, or a tuple of T
    traced scalars, used in float32. Their values are not checked; build once with plain numbers for that.

    Args:
      spec: `"mgda"` or `{"name": "mgda", "normalizer": "l2", "normalize": "mean_norm"}`.
      kinds: the kinds of the T tasks.
      shared: the shared leaves, for methods that balance gradients; see `SCALARIZATIONS`.
      steps_per_epoch: for methods that reckon in epochs (`dwa`, `stch`).

    Returns:
      A weighting.

    Raises:
      InputError: the name or an argument is unknown, or a value is out of range.
    """
    name, arguments = parse(spec)
    types = _types(name)
    for key, value in arguments.items():
        if float in types[key] and is_traced(value):
            # In float64 it would widen the states, which are float32.
            arguments[key] = jnp.asarray(value, jnp.float32)
    how = arguments.pop("normalize", "none")
    decay = arguments.pop("smooth", 0.0)
    factory = WEIGHTINGS[name]
    scope = None if name in SCALARIZATIONS else shared
    given = {
        "num_tasks": len(kinds),
        "kinds": tuple(kinds),
        "shared": scope,
        "steps_per_epoch": steps_per_epoch,
    }
    accepted = inspect.signature(factory).parameters
    given = {k: v for k, v in given.items() if k in accepted}
    smooths = not known_false(decay)
    if name in UNWEIGHTED and (smooths or how == "sum_one"):
        key = "smooth" if smooths else "normalize='sum_one'"
        raise InputError(f"weighting {name!r} does not weigh this step's gradients; it takes no {key}")
    try:
        weighting = smoothed(factory(**given, **arguments), decay, scope)
    except TypeError as e:
        raise InputError(f"weighting {name!r}: {e}; check the types of {arguments}") from None
    except InputError as e:
        raise InputError(f"weighting {name!r}: {e}") from None
    return normalized(weighting, how, scope)


def build_one_of(
    specs: Sequence[str | Mapping[str, Any]],
    index: int | Array,
    *,
    kinds: Sequence[str],
    shared: Shared = None,
    steps_per_epoch: int = 1,
) -> optax.GradientTransformationExtraArgs:
    """Makes the one of several weightings that a number picks, so that they are one program; see `switched`.

    Args:
      specs: as for `build`; `reads` says the same of all of them.
      index: which one, from 0; it may be traced. Of one spec it is not read.
      kinds: the kinds of the T tasks.
      shared: the shared leaves, for methods that balance gradients.
      steps_per_epoch: for methods that reckon in epochs.

    Returns:
      A weighting; of one spec that of `build`.

    Raises:
      InputError: as `build`, or the weightings do not read the same.
    """
    if len(specs) == 1:
        return build(specs[0], kinds=kinds, shared=shared, steps_per_epoch=steps_per_epoch)
    parsed = [parse(spec) for spec in specs]
    found = {reads(spec) for spec in specs}
    (what,) = found if len(found) == 1 else (None,)
    if what is None:
        names = ", ".join(name for name, _ in parsed)
        raise InputError(
            f"weightings {names} cannot be one program: they read different things of the losses"
        )
    bare = [{"name": name, **{k: v for k, v in given.items() if k != "tap"}} for name, given in parsed]
    methods = [build(spec, kinds=kinds, steps_per_epoch=steps_per_epoch) for spec in bare]
    scope = None if what == "losses" else shared
    return switched(methods, index, num_tasks=len(kinds), reads=what, shared=scope)


def reads(spec: str | Mapping[str, Any]) -> str | None:
    """Says what a weighting works from; those that say the same can be one program, see `build_one_of`.

    Args:
      spec: as for `build`.

    Returns:
      `losses`, `gramian`, `tap` (the Gramian there), or None for methods that read gradients, several
      batches or the losses after the step, and with `normalize="mean_norm"`, which needs the update's length.

    Raises:
      InputError: there is no known name, or a key is not an argument of the method.
    """
    name, arguments = parse(spec)
    if name in NEEDS or arguments.get("normalize") == "mean_norm":
        return None
    if name in SCALARIZATIONS:
        return "losses"
    if name not in FROM_GRAMIAN:
        return None
    return "tap" if arguments.get("tap") else "gramian"


def needs(spec: str | Mapping[str, Any]) -> Needs:
    """Says what a weighting consumes in a step.

    Raises:
      InputError: there is no known name, or a key is not an argument of the method.
    """
    return NEEDS.get(parse(spec)[0], Needs())


def backward_passes(spec: str | Mapping[str, Any], num_tasks: int) -> int:
    """Counts the full backward passes of one update.

    Args:
      spec: as for `build`.
      num_tasks: T.

    Returns:
      1 for methods that weigh the loss and for those at a tap (whose T passes through the heads are not
      counted), 2T + 1 for those that read three batches, else T; one more to normalise by `mean_norm`.

    Raises:
      InputError: there is no known name, or a key is not an argument of the method.
    """
    name, arguments = parse(spec)
    more = int(arguments.get("normalize") == "mean_norm")
    if name in SCALARIZATIONS or arguments.get("tap"):
        return 1 + more
    return more + (num_tasks if needs(name).batches == 1 else 2 * num_tasks + 1)


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
    accepted = [*(p for p in accepted if p != "optimizer"), "normalize", "smooth"]
    for key in arguments:
        if key not in accepted:
            raise unknown_name(f"argument of weighting {name!r}:", key, accepted)
    return name, arguments


def numbers(spec: str | Mapping[str, Any]) -> dict[str, float | tuple[float, ...]]:
    """Finds the arguments of a spec that `build` also takes as traced arrays.

    Weightings whose specs differ only in these numbers are one program:

        jax.vmap(lambda c: build({**spec, "c": c}, kinds=kinds).update(…))(jnp.array([0.2, 0.4]))

    They are the given values of arguments that are floats by their type. Counts, names, switches and None
    decide what is computed and are left out, as are the values in `STRUCTURAL`.

    Args:
      spec: as for `build`.

    Returns:
      Floats, and tuples of floats for arguments that are given per task.

    Raises:
      InputError: there is no known name, or a key is not an argument of the method.
    """
    name, arguments = parse(spec)
    types = _types(name)
    boundaries = {"smooth": 0.0, **STRUCTURAL.get(name, {})}
    found: dict[str, float | tuple[float, ...]] = {}
    for key, value in arguments.items():
        if float in types[key] and _is_number(value) and value != boundaries.get(key):
            found[key] = float(value)
        elif (
            Sequence[float] in types[key] and isinstance(value, tuple | list) and all(map(_is_number, value))
        ):
            found[key] = tuple(map(float, value))
    return found


def _types(name: str) -> dict[str, tuple[Any, ...]]:
    """The types that every argument in a spec may have, by its annotation."""
    annotations = {k: p.annotation for k, p in inspect.signature(WEIGHTINGS[name]).parameters.items()}
    annotations |= {"normalize": str, "smooth": float}
    return {k: get_args(v) or (v,) for k, v in annotations.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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


def observe(opt_state: optax.OptState, losses_after: Array) -> optax.OptState:
    """Tells a weighting the losses of the last batch at the parameters after the step.

    Args:
      opt_state: the state of a weighting, or of a chain that holds one.
      losses_after: `[T]`.

    Returns:
      The state with the losses in it; the same state for methods that do not ask, see `needs`.
    """
    return _put(opt_state, "observed", losses_after)


def with_key(opt_state: optax.OptState, key: Array) -> optax.OptState:
    """Puts a random key into the state of a weighting that draws numbers.

    `init` takes its key from the factory's `seed`, so that runs that are stacked in one program would all
    draw the same.

    Args:
      opt_state: the state of a weighting, or of a chain that holds one.
      key: a typed key.

    Returns:
      The state with the key in it; the same state for methods that draw nothing.
    """
    return _put(opt_state, "key", jax.random.key_data(key))


def _put(opt_state: optax.OptState, field: str, value: Array) -> optax.OptState:
    def put(state):
        if isinstance(state, SwitchedState):
            return state._replace(states=tuple(_put(s, field, value) for s in state.states))
        if not hasattr(state, "weights") or not hasattr(state, field):
            return state
        return state._replace(**{field: jnp.asarray(value, getattr(state, field).dtype)})

    return jax.tree.map(put, opt_state, is_leaf=lambda s: hasattr(s, "weights"))
