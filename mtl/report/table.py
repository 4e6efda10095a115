"""A table, and how it is written for papers: Markdown and LaTeX."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Cell(NamedTuple):
    """One cell.

    Attributes:
      text: what is shown.
      value: what it is sorted by; None for text, NaN for a number that is missing.
      best: the best of its column.
      sign: "▲" or "▼" where a test calls the value better or worse than the baseline's, else empty.
      hint: says more about the sign.
    """

    text: str
    value: float | None = None
    best: bool = False
    sign: str = ""
    hint: str = ""


class Table(NamedTuple):
    """A table with a heading per column.

    Attributes:
      caption: what it shows.
      heads: headings.
      rows: cells, as many per row as there are headings.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def from_columns(caption: str, columns: Iterable[tuple[str, list[Cell]]]) -> Table:
    """Makes a table from its columns.

    Args:
      caption: what it shows.
      columns: heading and cells of each; all of one length.

    Returns:
      The table.
    """
    pairs = list(columns)
    return Table(caption, tuple(head for head, _ in pairs), tuple(zip(*(cells for _, cells in pairs))))


def number_cell(value: float, form: str) -> Cell:
    """A cell with one number.

    Args:
      value: the number; NaN gives a dash.
      form: format specification, such as ".1f".

    Returns:
      The cell.
    """
    return Cell("–" if math.isnan(value) else format(value, form), value)


def markdown(tables: Iterable[Table], note: str) -> str:
    """Writes tables as GitHub-flavoured Markdown; the best of a column is bold.

    Args:
      tables: the tables.
      note: a paragraph that stands above them.

    Returns:
      The text.
    """
    parts = [_markdown_text(note)]
    for table in tables:
        lines = [" | ".join(map(_markdown_text, table.heads)), " | ".join(map(_rule, _numeric(table)))]
        lines += [" | ".join(map(_markdown_cell, row)) for row in table.rows]
        body = "\n".join(f"| {line} |" for line in lines)
        parts.append(f"**{_markdown_text(table.caption)}**\n\n{body}" if table.caption else body)
    return "\n\n".join(parts) + "\n"


def latex(tables: Iterable[Table], note: str) -> str:
    r"""Writes tables for LaTeX with booktabs (`\usepackage{booktabs}`); the best of a column is bold.

    Args:
      tables: the tables.
      note: stands above them as a comment.

    Returns:
      The text: one `table` environment per table, to be read with `\input`.
    """
    parts = [f"% {' '.join(note.split())}\n% Needs \\usepackage{{booktabs}}."]
    for table in tables:
        columns = "".join("r" if numeric else "l" for numeric in _numeric(table))
        lines = [" & ".join(map(_latex_text, table.heads)) + r" \\"]
        rows = [" & ".join(map(_latex_cell, row)) + r" \\" for row in table.rows]
        body = "\n".join((r"\toprule", *lines, r"\midrule", *rows, r"\bottomrule"))
        parts.append(
            "\\begin{table}\n\\centering\n"
            f"\\caption{{{_latex_text(table.caption)}}}\n"
            f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n\\end{{table}}"
        )
    return "\n\n".join(parts) + "\n"


def _numeric(table: Table) -> list[bool]:
    return [all(row[i].value is not None for row in table.rows) for i in range(len(table.heads))]


def _rule(numeric: bool) -> str:
    return "---:" if numeric else "---"


def _markdown_text(text: str) -> str:
    for character in "\\`*_{}[]<>|$":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_text(cell.text)
    return (f"**{text}**" if cell.best else text) + (f" {cell.sign}" if cell.sign else "")


LATEX = {
    **{c: "\\" + c for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "Δ": r"$\Delta$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "−": r"$-$",
    "–": "--",
    "²": r"$^2$",
    "▲": r"$^{+}$",
    "▼": r"$^{-}$",
    "\n": " ",
}
"""Characters that LaTeX reads as commands, or that its common fonts lack."""


def _latex_text(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def _latex_cell(cell: Cell) -> str:
    text = _latex_text(cell.text)
    return (rf"\textbf{{{text}}}" if cell.best else text) + _latex_text(cell.sign)
