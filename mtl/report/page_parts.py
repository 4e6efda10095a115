"""Pieces of the page: the frame around it, tables, claims, verdicts, figures."""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from mtl.report.claims import Claim
from mtl.report.page_style import CSS, SCRIPT
from mtl.report.table import Cell, Table
from mtl.report.verdict import Verdict
from mtl.report.workdir import Method


def document(title: str, body: Iterable[str], data: str = "") -> str:
    """Puts the page around its parts.

    Args:
      title: of the page.
      body: HTML parts; empty ones are left out.
      data: JSON for the interactive parts, safe inside a `script` element; empty for none.

    Returns:
      The HTML, which needs no other file.
    """
    stored = f'<script type="application/json" id="data">{data}</script>\n' if data else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + f"\n{stored}<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def heading(identifier: str, title: str) -> str:
    """A heading that links of the contents lead to."""
    return f'<h2 id="{identifier}">{escape(title)}</h2>'


def soft(text: str) -> str:
    """A paragraph of explanation."""
    return f'<p class="soft">{escape(text)}</p>'


def contents(sections: Mapping[str, str]) -> str:
    """Links to the sections.

    Args:
      sections: identifier → title.

    Returns:
      The HTML.
    """
    items = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title in sections.items())
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def table_html(table: Table, methods: Iterable[Method] | None = None) -> str:
    """Writes a table that sorts on click, in a box that scrolls by itself.

    Args:
      table: the table.
      methods: the method of each row, so that the legend can filter them; None if rows are not methods.

    Returns:
      The HTML.
    """
    heads = "".join(f'<th scope="col"><button>{escape(head)}</button></th>' for head in table.heads)
    rows = ["".join(map(_cell, row)) for row in table.rows]
    starts = ["<tr>"] * len(rows)
    if methods is not None:
        starts = [
            f'<tr data-model="{escape(m.model)}" data-weighting="{escape(m.weighting)}">' for m in methods
        ]
    body = "\n".join(f"{start}{row}</tr>" for start, row in zip(starts, rows, strict=True))
    label = escape(table.caption or "table")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="sortable">'
        f"<caption>{escape(table.caption)}</caption><thead><tr>{heads}</tr></thead><tbody>\n{body}\n"
        "</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    value = ""
    if cell.value is not None:
        value = f' data-value="{"" if math.isnan(cell.value) else format(cell.value, ".10g")}"'
    style = ' class="best"' if cell.best else ""
    sign = ""
    if cell.sign:
        word = "better" if cell.sign == "▲" else "worse"
        sign = f' <span class="{word}" title="{escape(cell.hint)}">{cell.sign}</span>'
    return f"<td{value}{style}>{escape(cell.text)}{sign}</td>"


SYMBOLS = {"reproduced": "✓", "not reproduced": "✗", "undecided": "?"}


def claims_html(claims: tuple[Claim, ...]) -> str:
    """Writes the judged claims, each with its interval; empty without claims."""
    items = []
    for claim in claims:
        interval = ""
        if not math.isnan(claim.value):
            ends = "" if math.isnan(claim.low) else f", 95 % interval [{claim.low:.4g}, {claim.high:.4g}]"
            interval = f"Estimate {claim.value:.4g}{ends}."
        note = claim.detail and f"{claim.detail.rstrip('.')}."
        text = " ".join(part for part in (note, interval) if part)
        detail = f'<br><span class="soft">{escape(text)}</span>' if text else ""
        items.append(
            f'<li class="{claim.verdict.replace(" ", "-")}"><span class="badge">{SYMBOLS[claim.verdict]} '
            f"{claim.verdict}</span>{escape(claim.claim)}{detail}</li>"
        )
    return f'<ul class="claims">{"".join(items)}</ul>' if items else ""


def verdict_html(verdict: Verdict, *, is_open: bool) -> str:
    """Writes what holds in one group, and what speaks against relying on it."""
    lines = "".join(f"<li>{escape(line)}</li>" for line in verdict.lines)
    warnings = "".join(f'<li class="caution">{escape(line)}</li>' for line in verdict.cautions)
    count = len(verdict.cautions)
    note = f' <span class="soft">({count} caution{"" if count == 1 else "s"})</span>' if count else ""
    return (
        f'<details class="verdict"{" open" if is_open else ""}>'
        f"<summary>{escape(verdict.title)}{note}</summary><ul>{lines}{warnings}</ul></details>"
    )


def picture(title: str, path: Path) -> str:
    """Embeds a plot in a box that scrolls by itself, with links to its files.

    Args:
      title: what it shows.
      path: the PNG; an SVG of the same name stands beside it.

    Returns:
      The HTML.
    """
    data = base64.b64encode(path.read_bytes()).decode()
    links = " · ".join(
        f'<a href="plots/{path.stem}{kind}">{kind.removeprefix(".").upper()}</a>' for kind in (".png", ".svg")
    )
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">'
        f'<img alt="{escape(title)}" src="data:image/png;base64,{data}"></div>'
        f"<figcaption>{escape(title)}: {links}</figcaption></figure>"
    )


def details(title: str, block: Any) -> str:
    """A block of JSON that opens on click."""
    text = escape(json.dumps(block, indent=2, ensure_ascii=False))
    return f"<details><summary>{escape(title)}</summary><pre>{text}</pre></details>"


def links(names: Iterable[str]) -> str:
    """Links to files of the workdir."""
    return "<p>" + " · ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in names) + "</p>"
