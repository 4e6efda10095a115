"""mtl: multi-task optimisation in JAX.

Two things are enough to use the library in your own training code::

    losses, jac = mtl.task_jacobian(loss_fn, params, batch)   # losses [T], lazy Jacobian
    tx = optax.chain(mtl.weightings.mgda(num_tasks=2), optax.adam(1e-3))
    updates, state = tx.update(jac, state, params, losses=losses)

Shape letters are defined once, in `mtl.types`.
"""

from mtl import weightings
from mtl.jacobian import TaskJacobian, task_jacobian
from mtl.ownership import task_ownership

__all__ = ["TaskJacobian", "task_jacobian", "task_ownership", "weightings"]
