"""Areas under the ROC and the precision-recall curve, exact with ties."""

import numpy as np
from numpy.typing import ArrayLike

from mtl.metrics.rows import select_rows


def auc(scores: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Area under the ROC curve: the chance that a positive row outranks a negative one.

    `AUC = (#{s_i > s_j} + ½ #{s_i = s_j}) / (P · N)` over P positive rows i and N negative rows j,
    counted in integers, so that ties weigh exactly one half (mid-ranks).

    Args:
      scores: `[N]` logits, probabilities or any other increasing score.
      labels: `[N]`, 0 or 1.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      A number in [0, 1]. NaN when only one class is present or a score is NaN: there is no order to
      judge.

    Raises:
      InputError: the shapes do not fit one another.

    Reference:
      Hanley & McNeil, "The Meaning and Use of the Area under a ROC Curve", Radiology 143 (1982).
    """
    score, label = select_rows(scores, labels, mask)
    positive = np.sort(score[label == 1])
    negative = np.sort(score[label == 0])
    if not (positive.size and negative.size) or np.isnan(score).any():
        return float("nan")
    below = np.searchsorted(negative, positive, "left")
    not_above = np.searchsorted(negative, positive, "right")
    return int(below.sum() + not_above.sum()) / (2 * positive.size * negative.size)


def pr_auc(scores: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Area under the precision-recall curve as a step function (average precision).

    `AP = Σ_k (R_k − R_{k−1}) P_k` over the distinct scores in decreasing order; rows that share a
    score enter together. Unlike the trapezoid it does not interpolate between thresholds.

    Args:
      scores: `[N]` logits, probabilities or any other increasing score.
      labels: `[N]`, 0 or 1.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      A number in [0, 1]; its level for random scores is the share of positives. NaN when only one
      class is present or a score is NaN.

    Raises:
      InputError: the shapes do not fit one another.

    Reference:
      Davis & Goadrich, "The Relationship Between Precision-Recall and ROC Curves", ICML 2006, on
      why linear interpolation is wrong.
    """
    score, label = select_rows(scores, labels, mask)
    positives = np.count_nonzero(label == 1)
    if positives in (0, label.size) or np.isnan(score).any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    score, hit = score[order], label[order] == 1
    last_of_score = np.append(np.flatnonzero(score[1:] != score[:-1]), score.size - 1)
    hits = np.cumsum(hit)[last_of_score]
    precision = hits / (last_of_score + 1)
    return float(np.diff(hits, prepend=0) @ precision / positives)
