"""Runs a weighting on a Gramian or a Jacobian, in float64 where the caller says so."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mtl.compilation import compile_quickly
from mtl.weightings import WEIGHTINGS, observe, with_key


def rows_of(gramian):
    """A Jacobian with this Gramian."""
    values, vectors = np.linalg.eigh(np.asarray(gramian, np.float64))
    return vectors * np.sqrt(np.maximum(values, 0.0))


def random_rows(num_tasks, dim=None, seed=0, spread=0.0):
    """Gaussian gradients, with lengths spread over 10^±spread."""
    rng = np.random.default_rng([seed, num_tasks])
    rows = rng.normal(size=(num_tasks, dim or 2 * num_tasks))
    return rows * 10 ** rng.uniform(-spread, spread, size=(num_tasks, 1))


def apply(name, rows, losses=None, steps=1, seed=0, **arguments):
    """Returns the update and the state after some steps with the same gradients."""
    rows = jnp.asarray(rows)
    losses = jnp.ones(len(rows), rows.dtype) if losses is None else jnp.asarray(losses, rows.dtype)
    init, update_once = _compiled(name, len(rows), tuple(arguments.items()))
    state = with_key(init(rows[0]), jax.random.key(seed))
    for _ in range(steps):
        update, state = update_once(rows, state, losses)
    return np.asarray(update), state


@functools.cache
def _compiled(name, num_tasks, arguments):
    tx = WEIGHTINGS[name](**{"num_tasks": num_tasks, **dict(arguments)})

    def update_once(rows, state, losses):
        update, state = tx.update(rows, state, rows[0], losses=losses, jacobians=(rows, rows))
        return update, observe(state, losses)

    return tx.init, jax.jit(update_once, compiler_options=compile_quickly())


def weights(name, rows, losses=None, steps=1, **arguments):
    return np.asarray(apply(name, rows, losses, steps, **arguments)[1].weights)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)
