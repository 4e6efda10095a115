"""Networks computed anew for gradients: the same numbers, and less is kept for them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import task_jacobian
from mtl.compilation import compile_quickly
from mtl.data import Schema
from mtl.extractors import EXTRACTORS
from mtl.models import build_model
from mtl.tasks import Task
from mtl.train import make_loss_fn

TASKS = (Task("a"), Task("b", "regression"))
SCHEMA = Schema((), tuple(f"x{i}" for i in range(5)), TASKS)
DEEP = {"num_levels": 3, "expert_features": (64, 64, 64, 64), "tower_features": (4,)}


def batch(rows):
    rng = np.random.default_rng(0)
    return {
        "ids": jnp.zeros((rows, 0), jnp.int32),
        "numeric": jnp.asarray(rng.normal(size=(rows, 5)), jnp.float32),
        "labels": jnp.asarray(rng.integers(0, 2, (rows, 2)), jnp.float32),
    }


@pytest.mark.parametrize("name", ["mmoe", "ple", "single_task"])
def test_gradients_of_every_task_are_the_same(name):
    sizes = {"bottom_features": (6, 4)} if name == "single_task" else {"expert_features": (6, 4)}
    rows = batch(7)
    found = []
    for remat in (False, True):
        model = build_model({"name": name, **sizes, "tower_features": (3,), "remat": remat}, SCHEMA)
        loss_fn = make_loss_fn(model, TASKS)

        @functools.partial(jax.jit, compiler_options=compile_quickly())
        def both(key, model=model, loss_fn=loss_fn):
            params = model.init(key, rows)["params"]
            losses, jac = task_jacobian(loss_fn, params, rows, key)
            return losses, jac.stacked()

        found.append(both(jax.random.key(0)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), *found)


def test_deep_experts_of_several_levels_keep_less_for_the_backward_pass():
    rows = batch(256)
    kept = []
    for remat in (False, True):
        model = build_model({"name": "ple", **DEEP, "remat": remat}, SCHEMA)
        loss_fn = make_loss_fn(model, TASKS)
        params = jax.eval_shape(lambda model=model: model.init(jax.random.key(0), rows)["params"])
        # A function made by `jax.vjp` is a pytree of what it keeps.
        vjp = jax.eval_shape(
            lambda p, f=loss_fn: jax.vjp(lambda q: f(q, rows, jax.random.key(0)), p)[1], params
        )
        kept.append(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(vjp)))
    assert kept[1] < 0.5 * kept[0]


def test_every_extractor_of_stacked_networks_can():
    """Those that have none of their own layers to keep cannot: their layers mix features one by one."""
    without = {n for n, e in EXTRACTORS.items() if "remat" not in {f.name for f in dataclasses.fields(e)}}
    assert without == {"cross_stitch", "snr", "star"}
