"""Weightings whose numbers are arguments of the compiled program, as in a sweep that stacks its runs.

Each row of the table is compiled once: built with numbers, built with traced ones, and vmapped over two sets.
"""

import functools
import inspect
import math
from collections.abc import Sequence
from typing import get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from table import TABLE, Row

from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.weightings import STRUCTURAL, WEIGHTINGS, build, numbers, observe, smoothed, static, upgrad

T = 3
STEPS = 6  # the longest wait of a row, for two epochs of two steps, and two more
PARAMS = {"w": jnp.zeros((4, 2)), "b": jnp.zeros(3)}
GIVEN = ("num_tasks", "kinds", "shared", "steps_per_epoch", "optimizer")

NUMBERS = {
    "ew": "",
    "static": "weights decay",
    "alternating": "",
    "uwl": "learning_rate init loss_coefficient log_coefficient",
    "gls": "",
    "si": "",
    "dwa": "temperature",
    "rlw": "",
    "imtl_l": "learning_rate init",
    "famo": "learning_rate decay minimum",
    "stch": "mu preference ideal",
    "go4align": "step_size",
    "slaw": "decay",
    "group_dro": "step_size",
    "loss_norm": "weights decay",
    "mgda": "",
    "pe_ltr": "floors",
    "imtl_g": "",
    "config": "",
    "gradnorm": "alpha learning_rate",
    "pcgrad": "",
    "gradvac": "beta",
    "cagrad": "c",
    "nash_mtl": "max_norm",
    "fairgrad": "alpha preference",
    "aligned_mtl": "preference",
    "upgrad": "preference",
    "dual_proj": "preference",
    "pcd": "tau beta",
    "ntkmtl": "exponent",
    "db_mtl": "beta sigma",
    "moco": "beta beta_decay gamma gamma_decay rho",
    "modo": "gamma rho",
    "sdmgrad": "lam learning_rate momentum preference",
    "excess_mtl": "step_size",
    "graddrop": "leak",
}
"""By hand: the arguments of every method that are numbers. All others decide what is computed."""


def parameters(name):
    found = inspect.signature(WEIGHTINGS[name]).parameters
    return {k: p for k, p in found.items() if k not in GIVEN}


def explicit(row: Row):
    """A row's spec with every argument that has a number to give, and its steps in an epoch."""
    given = row.kwargs(T)
    spec = {k: p.default for k, p in parameters(row.name).items() if p.default is not p.empty}
    spec |= {k: v for k, v in given.items() if k not in GIVEN}
    spec |= {k: 1 / T for k, v in spec.items() if v is None and is_per_task(row.name, k)}
    return {"name": row.name, **spec}, given.get("steps_per_epoch", 1)


def is_per_task(name, key):
    return Sequence[float] in get_args(parameters(name)[key].annotation)


def gradients(seed, dtype=jnp.float32):
    rng = np.random.default_rng([seed, T])
    return {k: jnp.asarray(rng.normal(size=(T, *v.shape)), dtype) for k, v in PARAMS.items()}


def prepare(spec, epoch, values):
    """The fresh state of a weighting built with these values in place of the spec's, and its step."""
    tx = build({**spec, **values}, kinds=("regression",) * T, steps_per_epoch=epoch)

    def step(state, batch):
        grads, losses = batch
        update, state = tx.update(grads, state, PARAMS, losses=losses, jacobians=(grads, grads))
        return observe(state, losses * jnp.array([0.9, 0.6, 0.8], losses.dtype)), update

    return tx.init(PARAMS), step


def train(spec, epoch, values):
    """The last state and all updates."""
    state, step = prepare(spec, epoch, values)
    grads = jax.tree.map(lambda *g: jnp.stack(g), *(gradients(seed) for seed in range(STEPS)))
    losses = jnp.array([[0.5, 2.0 + 0.3 * i, 1.0] for i in range(STEPS)])
    return jax.lax.scan(step, state, (grads, losses))


def moved(value):
    """Another value that every argument of the table takes."""
    return jax.tree.map(lambda v: 0.8 * v + 0.01, value)


def per_task(row, values):
    """The same numbers with an own one for every task where the method takes that."""

    def spread(key, value):
        if not is_per_task(row.name, key) or isinstance(value, tuple):
            return value
        size = T - 1 if key == "tau" else T
        return tuple(value * (1 - 0.1 * i) for i in range(size))

    return {k: spread(k, v) for k, v in values.items()}


