"""What the rows of one user in a batch come to: means, and the Gramian of their gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mtl.jacobian import Shared, shared_leaves
from mtl.types import Array, Batch, PyTree

RowLosses = Callable[..., Array]
"""`row_losses(params, batch) -> losses [B, T]`, each row's from that row alone; 0 outside a sample space."""


def user_means(values: Array, users: Array) -> Array:
    """Replaces every row by the mean over the rows of its user.

    Args:
      values: `[B, …]`.
      users: the user of every row `[B]`.

    Returns:
      `[B, …]` float32 or wider; rows of one user are equal.
    """
    same = (users[:, None] == users[None, :]).astype(jnp.promote_types(values.dtype, jnp.float32))
    share = same / jnp.sum(same, axis=1, keepdims=True)
    return jnp.tensordot(share, values.astype(share.dtype), axes=1, precision=jax.lax.Precision.HIGHEST)


def user_gramians(
    row_losses: RowLosses,
    params: PyTree,
    batch: Batch,
    users: Array,
    *,
    shared: Shared = None,
    zeros: PyTree | None = None,
) -> Array:
    """Inner products of the gradients of every user's losses.

        G_u = J_u J_uᵀ,   row t of J_u is the mean over u's rows of ∇ℓ_t

    Args:
      row_losses: the losses of every row; with `zeros` it is called as `row_losses(params, batch, zeros)` and
        adds them to the representation that the tasks share.
      params: any pytree.
      batch: B rows, leaves `[B, …]`.
      users: the user of every row `[B]`.
      shared: the leaves that enter; None for all. It costs B × T times their memory.
      zeros: zeros shaped like the shared representation `[B, …]`. Gradients are then taken there, for T
        backward passes through the heads and B × T × H numbers; ‖·‖² at the parameters is at most a
        constant times as large.

    Returns:
      `[B, T, T]`, the Gramian of every row's user.

    Raises:
      InputError: no leaf is shared.
    """
    if zeros is None:

        def one_row(params, row):
            return row_losses(params, jax.tree.map(lambda x: x[None], row))[0]

        found = jax.vmap(jax.jacrev(one_row), (None, 0))(params, batch)
        leaves = shared_leaves(found, shared)
    else:
        losses, vjp = jax.vjp(lambda z: row_losses(params, batch, z), zeros)
        one_hot = jnp.eye(losses.shape[1], dtype=losses.dtype)
        # No row reads another's zeros, so one pass per task finds the gradients of all rows.
        (found,) = jax.vmap(lambda task: vjp(jnp.broadcast_to(task, losses.shape)))(one_hot)
        leaves = [jnp.moveaxis(x, 0, 1) for x in jax.tree.leaves(found)]
    means = [user_means(x, users).reshape(*x.shape[:2], -1) for x in leaves]
    return sum(
        (jnp.einsum("bip,bjp->bij", x, x, precision=jax.lax.Precision.HIGHEST) for x in means),
        start=jnp.zeros(()),
    )
