"""Reports: reads a study's result files and writes tables, plots and a self-contained page.

Nothing here trains, and nothing here imports what trains: a report can be rebuilt wherever the files are.
"""

from mtl.report.assess import Assessment, assess
from mtl.report.build import build
from mtl.report.claim_tests import check_claims, judge_claims
from mtl.report.claims import Claim, read_claims
from mtl.report.compare import compare
from mtl.report.published import Figure, read_published
from mtl.report.summary import GroupSummary, MethodSummary, summarise
from mtl.report.summary_csv import summary_csv
from mtl.report.tensorboard import write_tensorboard
from mtl.report.tuned import Tuned, tune
from mtl.report.verdict import Verdict, verdicts
from mtl.report.workdir import Study, read_study

__all__ = [
    "Assessment",
    "Claim",
    "Figure",
    "GroupSummary",
    "MethodSummary",
    "Study",
    "Tuned",
    "Verdict",
    "assess",
    "build",
    "check_claims",
    "compare",
    "judge_claims",
    "read_claims",
    "read_published",
    "read_study",
    "summarise",
    "summary_csv",
    "tune",
    "verdicts",
    "write_tensorboard",
]