WITH_NUMBERS = [row for row in TABLE if numbers(explicit(row)[0])]
EACH_ROW = pytest.mark.parametrize("row", WITH_NUMBERS, ids=lambda r: r.id)


@EACH_ROW
def test_traced_numbers_give_what_numbers_give(row):
    """Alone as the row has them, and two sets at once, per task where the method takes that."""
    spec, epoch = explicit(row)
    alone = numbers(spec)
    pair = [per_task(row, alone), per_task(row, moved(alone))]

    @functools.partial(jax.jit, compiler_options=compile_quickly())
    def everything(alone, pair):
        run = functools.partial(train, spec, epoch)
        return [run(values) for values in concrete], run(alone), jax.vmap(run)(pair)

    concrete = [alone, *pair]
    stacked = jax.tree.map(lambda *x: np.array(x, np.float32), *pair)
    expected, traced, at_once = everything(jax.tree.map(np.float32, alone), stacked)
    chex.assert_trees_all_close(traced, expected[0], rtol=1e-5, atol=1e-6)
    for i in range(2):
        one = jax.tree.map(lambda x, i=i: x[i], at_once)
        chex.assert_trees_all_close(one, expected[1 + i], rtol=1e-5, atol=1e-6)
    different = [not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, expected[1:]), strict=True)]
    assert any(different) or row.kwargs(T).get("beta") == 0.0  # where the only one left is σ, of no effect


@EACH_ROW
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_traced_numbers_keep_shapes_and_dtypes(row, dtype):
    """Also where they are wider than the state, or than the gradients."""
    spec, epoch = explicit(row)

    def first_step(values):
        state, step = prepare(spec, epoch, values)
        return step(state, (gradients(0, dtype), jnp.array([0.5, 2.0, 1.0], dtype)))

    with jax.enable_x64(dtype == "float64"):
        expected = jax.eval_shape(lambda: first_step({}))
        for wide in (np.float32, np.float64):
            found = jax.eval_shape(first_step, jax.tree.map(wide, numbers(spec)))
            chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)


def test_the_numbers_of_every_method():
    assert set(NUMBERS) == set(WEIGHTINGS)
    for name, expected in NUMBERS.items():
        scalars = dict.fromkeys(parameters(name), 0.5)
        assert set(numbers({"name": name, **scalars})) == set(expected.split())


@EACH_ROW
def test_what_decides_the_program_is_no_number(row):
    """Counts, names, switches, None and the values of `STRUCTURAL`, whichever of them a row gives."""
    spec, _ = explicit(row)
    found = numbers({**spec, "normalize": "mean_norm", "smooth": 0.0})
    assert all(type(v) is float for v in jax.tree.leaves(found))
    assert set(found) <= set(NUMBERS[row.name].split())
    for key in set(spec) & set(NUMBERS[row.name].split()) - set(found):
        assert spec[key] is None or spec[key] == STRUCTURAL[row.name][key]


def test_numbers_of_a_spec():
    assert numbers("cagrad") == {}
    assert numbers({"name": "cagrad", "c": 1, "rescale": "none", "tap": True}) == {"c": 1.0}
    assert numbers({"name": "static", "weights": [1, 2.0], "decay": 0.9, "decay_steps": 3}) == {
        "weights": (1.0, 2.0),
        "decay": 0.9,
    }
    assert numbers({"name": "static", "weights": lambda step: step}) == {}
    assert numbers({"name": "nash_mtl", "max_norm": None, "update_every": 4}) == {}
    assert numbers({"name": "db_mtl", "beta": 0.0, "sigma": 0.0}) == {"sigma": 0.0}
    assert numbers({"name": "si", "smooth": 0.9, "normalize": "sum_one"}) == {"smooth": 0.9}
    assert numbers({"name": "si", "smooth": 0}) == {}
    assert numbers({"name": "cagrad", "c": (0.1, 0.2)}) == {}  # takes one, and `build` says so
    assert numbers({"name": "cagrad", "c": True}) == {}
    with pytest.raises(InputError, match="did you mean 'cagrad'"):
        numbers("cagrat")
    with pytest.raises(InputError, match="unknown argument of weighting 'cagrad': 'd'"):
        numbers({"name": "cagrad", "d": 1.0})


