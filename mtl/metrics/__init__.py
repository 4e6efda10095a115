"""Metrics: pure NumPy functions in float64, per task, across tasks and over seeds.

Per task they take network outputs (logits), labels and an optional mask of the rows that count; a
metric without meaning on those rows is NaN, never an exception.
"""

from mtl.metrics.accuracy import accuracy, multiclass_accuracy
from mtl.metrics.across_tasks import delta_m, mean_rank, mtl_gain, seesaw
from mtl.metrics.auc import auc, pr_auc
from mtl.metrics.bca import Estimate
from mtl.metrics.bootstrap import bootstrap, bootstrap_interval
from mtl.metrics.calibration import calibration_ratio, ece
from mtl.metrics.concordance import concordance
from mtl.metrics.conditional import conditional_metrics, log_conditional, truth_metrics
from mtl.metrics.evaluate import HIGHER_IS_BETTER, METRICS, PRIMARY, evaluate_task
from mtl.metrics.friedman import FriedmanTest, cliques, critical_difference, friedman_test
from mtl.metrics.improvement import probability_of_improvement
from mtl.metrics.log_loss import log_loss, multiclass_log_loss, normalised_entropy
from mtl.metrics.pareto import distance_to_front, hypervolume, pareto_mask
from mtl.metrics.permutation_tests import sign_flip_test, wilcoxon_test
from mtl.metrics.power import detectable_difference, paired_power, seeds_needed
from mtl.metrics.ranking import Grouped, gauc, mrr, ndcg, recall_at_k
from mtl.metrics.regression import mae, mse, r2, rmse
from mtl.metrics.selection import selection, selection_text, selection_value
from mtl.metrics.statistics import Interval, PairedTest, holm, mean_interval, paired_test
from mtl.metrics.verdict import Verdict, judge

__all__ = [
    "HIGHER_IS_BETTER",
    "METRICS",
    "PRIMARY",
    "Estimate",
    "FriedmanTest",
    "Grouped",
    "Interval",
    "PairedTest",
    "Verdict",
    "accuracy",
    "auc",
    "bootstrap",
    "bootstrap_interval",
    "calibration_ratio",
    "cliques",
    "concordance",
    "conditional_metrics",
    "critical_difference",
    "delta_m",
    "detectable_difference",
    "distance_to_front",
    "ece",
    "evaluate_task",
    "friedman_test",
    "gauc",
    "holm",
    "hypervolume",
    "judge",
    "log_conditional",
    "log_loss",
    "mae",
    "mean_interval",
    "mean_rank",
    "mrr",
    "mse",
    "mtl_gain",
    "multiclass_accuracy",
    "multiclass_log_loss",
    "ndcg",
    "normalised_entropy",
    "paired_power",
    "paired_test",
    "pareto_mask",
    "pr_auc",
    "probability_of_improvement",
    "r2",
    "recall_at_k",
    "rmse",
    "seeds_needed",
    "seesaw",
    "selection",
    "selection_text",
    "selection_value",
    "sign_flip_test",
    "truth_metrics",
    "wilcoxon_test",
]
