"""Loss weightings: how T losses become one update.

A weighting is an optax gradient transformation. It takes the Jacobian of `mtl.task_jacobian` (or any
pytree with leaves `[T, *shape]`) and returns an update shaped like the parameters, so it stands first
in a chain:

    tx = optax.chain(weightings.mgda(num_tasks=2), optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    updates, state = tx.update(jac, state, params, losses=losses)

`state.weights [T]` are the weights just applied; methods with a solver also keep `state.residual []`,
the scale-free optimality gap. A non-finite loss or gradient makes the weights NaN: it is never
replaced by something that looks like a weighting.

To add one: write `mtl/weightings/<name>.py` and add a line to `WEIGHTINGS`.
"""

from mtl.weightings.build import SCALARIZATIONS, WEIGHTINGS, build, parse, weighting_state
from mtl.weightings.loss_norm import LossNormState, loss_norm
from mtl.weightings.mgda import mgda
from mtl.weightings.normalize import normalized
from mtl.weightings.pe_ltr import pe_ltr
from mtl.weightings.static import StaticState, static
from mtl.weightings.uwl import UWLState, uwl

__all__ = [
    "SCALARIZATIONS",
    "WEIGHTINGS",
    "LossNormState",
    "StaticState",
    "UWLState",
    "build",
    "loss_norm",
    "mgda",
    "normalized",
    "parse",
    "pe_ltr",
    "static",
    "uwl",
    "weighting_state",
]
