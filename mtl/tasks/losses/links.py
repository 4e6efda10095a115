"""From network outputs to what is served, for NumPy and for JAX arrays.

The array's own namespace computes, so that metrics keep float64 and serving code may be traced.
"""

from typing import Any


def value(outputs: Any) -> Any:
    """The output itself: `[..., 1] → [...]`."""
    return outputs[..., 0]


def probability(outputs: Any) -> Any:
    """σ(z), with a small relative error at every z: `[..., 1] → [...]`."""
    xp = outputs.__array_namespace__()
    return xp.exp(-xp.logaddexp(xp.zeros_like(outputs[..., 0]), -outputs[..., 0]))


def exponential(outputs: Any) -> Any:
    """exp(z), the odds of σ(z), in units of the label: `[..., 1] → [...]`."""
    return outputs.__array_namespace__().exp(outputs[..., 0])


def exponential_minus_one(outputs: Any) -> Any:
    """exp(z) − 1, the inverse of log(1 + y): `[..., 1] → [...]`."""
    return outputs.__array_namespace__().expm1(outputs[..., 0])


def most_likely(outputs: Any) -> Any:
    """The class with the largest logit, the first among equals: `[..., K] → [...]`."""
    return outputs.__array_namespace__().argmax(outputs, axis=-1)
