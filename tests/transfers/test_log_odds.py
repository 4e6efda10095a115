"""Products and mixtures of probabilities in log space: against exact arithmetic, and far out."""

import decimal
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl.transfers.log_odds import conjunction, mixture

GRID = (-60.0, -20.0, -3.0, 0.0, 0.5, 4.0, 25.0, 60.0)
TRIPLES = np.array(list(itertools.product(GRID, repeat=3)), np.float32).T


def exact(function):
    """The logit of a function of three probabilities in 120 digits, at every triple."""
    with decimal.localcontext(prec=120):
        out = []
        for logits in TRIPLES.T:
            p = function(*(1 / (1 + decimal.Decimal(float(-a)).exp()) for a in logits))
            out.append(float(p.ln() - (1 - p).ln()))
    return np.array(out)


CASES = {
    "conjunction": (lambda a: conjunction(list(a)), lambda p, q, r: p * q * r),
    "mixture": (lambda a: mixture(*a), lambda g, p, q: g * p + (1 - g) * q),
}


@pytest.mark.parametrize("name", CASES)
def test_logits_to_60_and_beyond_are_exact_to_float32(name):
    function, reference = CASES[name]
    np.testing.assert_allclose(jax.jit(function)(TRIPLES), exact(reference), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_loss_and_gradient_are_finite_at_60(name, label):
    function, _ = CASES[name]

    def loss(a):
        return jnp.sum(optax.sigmoid_binary_cross_entropy(function(a), label))

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(TRIPLES))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    # Where everything is wrong there is a slope to leave by.
    wrong = (TRIPLES <= -20).all(axis=0) if label else (TRIPLES >= 20).all(axis=0)
    assert (np.abs(np.asarray(gradient)[:, wrong]).max(axis=0) > 0.2).all()


def test_one_logit_is_itself():
    a = jnp.asarray(GRID)
    assert conjunction([a]) is a
