import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from mtl.data import ConflictProblem, conflict_quadratics
from mtl.errors import InputError

ANGLES = st.floats(0.0, 180.0)
RATIOS = st.floats(0.01, 100.0)


@settings(max_examples=25, deadline=None)
@given(ANGLES, RATIOS, st.floats(0.1, 10.0))
def test_gradients_at_the_start_have_the_angle_and_ratio_asked_for(angle, ratio, distance):
    problem = conflict_quadratics(angle, ratio, distance, dim=4)
    first, second = np.asarray(jax.jacobian(problem.loss_fn)(problem.start), np.float64)
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    assert lengths[1] / lengths[0] == pytest.approx(ratio, rel=1e-5)
    cosine = first @ second / (lengths[0] * lengths[1])
    assert cosine == pytest.approx(np.cos(np.radians(angle)), abs=1e-5)


def test_losses_by_hand():
    problem = ConflictProblem(
        start=jnp.zeros(2),
        centres=jnp.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]]),
        scales=jnp.array([2.0, 10.0, 1.0]),
    )
    np.testing.assert_allclose(problem.loss_fn(problem.start), [25.0, 5.0, 0.0])


@settings(max_examples=25, deadline=None)
@given(ANGLES, RATIOS, st.floats(0.0, 1.0))
def test_a_pareto_point_minimises_the_preferred_sum(angle, ratio, share):
    problem = conflict_quadratics(angle, ratio)
    preference = jnp.array([share, 1.0 - share])
    point = problem.pareto_point(preference)
    slope = jax.grad(lambda theta: preference @ problem.loss_fn(theta))(point)
    np.testing.assert_allclose(slope, 0.0, atol=1e-5 * max(1.0, ratio))
    assert problem.distance_to_pareto_set(point) == pytest.approx(0.0, abs=1e-5)


def test_a_pareto_point_of_three_tasks_by_hand():
    problem = ConflictProblem(
        start=jnp.zeros(2),
        centres=jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]),
        scales=jnp.array([2.0, 1.0, 1.0]),
    )
    np.testing.assert_allclose(problem.pareto_point(jnp.array([1.0, 2.0, 4.0])), [0.25, 0.25], rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(ANGLES, st.floats(-3.0, 3.0), st.floats(-3.0, 3.0))
def test_distance_is_that_of_an_independent_minimiser(angle, x, y):
    problem = conflict_quadratics(angle)
    first, second = np.asarray(problem.centres, np.float64)
    theta = np.array([x, y])
    best = optimize.minimize_scalar(
        lambda t: np.sum((theta - (1 - t) * first - t * second) ** 2),
        bounds=(0.0, 1.0),
        method="bounded",
        options={"xatol": 1e-12},
    )
    distance = problem.distance_to_pareto_set(jnp.array(theta))
    assert distance == pytest.approx(np.sqrt(best.fun), abs=1e-5)


def test_equal_centres_make_the_pareto_set_a_point():
    problem = conflict_quadratics(0.0)
    assert problem.distance_to_pareto_set(jnp.array([1.0, 2.0])) == pytest.approx(2.0)


def test_opposite_gradients_start_on_the_pareto_set():
    problem = conflict_quadratics(180.0, scale_ratio=7.0)
    assert problem.distance_to_pareto_set(problem.start) == pytest.approx(0.0, abs=1e-6)


def test_a_problem_passes_through_jit():
    problem = conflict_quadratics(120.0, 3.0)
    distance = jax.jit(lambda p: p.distance_to_pareto_set(p.start))(problem)
    # The origin is as far from the chord between two unit vectors 120° apart as cos 60°.
    assert distance == pytest.approx(0.5, abs=1e-6)


def test_distance_is_refused_for_three_tasks():
    problem = ConflictProblem(jnp.zeros(2), jnp.zeros((3, 2)), jnp.ones(3))
    with pytest.raises(InputError, match="needs T = 2 tasks, this problem has 3"):
        problem.distance_to_pareto_set(problem.start)


@pytest.mark.parametrize(
    "wrong, expected",
    [
        ({"angle_degrees": 181.0}, r"angle_degrees is 181\.0, expected a number in \[0, 180\]"),
        ({"angle_degrees": 90.0, "scale_ratio": 0.0}, "scale_ratio is 0"),
        ({"angle_degrees": 90.0, "distance": -1.0}, r"distance is -1\.0"),
        ({"angle_degrees": 90.0, "dim": 1}, "dim is 1, expected an integer >= 2"),
    ],
)
def test_wrong_arguments_are_named(wrong, expected):
    with pytest.raises(InputError, match=expected):
        conflict_quadratics(**wrong)
