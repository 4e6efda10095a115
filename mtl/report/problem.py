"""From the files of a problem's study to its table, figure and page."""

import base64
import json
from html import escape
from pathlib import Path

from mtl.report.figure import save
from mtl.report.page_parts import document
from mtl.report.plot_toy2d import plot_toy2d
from mtl.report.problem_files import ProblemStudy, read_problem_study
from mtl.report.problem_table import HEADS, LEGEND, Row, problem_csv, problem_rows, problem_text, row_cells
from mtl.report.write import write_file

FILES = ("config.json", "problem.json", "results.csv", "summary.csv", "trajectories/", "plots/toy2d.png")


def build_problem(workdir: str | Path) -> str:
    """Rebuilds `summary.csv`, `plots/toy2d.png` and `report.html` from the files of a problem's study.

    Args:
      workdir: folder with `config.json`, `problem.json`, `results.csv` and `trajectories/`.

    Returns:
      The summary for a terminal: the table, and where the files are.

    Raises:
      InputError: a file is missing or malformed, or the folder cannot be written.
    """
    folder = Path(workdir)
    study = read_problem_study(folder)
    rows = problem_rows(study)
    write_file(folder / "summary.csv", problem_csv(rows).encode())
    plot = folder / "plots" / "toy2d.png"
    save(plot_toy2d(study), plot)
    write_file(folder / "report.html", _page(study, rows, plot).encode())
    listing = "\n".join(f"  {path}" for path in (folder / "report.html", folder / "summary.csv", plot))
    return f"{problem_text(study.name, rows)}\n\nwritten:\n{listing}"


def _page(study: ProblemStudy, rows: tuple[Row, ...], plot: Path) -> str:
    title, image = escape(study.name), base64.b64encode(plot.read_bytes()).decode()
    starts = len(rows[0].reached)
    heads = "".join(f'<th scope="col"><button>{head}</button></th>' for head in HEADS)
    table = "\n".join("<tr>" + "".join(map(_cell, row_cells(row))) + "</tr>" for row in rows)
    body = [
        f"<h1>{title}</h1>",
        f'<p class="soft">{escape(study.problem.name)} · {len(rows)} weightings · {starts} starts</p>',
        "<h2>Trajectories</h2>",
        f'<figure><img alt="Trajectories of every weighting" src="data:image/png;base64,{image}"></figure>',
        "<h2>Results</h2>",
        '<ul class="soft">' + "".join(f"<li>{escape(line)}</li>" for line in LEGEND) + "</ul>",
        f'<div class="scroll"><table class="sortable"><thead><tr>{heads}</tr></thead><tbody>\n{table}\n'
        "</tbody></table></div>",
        "<h2>Config and provenance</h2>",
        *(_details(key, study.config.get(key, {})) for key in ("config", "provenance")),
        "<h2>Files</h2>",
        "<p>" + " · ".join(f'<a href="{name}">{name}</a>' for name in FILES) + "</p>",
    ]
    return document(study.name, body)


def _cell(text: str) -> str:
    return f'<td data-value="">{text}</td>' if text == "–" else f"<td>{escape(text)}</td>"


def _details(title: str, block: object) -> str:
    text = escape(json.dumps(block, indent=2, ensure_ascii=False))
    return f"<details><summary>{title.capitalize()}</summary><pre>{text}</pre></details>"
