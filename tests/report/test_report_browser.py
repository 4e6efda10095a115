"""The page in a headless Chromium, at the width of a desk and of a telephone."""

import html
import json
import re
import shutil
import subprocess

import pytest
from fake_workdir import make_workdir

from mtl.report import build

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on PATH")

WEIGHTINGS = ("static", "static 1:3", "uwl")

CATCH = """<script>
const errors = parent.errors = [];
addEventListener("error", event => errors.push(event.message));
console.error = console.warn = (...words) => errors.push(words.join(" "));
</script>"""

VISIT = """
const frame = document.querySelector("iframe");
frame.onload = () => setTimeout(() => {
  const page = frame.contentDocument, root = page.documentElement, found = {};
  const all = (query, inside = page) => [...inside.querySelectorAll(query)];
  const press = (group, name) =>
    all(`#${group} button`).find(button => button.textContent === name).click();
  const marks = () => all("#scatter .mark").map(mark => mark.getAttribute("aria-label").split(",")[0]);
  const change = (id, value) => {
    page.getElementById(id).value = value;
    page.getElementById(id).dispatchEvent(new frame.contentWindow.Event("change", {bubbles: true}));
  };
  found.overflow = root.scrollWidth - frame.clientWidth;
  found.marks = marks();
  found.runs = all("#scatter .run").length;
  found.fronts = all("#scatter .front").map(front => front.dataset.model);
  found.curves = all("#curves .curve").length;
  found.axis = all("#scatter text").at(-1).textContent;

  const table = all("table.sortable")[0];
  const values = () => all("tbody tr", table).map(row => row.cells[2].dataset.value);
  const head = table.tHead.rows[0].cells[2];
  head.querySelector("button").click();
  found.ascending = [head.getAttribute("aria-sort"), values()];
  head.querySelector("button").click();
  found.descending = [head.getAttribute("aria-sort"), values()];

  const tip = page.querySelector("#scatter .tip"), mark = all("#scatter .mark")[1];
  mark.dispatchEvent(new frame.contentWindow.Event("pointerenter"));
  found.tip = [tip.hidden, tip.textContent];
  found.tipFits = tip.getBoundingClientRect().right <= frame.clientWidth;
  mark.dispatchEvent(new frame.contentWindow.Event("pointerleave"));
  mark.focus();
  found.tipOnFocus = !tip.hidden;

  press("weightings", "uwl");
  found.filtered = marks();
  found.rows = all("tbody tr", table).filter(row => !row.hidden).map(row => row.dataset.weighting);
  found.filteredCurves = all("#curves .curve").length;
  press("models", "mmoe");
  found.twice = marks();
  press("models", "mmoe");
  press("weightings", "uwl");
  found.unfiltered = marks().length;

  change("x-task", 1);
  change("y-task", 0);
  found.swapped = all("#scatter text").at(-1).textContent;
  change("quantity", 1);
  found.otherCurves = all("#curves .curve").length;
  found.errors = window.errors;
  document.body.dataset.found = JSON.stringify(found);
}, 100);
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_workdir(
        tmp_path_factory.mktemp("browser") / "study",
        models=("single_task", "mmoe", "ple"),
        weightings=WEIGHTINGS,
        hparams=("correlation=0.5",),
        seeds=3,
    )
    build(folder)
    return folder


@pytest.fixture(scope="module", params=[1280, 390])
def found(request, study, tmp_path_factory):
    """What a visit at a width of that many pixels finds."""
    width, folder = request.param, tmp_path_factory.mktemp("visit")
    page = (study / "report.html").read_text().replace("<head>", f"<head>{CATCH}", 1)
    visit = folder / "visit.html"
    # A frame can be narrower than the window that a browser grants.
    size = f"border:0;width:{width}px;height:900px"
    visit.write_text(
        '<!doctype html><meta charset="utf-8"><body style="margin:0">'
        f'<iframe style="{size}" srcdoc="{html.escape(page)}"></iframe><script>{VISIT}</script>'
    )
    command = [
        *(BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--window-size=1400,1000"),
        *("--dump-dom", visit.as_uri()),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    match = re.search(r'<body[^>]*data-found="([^"]*)"', dom)
    assert match, "the visit did not come to its end"
    return json.loads(html.unescape(match[1]))


def test_no_errors_and_no_sideways_scrolling(found):
    assert found["errors"] == []
    assert found["overflow"] <= 0


def test_the_scatter_shows_methods_runs_and_the_static_front(found):
    assert len(found["marks"]) == 1 + 2 * 3
    assert found["runs"] == 3 * len(found["marks"])
    assert sorted(found["fronts"]) == ["mmoe", "ple"]
    assert "minutes" in found["axis"]
    assert "click" in found["swapped"]


def test_hover_and_focus_tell_what_a_mark_is(found):
    hidden, text = found["tip"]
    assert not hidden
    assert text.startswith(found["marks"][1])
    assert "3 seeds" in text
    assert found["tipFits"]
    assert found["tipOnFocus"]


def test_tables_sort_on_click(found):
    for name, reverse in (("ascending", False), ("descending", True)):
        order, values = found[name]
        assert order == name
        assert list(map(float, values)) == sorted(map(float, values), reverse=reverse)
        assert len(values) == 7


def test_the_legend_filters_charts_and_tables(found):
    assert sorted(found["filtered"]) == ["mmoe × uwl", "ple × uwl"]
    assert set(found["rows"]) == {"uwl"}
    assert found["twice"] == ["mmoe × uwl"]
    assert found["unfiltered"] == 7
    assert (found["curves"], found["filteredCurves"]) == (7, 2)
    assert found["otherCurves"] > 0
