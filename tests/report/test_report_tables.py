"""Tables for papers, and claims with their verdicts."""

import json
import math
import re

import pytest
from fake_workdir import make_workdir
from study_files import runs, write_study

from mtl.errors import InputError
from mtl.report import Claim, assess, build, read_claims, tune
from mtl.report.page_parts import claims_html
from mtl.report.result_tables import result_table
from mtl.report.table import Cell, Table, latex, markdown

TABLE = Table(
    "a & b",
    ("name", "x ↑"),
    ((Cell("50 %_|"), Cell("1.0 ± 0.1", 1.0, best=True, sign="▲")), (Cell("–"), Cell("–", math.nan))),
)


def test_markdown_by_hand():
    assert markdown([TABLE], "A note.") == (
        "A note.\n\n**a & b**\n\n"
        "| name | x ↑ |\n| --- | ---: |\n| 50 %\\_\\| | **1.0 ± 0.1** ▲ |\n| – | – |\n"
    )


def test_latex_by_hand():
    assert latex([TABLE], "A\nnote.") == (
        "% A note.\n% Needs \\usepackage{booktabs}.\n\n"
        "\\begin{table}\n\\centering\n\\caption{a \\& b}\n\\begin{tabular}{lr}\n\\toprule\n"
        "name & x $\\uparrow$ \\\\\n\\midrule\n"
        "50 \\%\\_| & \\textbf{1.0 $\\pm$ 0.1}$^{+}$ \\\\\n-- & -- \\\\\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def test_the_best_and_the_tested_are_marked(tmp_path):
    base = [0.50, 0.55, 0.52]
    rows = runs("single", "static", base) + runs("m", "uwl", [0.60, 0.66, 0.62])
    study = write_study(tmp_path, rows, kinds=("binary",), baseline="single")
    table = result_table(assess(tune(study))[0])
    assert table.heads == ("model", "weighting", "t0 AUC ↑", "Δm % ↓", "mean rank ↓")
    single, uwl = (row[2] for row in table.rows)
    assert (single.best, single.sign) == (False, "")
    assert (uwl.best, uwl.sign) == (True, "▲")
    assert uwl.value == pytest.approx(0.62667, abs=1e-5)
    assert uwl.hint.startswith("gain +0.103, 95 % interval")


CLAIMS = [
    {"claim": "<b>A</b> wins", "verdict": "reproduced", "estimate": {"value": 0.5, "low": 0.4, "high": 0.6}},
    {"claim": "B wins", "verdict": "not reproduced", "detail": "AUC, 5 seeds"},
    {"claim": "C wins", "verdict": "undecided", "estimate": {"value": None, "low": None, "high": None}},
]


def test_claims_stand_first_on_the_page_and_in_the_terminal(tmp_path):
    folder = make_workdir(tmp_path, models=("mmoe",), weightings=("static",), hparams=("",), gates=False)
    (folder / "verdicts.json").write_text(json.dumps(CLAIMS))
    text = build(folder)
    assert text.index("reproduced: <b>A</b> wins") < text.index("model")
    page = (folder / "report.html").read_text()
    assert "<b>A</b>" not in page
    assert page.index("&lt;b&gt;A&lt;/b&gt; wins") < page.index('<details class="verdict"')
    assert 'href="verdicts.json"' in page


def test_a_claim_has_its_interval(tmp_path):
    path = tmp_path / "verdicts.json"
    path.write_text(json.dumps(CLAIMS))
    claims = read_claims(path)
    assert claims[0] == Claim("<b>A</b> wins", "reproduced", 0.5, 0.4, 0.6, "")
    items = re.findall(r"<li.*?</li>", claims_html(claims))
    assert "Estimate 0.5, 95 % interval [0.4, 0.6]." in items[0]
    assert "AUC, 5 seeds." in items[1]
    assert "Estimate" not in items[2]
    assert read_claims(tmp_path / "none.json") == ()
    assert claims_html(()) == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("{}", "expected a list"),
        ('[{"claim": "x"}]', "claim 1 needs"),
        ('[{"claim": "x", "verdict": "true"}]', "verdict 'true', expected one of reproduced"),
        ('[{"claim": "x", "verdict": "undecided", "estimate": {"value": "much"}}]', "claim 1 needs"),
    ],
)
def test_malformed_claims_are_refused(tmp_path, content, message):
    path = tmp_path / "verdicts.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_claims(path)
    assert "\n" not in str(caught.value)