def test_a_traced_average_of_the_weights():
    spec = {"name": "si", "smooth": 0.5, "normalize": "mean_norm"}
    found = jax.jit(jax.vmap(lambda a: train(spec, 1, {"smooth": a})))(jnp.array([0.5, 0.9]))
    for i, decay in enumerate((0.5, 0.9)):
        expected = train({**spec, "smooth": decay}, 1, {})
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], found), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["db_mtl", "moco", "graddrop"])
def test_a_traced_average_is_refused_where_a_number_is(name):
    with pytest.raises(InputError, match="it takes no smooth"):
        jax.eval_shape(lambda a: train({"name": name}, 1, {"smooth": a}), 0.5)


def test_factories_take_traced_arrays_of_all_tasks_or_one_number():
    """Without `build`: `[T]`, `[]`, and a row of a batch in `lax.map`."""
    rows = jnp.eye(2)

    def update(tx):
        return tx.update(rows, tx.init(jnp.zeros(2)), losses=jnp.ones(2))[0]

    weights = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(jax.lax.map(lambda w: update(static(w)), weights), weights)
    np.testing.assert_allclose(jax.vmap(lambda w: update(static(w, 2)))(weights[0]), [[1, 1], [2, 2]])
    np.testing.assert_allclose(jax.vmap(lambda p: update(upgrad(preference=p)))(weights), weights)
    np.testing.assert_allclose(jax.jit(lambda p: update(upgrad(preference=p)))(0.5), [0.5, 0.5])
    np.testing.assert_allclose(jax.jit(lambda a: update(smoothed(static(weights[0]), a)))(0.5), weights[0])


def test_a_traced_seed_stays_an_integer():
    def key(seed):
        return build({"name": "rlw", "seed": seed}, kinds=("regression",) * T).init(PARAMS).key

    np.testing.assert_array_equal(jax.jit(key)(2**24 + 1), key(2**24 + 1))


