"""Every preset that needs no history trains: two steps through the library's own step lower its losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl import weightings
from mtl.compilation import compile_quickly
from mtl.data import load
from mtl.models import PRESETS, build_model, initial_variables
from mtl.train.step import TrainState, make_step

ROWS = {"num_train": 256, "num_val": 64, "num_test": 64}


@functools.cache
def dataset(scenarios):
    if scenarios:
        return load("scenario_synthetic", num_scenarios=3, dim=8, **ROWS)
    rates = {"click_rate": 0.5, "cart_rate": 0.5, "conversion_rate": 0.4}
    return load("funnel_synthetic", with_cart=True, num_users=20, num_items=10, dim=3, **rates, **ROWS)


def test_two_steps_lower_the_losses(plain_preset):
    """The same 64 rows twice, so that the optimiser's first steps must show."""
    name = plain_preset
    row = PRESETS[name]
    data = dataset(name in ("star", "dbmtl3", "separate_domains"))
    # With few rows a scenario's statistics change from those of the start to those of a batch: another loss.
    few = {"least_rows": 2} if name == "star" else {}
    model = build_model({"name": name, "embedding_dim": 4, **few}, data.schema)
    batch = {k: jnp.asarray(v[:64]) for k, v in data.splits["train"].items()}
    optimizer = optax.chain(weightings.ew(len(data.schema.tasks)), optax.adam(3e-3))
    step = make_step(model, data.schema.tasks, optimizer)

    @functools.partial(jax.jit, compiler_options=compile_quickly())
    def run(key):
        stats = initial_variables(model, {"params": key, "dropout": key}, batch)
        params = stats.pop("params")
        state = TrainState(params, optimizer.init(params), stats)
        final, metrics = jax.lax.scan(lambda s, _: step(s, batch, key), state, length=3)
        return params, final.params, metrics

    before, after, metrics = run(jax.random.key(0))
    total = np.asarray(metrics.losses).sum(axis=1)
    assert metrics.finite.all()
    assert total[2] < total[1] < total[0]
    parts = {"encoder", "extractor", "transfer"} | ({"towers"} if row.get("tower_features") != () else set())
    parts |= {"side_tower"} if "side_tower" in row else set()
    assert set(before) == parts
    for part in parts:
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before[part], after[part])
        assert max(jax.tree.leaves(moved)) > 0, part
