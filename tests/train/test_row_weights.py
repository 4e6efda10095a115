"""Weights of rows reach the losses of a training step: of joint and of conditional ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.compilation import compile_quickly
from mtl.data import reweight, validate, watch_time
from mtl.models import build_model
from mtl.train.step import make_loss_fn


@pytest.mark.parametrize(
    "spec", ["shared_bottom", {"name": "esmm", "supervise": "conditional"}], ids=["joint", "conditional"]
)
def test_a_row_of_weight_two_counts_as_two_rows(spec):
    data = watch_time(tasks=("click", "completed"), num_train=30, num_val=20, num_test=20, dim=2)
    data = validate(reweight(reweight(data, "click", {"click": 2.0}), "completed", {"completed": 2.0}))
    model = build_model(spec, data.schema)
    rows = {name: jnp.asarray(column) for name, column in data.splits["train"].items()}
    loss_fn = jax.jit(make_loss_fn(model, data.schema.tasks), compiler_options=compile_quickly())
    params = jax.jit(model.init, compiler_options=compile_quickly())(jax.random.key(0), rows)["params"]
    weighted = loss_fn(params, rows, jax.random.key(1))
    for t in (0, 1):
        twice = np.flatnonzero(rows["weights"][:, t] == 2)
        assert twice.size
        index = np.concatenate([np.arange(30), twice])
        repeated = {name: column[index] for name, column in rows.items() if name != "weights"}
        np.testing.assert_allclose(weighted[t], loss_fn(params, repeated, jax.random.key(1))[t], rtol=1e-5)
    plain = {name: column for name, column in rows.items() if name != "weights"}
    assert (np.asarray(weighted) != np.asarray(loss_fn(params, plain, jax.random.key(1)))).all()