def test_the_shape_of_a_traced_array_is_checked():
    with pytest.raises(InputError, match="expected 3 numbers, one per task"):
        jax.eval_shape(lambda w: static(w, 3), jnp.ones(2))
    with pytest.raises(InputError, match="also needs num_tasks"):
        static(1.0)
    with pytest.raises(InputError, match="expected one number per task, one per task"):
        jax.eval_shape(lambda w: static(w), 1.0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "static", "weights": -1.0}, "weights are -1.0, expected numbers ≥ 0, not all of them zero"),
        ({"name": "static", "weights": 0.0}, "weights are 0.0, expected numbers ≥ 0, not all of them zero"),
        ({"name": "static", "weights": math.inf}, "weights is inf, expected finite numbers"),
        ({"name": "static", "decay": 0.0}, "decay is 0.0, expected factors above 0"),
        ({"name": "uwl", "init": math.nan}, "init is nan, expected finite numbers"),
        ({"name": "uwl", "learning_rate": 0.0}, "learning_rate is 0.0, expected a number above 0"),
        ({"name": "uwl", "loss_coefficient": 0.0}, "loss_coefficient and log_coefficient must be above 0"),
        ({"name": "uwl", "log_coefficient": -1.0}, "loss_coefficient and log_coefficient must be above 0"),
        ({"name": "dwa", "temperature": math.nan}, "temperature is nan, expected a number above 0"),
        ({"name": "imtl_l", "learning_rate": math.nan}, "learning_rate is nan, expected a number above 0"),
        (
            {"name": "famo", "decay": -1.0},
            "learning_rate is 0.025 and decay is -1.0, expected above 0 and at least 0",
        ),
        ({"name": "stch", "mu": 0.0}, "mu is 0.0, expected a number above 0"),
        ({"name": "stch", "preference": (1.0, 0.0)}, "preference is (1.0, 0.0), expected numbers above 0"),
        ({"name": "go4align", "step_size": -1.0}, "step_size is -1.0, expected a number ≥ 0"),
        ({"name": "slaw", "decay": -0.1}, "decay is -0.1, expected a number in [0, 1)"),
        ({"name": "slaw", "decay": 1.0}, "decay is 1.0, expected a number in [0, 1)"),
        ({"name": "group_dro", "step_size": math.nan}, "step_size is nan, expected a number ≥ 0"),
        (
            {"name": "loss_norm", "weights": (0.0, 0.0)},
            "weights are (0.0, 0.0), expected numbers ≥ 0, not all of them zero",
        ),
        ({"name": "loss_norm", "decay": 0.0}, "decay is 0.0, expected a number in (0, 1]"),
        ({"name": "loss_norm", "decay": 1.1}, "decay is 1.1, expected a number in (0, 1]"),
        ({"name": "pe_ltr", "floors": -0.1}, "floors are -0.1, expected numbers ≥ 0"),
        ({"name": "pe_ltr", "floors": 0.6}, "floors are 0.6 and sum to 1.2, expected at most 1"),
        ({"name": "gradnorm", "alpha": -1.0}, "alpha is -1.0, expected a number ≥ 0"),
        ({"name": "gradnorm", "learning_rate": 0}, "learning_rate is 0, expected a number above 0"),
        ({"name": "gradvac", "beta": -0.1}, "beta is -0.1, expected a number in [0, 1]"),
        ({"name": "gradvac", "beta": 1.1}, "beta is 1.1, expected a number in [0, 1]"),
        ({"name": "cagrad", "c": math.nan}, "c is nan, expected a number ≥ 0"),
        ({"name": "nash_mtl", "max_norm": 0.0}, "max_norm is 0.0, expected None or a number above 0"),
        ({"name": "fairgrad", "alpha": 0.0}, "alpha is 0.0, expected a number above 0"),
        ({"name": "fairgrad", "preference": 0}, "preference is 0, expected numbers above 0"),
        ({"name": "aligned_mtl", "preference": -1.0}, "preference is -1.0, expected numbers ≥ 0"),
        ({"name": "upgrad", "preference": -1.0}, "preference is -1.0, expected numbers above 0"),
        ({"name": "dual_proj", "preference": 0.0}, "preference is 0.0, expected numbers above 0"),
        ({"name": "pcd", "tau": 1.1}, "tau is 1.1, expected numbers in [0, 1]"),
        ({"name": "pcd", "tau": -0.1}, "tau is -0.1, expected numbers in [0, 1]"),
        ({"name": "pcd", "beta": 1.0}, "beta is 1.0, expected a number in [0, 1)"),
        ({"name": "ntkmtl", "exponent": -0.5}, "exponent is -0.5, expected a number ≥ 0"),
        (
            {"name": "db_mtl", "beta": 1.0},
            "beta is 1.0 and sigma is 0.0, expected beta in [0, 1) and sigma ≥ 0",
        ),
        (
            {"name": "db_mtl", "sigma": -1.0},
            "beta is 0.9 and sigma is -1.0, expected beta in [0, 1) and sigma ≥ 0",
        ),
        (
            {"name": "db_mtl", "tap": True},
            "db_mtl with beta > 0 averages gradients of the parameters; tap needs beta = 0",
        ),
        (
            {"name": "moco", "beta": 0.0},
            "beta is 0.0 and gamma is 0.1, expected beta in (0, 1] and gamma > 0",
        ),
        (
            {"name": "moco", "gamma": 0.0},
            "beta is 0.5 and gamma is 0.0, expected beta in (0, 1] and gamma > 0",
        ),
        (
            {"name": "moco", "rho": -1.0},
            "beta_decay, gamma_decay and rho are (0.5, 0.5, -1.0), expected numbers ≥ 0",
        ),
        ({"name": "modo", "rho": -1.0}, "gamma is 0.001 and rho is -1.0, expected gamma > 0 and rho ≥ 0"),
        (
            {"name": "sdmgrad", "momentum": 1.0},
            "lam, learning_rate and momentum are (0.3, 10.0, 1.0), expected ≥ 0, > 0 and in [0, 1)",
        ),
        ({"name": "excess_mtl", "step_size": -1.0}, "step_size is -1.0, expected a number ≥ 0"),
        ({"name": "graddrop", "leak": (0.5, 1.1)}, "leak is (0.5, 1.1), expected numbers in [0, 1]"),
        ({"name": "si", "smooth": 1.0}, "smooth is 1.0, expected a number in [0, 1)"),
        ({"name": "si", "smooth": True}, "smooth is True, expected a number in [0, 1)"),
    ],
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())),
)
def test_numbers_out_of_range_are_refused_outside_a_program_and_inside(spec, message):
    def make():
        return build(spec, kinds=("regression",) * 2).init(PARAMS)

    for call in (make, lambda: jax.eval_shape(make)):
        with pytest.raises(InputError) as e:
            call()
        assert str(e.value) == f"weighting {spec['name']!r}: {message}"
