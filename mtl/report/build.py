"""From result files to tables, plots and a page."""

from pathlib import Path

from mtl.files import to_json
from mtl.report.assess import Assessment, assess
from mtl.report.claim_tests import as_records, judge_claims
from mtl.report.claims import read_claims
from mtl.report.figure import look, save
from mtl.report.page import page
from mtl.report.page_data import page_data
from mtl.report.plot_claims import plot_claims
from mtl.report.plot_conditions import plot_conditions
from mtl.report.plot_curves import plot_curves
from mtl.report.plot_delta import plot_delta
from mtl.report.plot_gate_paths import plot_gate_paths
from mtl.report.plot_gates import plot_gates
from mtl.report.plot_overview import plot_overview
from mtl.report.plot_ranks import plot_ranks
from mtl.report.plot_tasks import plot_tasks
from mtl.report.plot_weights import plot_weights
from mtl.report.published import read_published
from mtl.report.result_tables import protocol_table, result_table, settings_table
from mtl.report.summary_csv import summary_csv
from mtl.report.table import Table, latex, markdown
from mtl.report.terminal import terminal_text
from mtl.report.tuned import Tuned, tune
from mtl.report.verdict import primary_note, verdicts
from mtl.report.workdir import read_study
from mtl.report.write import remove_file, write_file

PLOT_KINDS = (".png", ".svg")

OTHER_FILES = ("verdicts.json", "search.json")
"""Files that some studies leave; the page links to them."""


def build(workdir: str | Path) -> str:
    """Rebuilds `summary.csv`, `tables/`, `plots/` and `report.html` from a study's result files.

    Args:
      workdir: folder with `config.json`, `results.csv` and `metrics.jsonl`. The claims of its config are
        judged, and `verdicts.json` is written.

    Returns:
      The summary for a terminal: tables, verdicts, and where the files are.

    Raises:
      InputError: a result file is missing or malformed, the named published table does not exist, or
        the folder cannot be written.
    """
    folder = Path(workdir)
    study = read_study(folder)
    reference = read_published(study.reference) if study.reference else ()
    tuned = tune(study)
    judged = judge_claims(tuned)
    if judged:
        write_file(folder / "verdicts.json", to_json(as_records(judged), indent=1).encode() + b"\n")
    claims = read_claims(folder / "verdicts.json")
    assessments = assess(tuned)
    sentences = verdicts(tuned, assessments)
    write_file(folder / "summary.csv", summary_csv(assessments).encode())
    tables = _write_tables(folder, tuned, assessments)

    study = tuned.study
    groups = tuple(found.summary for found in assessments)
    style = look(study)
    figures = {
        "tasks": plot_tasks(assessments, style),
        "overview": plot_overview(groups),
        "delta": plot_delta(groups, style),
        "ranks": plot_ranks(assessments, style),
        "conditions": plot_conditions(study, groups),
        "claims": plot_claims(tuned),
        "curves": plot_curves(study, groups, style),
        "weights": plot_weights(study, groups, style),
        "gates": plot_gates(study, groups, style),
        "gate_paths": plot_gate_paths(study, groups, style),
    }
    plots = {}
    for name, figure in figures.items():
        for kind in PLOT_KINDS:
            path = folder / "plots" / f"{name}{kind}"
            if figure is None:
                remove_file(path)  # of an earlier build
            else:
                save(figure, path)
        if figure is not None:
            plots[name] = folder / "plots" / f"{name}.png"

    data = page_data(study, assessments, style)
    others = tuple(name for name in OTHER_FILES if (folder / name).is_file())
    html = page(tuned, assessments, claims, sentences, plots, (*tables, *others), reference, data)
    write_file(folder / "report.html", html.encode())
    files = [folder / "report.html", folder / "summary.csv", folder / "tables", *plots.values()]
    listing = "\n".join(f"  {path}" for path in files)
    return f"{terminal_text(tuned, assessments, claims, sentences)}\n\nwritten:\n{listing}"


def _write_tables(folder: Path, tuned: Tuned, assessments: tuple[Assessment, ...]) -> tuple[str, ...]:
    """Writes the tables for papers and returns their names below the folder."""
    tables: dict[str, list[Table]] = {
        "results": [result_table(found) for found in assessments],
        "protocol": [protocol_table(found) for found in assessments],
        "settings": [settings_table(tuned, found) for found in assessments] if tuned.chosen else [],
    }
    note = f"{tuned.study.name}: mean ± half-width of the 95 % interval over seeds. {primary_note(tuned)}"
    written = []
    for name, content in tables.items():
        for kind, text in ((".md", markdown(content, note)), (".tex", latex(content, note))):
            path = folder / "tables" / f"{name}{kind}"
            if content:
                write_file(path, text.encode())
                written.append(f"tables/{path.name}")
            else:
                remove_file(path)  # of an earlier build
    return tuple(written)
