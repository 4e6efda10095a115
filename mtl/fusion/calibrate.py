"""Calibration: predictions that mean what they say, before they are fused."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from mtl.errors import InputError


def undo_downsampling(logits: ArrayLike, keep: float) -> np.ndarray:
    """Takes back what down-sampling of negatives did to a model's logits: z + log α.

    With p = σ(z) the prediction of a model whose negatives were kept with probability α, this is
    p_true = αp / ((1 − p) + αp), without loss of precision for small p.

    Args:
      logits: z `[...]`.
      keep: α in (0, 1].

    Returns:
      Logits `[...]` float64 of the true rate.

    Raises:
      InputError: `keep` is out of range.

    Reference:
      X. He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014.
    """
    if not 0 < keep <= 1:
        raise InputError(f"keep is {keep!r}, expected a number in (0, 1]")
    return np.asarray(logits, np.float64) + np.log(keep)


class Platt(NamedTuple):
    """Calibrated logits a z + b.

    Attributes:
      slope: a.
      intercept: b.
    """

    slope: float
    intercept: float

    def __call__(self, logits: ArrayLike) -> np.ndarray:
        """Returns calibrated logits `[...]` of logits `[...]`."""
        return self.slope * np.asarray(logits, np.float64) + self.intercept


class Isotonic(NamedTuple):
    """Calibrated probabilities as a rising curve of straight pieces.

    Attributes:
      logits: knots, rising.
      probabilities: values there, not falling.
    """

    logits: np.ndarray
    probabilities: np.ndarray

    def __call__(self, logits: ArrayLike) -> np.ndarray:
        """Returns calibrated probabilities `[...]` of logits `[...]`; constant beyond the outer knots."""
        return np.interp(np.asarray(logits, np.float64), self.logits, self.probabilities)


def fit_platt(logits: ArrayLike, labels: ArrayLike) -> Platt:
    """Fits a slope and an intercept by maximum likelihood; on validation, never on training rows.

    Args:
      logits: `[N]`.
      labels: `[N]`, 0 or 1, of both classes.

    Returns:
      The map, from logits to logits.

    Raises:
      InputError: the shapes do not fit, a number is not finite, or there is one class only.

    Reference:
      J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999; without his smoothed targets.
    """
    z, y = _rows(logits, labels)
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(z[:, None], y)
    return Platt(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


def fit_isotonic(logits: ArrayLike, labels: ArrayLike) -> Isotonic:
    """Fits the rising curve with the least squared error; on validation, never on training rows.

    Args:
      logits: `[N]`.
      labels: `[N]`, 0 or 1, of both classes.

    Returns:
      The map, from logits to probabilities.

    Raises:
      InputError: the shapes do not fit, a number is not finite, or there is one class only.

    Reference:
      B. Zadrozny, C. Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates",
      KDD 2002.
    """
    z, y = _rows(logits, labels)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(z, y)
    return Isotonic(fitted.X_thresholds_, fitted.y_thresholds_)


def _rows(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    z, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    if z.ndim != 1 or z.shape != y.shape:
        raise InputError(f"logits have shape {z.shape} and labels {y.shape}, expected [N] both")
    if not np.isfinite(z).all() or set(np.unique(y)) != {0.0, 1.0}:
        raise InputError("expected finite logits, and labels of 0 and 1 with both of them present")
    return z, y
