"""From result files to tables, plots and a page."""

from pathlib import Path

from mtl.report.figure import look, save
from mtl.report.page import page
from mtl.report.plot_curves import plot_curves
from mtl.report.plot_delta import plot_delta
from mtl.report.plot_gates import plot_gates
from mtl.report.plot_tasks import plot_tasks
from mtl.report.plot_weights import plot_weights
from mtl.report.published import read_published
from mtl.report.summary import summarise
from mtl.report.summary_csv import summary_csv
from mtl.report.terminal import terminal_text
from mtl.report.verdict import verdicts
from mtl.report.workdir import read_study
from mtl.report.write import remove_file, write_file


def build(workdir: str | Path) -> str:
    """Rebuilds `summary.csv`, `plots/*.png` and `report.html` from a study's result files.

    Args:
      workdir: folder with `config.json`, `results.csv` and `metrics.jsonl`.

    Returns:
      The summary for a terminal: tables, verdicts, and where the files are.

    Raises:
      InputError: a result file is missing or malformed, the named published table does not exist, or
        the folder cannot be written.
    """
    folder = Path(workdir)
    study = read_study(folder)
    reference = read_published(study.reference) if study.reference else ()
    groups = summarise(study)
    sentences = verdicts(study, groups)
    write_file(folder / "summary.csv", summary_csv(groups).encode())

    style = look(study)
    figures = {
        "tasks": plot_tasks(groups, style),
        "delta": plot_delta(groups, style),
        "curves": plot_curves(study, groups, style),
        "weights": plot_weights(study, groups, style),
        "gates": plot_gates(study, groups, style),
    }
    plots = {}
    for name, figure in figures.items():
        path = folder / "plots" / f"{name}.png"
        if figure is None:
            remove_file(path)  # of an earlier build
        else:
            save(figure, path)
            plots[name] = path

    html = page(study, groups, sentences, plots, reference)
    write_file(folder / "report.html", html.encode())
    files = [folder / "report.html", folder / "summary.csv", *plots.values()]
    listing = "\n".join(f"  {path}" for path in files)
    return f"{terminal_text(study.name, groups, sentences)}\n\nwritten:\n{listing}"
