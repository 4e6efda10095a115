"""Style sheet and script of `report.html`, inline so that the page needs no other file."""

from pathlib import Path

CSS = (Path(__file__).with_name("page.css")).read_text(encoding="utf-8")

SCRIPT = (Path(__file__).with_name("page.js")).read_text(encoding="utf-8")
