"""Several weightings as one program: each does what it does alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import task_jacobian, weightings
from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.jacobian import GramianJacobian
from mtl.weightings import FROM_GRAMIAN, SCALARIZATIONS, WEIGHTINGS, build, build_one_of, reads, with_key

T = 3
STEPS = 5
KINDS = ("regression",) * T
X = jax.random.normal(jax.random.key(0), (16, 4))
PARAMS = {"trunk": 0.5 * jax.random.normal(jax.random.key(1), (4, 5)), "heads": jnp.ones((5, T))}
SHARED = {"trunk": True, "heads": False}
SCALES = jnp.array([0.1, 1.0, 20.0])

BY_LOSSES = sorted(SCALARIZATIONS - {"famo"})
BY_GRAMIAN = sorted(FROM_GRAMIAN)


def losses_of(params, perturbations=0.0):
    hidden = jnp.tanh(X @ params["trunk"]) + perturbations
    return SCALES * jnp.mean((hidden @ params["heads"] - X[:, :T]) ** 2, axis=0)


def trajectory(weighting, tap=False):
    """Parameters and weights over a few steps of gradient descent."""
    state = with_key(weighting.init(PARAMS), jax.random.key(7))

    def step(carry, _):
        params, state = carry
        zeros = jnp.zeros((len(X), 5)) if tap else None
        losses, jac = task_jacobian(losses_of, params, tap=zeros)
        updates, state = weighting.update(jac, state, params, losses=losses)
        params = jax.tree.map(lambda p, u: p - 0.01 * u, params, updates)
        return (params, state), (params, state.weights, getattr(state, "residual", jnp.zeros(())))

    return jax.lax.scan(step, (PARAMS, state), length=STEPS)[1]


def compare(specs, tap=False):
    """Every spec alone against its place in one program for all."""

    @functools.partial(jax.jit, compiler_options=compile_quickly())
    def switched(index):
        return trajectory(build_one_of(specs, index, kinds=KINDS, shared=SHARED, steps_per_epoch=2), tap)

    for k, spec in enumerate(specs):
        alone = jax.jit(
            lambda spec=spec: trajectory(build(spec, kinds=KINDS, shared=SHARED, steps_per_epoch=2), tap),
            compiler_options=compile_quickly(),
        )
        for ours, theirs in zip(jax.tree.leaves(switched(k)), jax.tree.leaves(alone()), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5, err_msg=str(spec))
    assert switched._cache_size() == 1


def spec_of(name, **arguments):
    return {"name": name, **({"weights": (1.0, 2.0, 0.5)} if name == "static" else {}), **arguments}


def test_methods_from_losses_are_the_same_in_one_program():
    compare([spec_of(name) for name in BY_LOSSES])


def test_methods_from_the_gramian_are_the_same_in_one_program():
    compare([spec_of(name) for name in BY_GRAMIAN])


def test_methods_at_a_tap_are_the_same_in_one_program():
    compare([spec_of(name, tap=True) for name in ("mgda", "nash_mtl", "pcgrad")], tap=True)


def test_smoothed_and_normalised_methods_are_the_same_in_one_program():
    compare([spec_of("mgda", smooth=0.9), spec_of("cagrad", normalize="sum_one"), spec_of("upgrad")])


def test_one_spec_is_that_weighting():
    assert type(build_one_of(["mgda"], 0, kinds=KINDS).init(PARAMS)) is weightings.SolverState


def test_under_vmap_every_run_has_its_own():
    specs = ["mgda", "pcgrad", "imtl_g"]
    stacked = jax.vmap(lambda k: trajectory(build_one_of(specs, k, kinds=KINDS, shared=SHARED)))
    _, weights, _ = stacked(jnp.arange(3))
    for k, spec in enumerate(specs):
        _, alone, _ = trajectory(build(spec, kinds=KINDS, shared=SHARED))
        np.testing.assert_allclose(weights[k], alone, rtol=2e-4, atol=2e-5)


def test_only_the_state_of_the_picked_method_changes():
    weighting = build_one_of(["uwl", "rlw", "dwa"], 1, kinds=KINDS, steps_per_epoch=1)
    before = weighting.init(PARAMS)
    losses, jac = task_jacobian(losses_of, PARAMS)
    _, after = weighting.update(jac, before, PARAMS, losses=losses)
    unchanged = [
        all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), *states)))
        for states in zip(before.states, after.states, strict=True)
    ]
    assert unchanged == [True, False, True]


def test_what_every_method_reads():
    """By hand where it is None: these need more than losses and Gramian."""
    more = {"famo", "db_mtl", "moco", "modo", "sdmgrad", "excess_mtl", "graddrop"}
    for name in WEIGHTINGS:
        kind = None if name in more else "losses" if name in BY_LOSSES else "gramian"
        assert reads(spec_of(name)) == kind, name
    assert reads({"name": "mgda", "tap": True}) == "tap"
    assert reads({"name": "mgda", "normalize": "mean_norm"}) is None


@pytest.mark.parametrize(
    "specs", [("mgda", "uwl"), ("mgda", {"name": "mgda", "tap": True}), ("moco", "graddrop")], ids=str
)
def test_methods_that_read_different_things_are_refused(specs):
    with pytest.raises(InputError, match="cannot be one program"):
        build_one_of(specs, 0, kinds=KINDS)


def test_a_known_gramian_gives_coefficients_and_no_gradients():
    gramian = jnp.array([[4.0, 1.0], [1.0, 1.0]])
    update, state = build("mgda", kinds=KINDS[:2]).update(GramianJacobian(gramian), None, None)
    np.testing.assert_array_equal(update, state.weights)
    np.testing.assert_allclose(update, [0.0, 1.0])
    with pytest.raises(InputError, match="only their Gramian is known"):
        build("graddrop", kinds=KINDS[:2]).update(GramianJacobian(gramian), None, None)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="reads is 'everything', expected one of losses, gramian, tap"):
        weightings.switched([weightings.ew(2)], 0, num_tasks=2, reads="everything")
    with pytest.raises(InputError, match="weightings is empty"):
        weightings.switched([], 0, num_tasks=2, reads="losses")
