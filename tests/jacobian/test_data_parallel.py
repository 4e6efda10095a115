"""Eight devices that share a batch give what one device gives with all of it.

Both ways of data parallelism, on simulated CPU devices in a process of their own:

    jit         the batch is sharded, the losses are means over all of it, XLA adds the collectives
    shard_map   every device sees its rows, and the losses are averaged with `jax.lax.pmean`

Either way gradients are averaged before the Gramian is formed. Averaging the devices' Gramians instead is
the trap: it adds the covariance of the gradients over the devices.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mtl import task_jacobian, weightings
from mtl.compilation import compile_quickly
from mtl.data import IdColumn, Schema
from mtl.jacobian import cross_gramian
from mtl.models import build_model, shared_tap, task_cut, zero_perturbations
from mtl.tasks import Task
from mtl.train import find_ownership, make_loss_fn

DEVICES = 8
TASKS = (Task("a"), Task("b", "regression"), Task("c", "multiclass", 3))
SCHEMA = Schema((IdColumn("i", 5),), ("x", "y"), TASKS)
SIZES = {"num_experts": 3, "expert_features": (6,), "tower_features": (4,)}
TAPS = {"tap_gramian": shared_tap, "general_tap_gramian": zero_perturbations}
WEIGHTINGS = {
    "uwl": {"name": "uwl"},
    "mgda": {"name": "mgda"},
    "mgda_tap": {"name": "mgda", "tap": True},
    "upgrad": {"name": "upgrad"},
    "moco": {"name": "moco"},
    # With the published step size its inner iteration does not converge, and rounding decides.
    "sdmgrad": {"name": "sdmgrad", "learning_rate": 0.5},
}
QUANTITIES = ("losses", "stacked", "gramian", "cross_gramian", "cut_gramian", *TAPS, *WEIGHTINGS)


@pytest.fixture(scope="module")
def report():
    """Largest error of every quantity, relative to its largest entry, from this file run as a program."""
    root = Path(__file__).parents[2]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    env = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, __file__], env=env, cwd=root, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_every_quantity_is_compared(report):
    assert set(report["jit"]) == set(QUANTITIES)
    assert set(report["shard_map"]) == set(QUANTITIES)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_eight_devices_equal_one(report, quantity):
    assert report["jit"][quantity] <= 1e-6
    assert report["shard_map"][quantity] <= 1e-6


def test_the_mean_of_the_devices_gramians_is_not_the_gramian(report):
    assert report["trap"] > 0.1


# ---- what the other process runs ----------------------------------------------------------------


def make_batch(rows: int, seed: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, 2, rows), rng.normal(size=rows), rng.integers(0, 3, rows)], axis=1)
    return {
        "ids": jnp.asarray(rng.integers(0, 5, (rows, 1)), jnp.int32),
        "numeric": jnp.asarray(rng.normal(size=(rows, 2)), jnp.float32),
        "labels": jnp.asarray(labels, jnp.float32),
    }


class Setting(NamedTuple):
    """An MMoE, its parameters, which of them are shared, and its `loss_fn(params, batch, key, **tap)`."""

    model: Any
    params: Any
    shared: Any
    loss_fn: Callable


def make_setting(batch) -> Setting:
    model = build_model({"name": "mmoe", **SIZES}, SCHEMA)
    params = jax.jit(model.init, compiler_options=compile_quickly())(jax.random.key(0), batch)["params"]
    shared = find_ownership(model, TASKS, params, jax.tree.map(lambda x: x[:4], batch)).shared
    return Setting(model, params, shared, make_loss_fn(model, TASKS))


def jacobian_of(setting: Setting, params, batch, make_tap=None):
    tap = None if make_tap is None else make_tap(setting.model, params, batch)
    return task_jacobian(setting.loss_fn, params, batch, jax.random.key(1), tap=tap)


def averaged(setting: Setting) -> Setting:
    """The same, with losses that are averaged over the devices of a `shard_map`."""

    def loss_fn(params, batch, key, **tap):
        out = setting.loss_fn(params, batch, key, **tap)
        losses, *rest = out if isinstance(out, tuple) else (out,)
        losses = jax.lax.pmean(losses, "data")
        return (losses, *rest) if rest else losses  # the mixing weights of a `TaskTap` stay with their rows

    return setting._replace(loss_fn=loss_fn)


def update_of(name, setting: Setting, params, found):
    """Two updates, so that what the state has kept enters, from losses and Jacobian of three batches."""
    tx = weightings.build(WEIGHTINGS[name], kinds=[t.kind for t in TASKS], shared=setting.shared)
    state = tx.init(params)
    for (losses, jac), *others in (found, found[::-1]):
        update, state = tx.update(
            jac, state, params, losses=losses, jacobians=tuple(other for _, other in others)
        )
    return update, weightings.weighting_state(state).weights


def without_tap(setting: Setting, params, batches):
    found = [jacobian_of(setting, params, batch) for batch in batches]
    (losses, jac), (_, other), _ = found
    names = [name for name, spec in WEIGHTINGS.items() if "tap" not in spec]
    return {
        "losses": losses,
        "stacked": jac.stacked(),
        "gramian": jac.gramian(setting.shared),
        "cross_gramian": cross_gramian(jac.stacked(), other.stacked(), setting.shared),
        **{name: update_of(name, setting, params, found) for name in names},
    }


def tap_gramian(setting: Setting, params, batch, make_tap):
    return jacobian_of(setting, params, batch, make_tap)[1].gramian(tap=True)


def cut_gramian(setting: Setting, params, batch, make_tap=task_cut):
    return jacobian_of(setting, params, batch, make_tap)[1].gramian(setting.shared)


def everything(setting: Setting, params, batches):
    at_tap = [jacobian_of(setting, params, batch, shared_tap) for batch in batches]
    return {
        **without_tap(setting, params, batches),
        **{name: tap_gramian(setting, params, batches[0], make_tap) for name, make_tap in TAPS.items()},
        "cut_gramian": cut_gramian(setting, params, batches[0]),
        "mgda_tap": update_of("mgda_tap", setting, params, at_tap),
    }


def error(found, expected) -> float:
    """Largest difference over the largest entry, the largest of all arrays."""

    def of(a, b):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))

    return max(jax.tree.leaves(jax.tree.map(of, found, expected)))


def main() -> None:
    """Prints the errors of both ways as JSON."""
    assert jax.device_count() == DEVICES
    batches = tuple(make_batch(64, seed) for seed in range(3))
    setting = make_setting(batches[0])
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, everywhere = PartitionSpec("data"), PartitionSpec()
    params = jax.device_put(setting.params, NamedSharding(mesh, everywhere))
    sharded = jax.device_put(batches, NamedSharding(mesh, rows))
    quickly = functools.partial(jax.jit, compiler_options=compile_quickly())

    def on_shards(fn, *args, **more):
        inside = functools.partial(fn, *args, **more)
        return quickly(jax.shard_map(inside, mesh=mesh, in_specs=(everywhere, rows), out_specs=everywhere))

    run = quickly(functools.partial(everything, setting))
    one = run(setting.params, batches)
    by_jit = run(params, sharded)
    by_shard_map = on_shards(everything, averaged(setting))(params, sharded)

    def local_gramian(rows):
        return jacobian_of(setting, setting.params, rows)[1].gramian(setting.shared)

    parts = jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), batches[0])
    mean_gramian = quickly(jax.vmap(local_gramian))(parts).mean(axis=0)
    report = {
        "jit": {name: error(by_jit[name], one[name]) for name in by_jit},
        "shard_map": {name: error(by_shard_map[name], one[name]) for name in by_shard_map},
        "trap": error(mean_gramian, one["gramian"]),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
