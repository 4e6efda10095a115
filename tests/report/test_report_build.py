"""A report from result files: whole, safe, repeatable, quick."""

import json
import re
from html.parser import HTMLParser

import pytest
from fake_workdir import TASKS, make_workdir
from matplotlib.image import imread

from mtl.errors import InputError
from mtl.report import build

PLOTS = ("tasks", "overview", "delta", "ranks", "curves", "weights", "gates", "gate_paths")
TABLES = ("results.md", "results.tex", "protocol.md", "protocol.tex")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = make_workdir(tmp_path_factory.mktemp("built") / "study")
    return folder, build(folder)


def outputs(folder):
    paths = [folder / "summary.csv", folder / "report.html"]
    paths += [*(folder / "plots").iterdir(), *(folder / "tables").iterdir()]
    return {path.name: path.read_bytes() for path in sorted(paths)}


def small(folder, **changes):
    choices = {"models": ("single_task", "mmoe"), "weightings": ("static",), "hparams": ("",)}
    return make_workdir(folder, **{**choices, **changes})


class Page(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_writes_everything(built):
    folder, text = built
    plots = {f"{name}{kind}" for name in PLOTS for kind in (".png", ".svg")}
    assert set(outputs(folder)) == {"summary.csv", "report.html", *plots, *TABLES}
    for name in ("summary.csv", "report.html", "tables", *(f"{name}.png" for name in PLOTS)):
        assert name in text
    assert "best mean" in text
    assert "Best static weights, chosen on validation" in text
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_plots_are_pictures_with_something_on_them(built):
    for name in PLOTS:
        image = imread(built[0] / "plots" / f"{name}.png")
        assert image.shape[1] > 600
        inked = (image[..., :3].min(axis=2) < 0.9).mean()
        assert 0.005 < inked < 0.6, name


def test_rebuilding_changes_nothing(built):
    before = outputs(built[0])
    assert build(built[0]) == built[1]
    assert outputs(built[0]) == before


def test_the_page_is_self_contained(built):
    html = (built[0] / "report.html").read_text()
    tags = Page(html).tags
    images = [attrs["src"] for tag, attrs in tags if tag == "img"]
    assert len(images) == len(PLOTS)
    assert all(src.startswith("data:image/png;base64,") for src in images)
    outside = html.replace("http://www.w3.org/2000/svg", "")  # a name space, never fetched
    assert not re.search(r"https?://|@import|<link|<script src|url\(|\bimport\(|fetch\(", outside)
    links = [attrs["href"] for tag, attrs in tags if tag == "a"]
    anchors = {attrs["id"] for _, attrs in tags if "id" in attrs}
    assert {"results.csv", "tables/results.tex", "plots/ranks.svg"} <= set(links)
    for link in links:
        assert link[1:] in anchors if link.startswith("#") else (built[0] / link).is_file()


def test_names_from_files_are_escaped(tmp_path):
    nasty = '<script>alert("x")</script>&$a_b$'
    task = {"name": nasty, "kind": "binary", "num_classes": 2, "parents": []}
    folder = small(tmp_path / "s", tasks=(task, TASKS[1]), models=("single_task", nasty), name=nasty)
    build(folder)
    html = (folder / "report.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;$a_b$" in html
    assert [tag for tag, _ in Page(html).tags].count("script") == 2  # the data and the code
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])
    assert data["tasks"][0]["name"] == nasty


def test_plots_without_content_are_skipped_and_old_ones_removed(tmp_path):
    folder = small(tmp_path / "s")
    build(folder)
    assert (folder / "plots" / "gates.svg").exists()
    small(folder, gates=False, models=("mmoe",))
    text = build(folder)
    names = {path.name for path in (folder / "plots").iterdir()}
    assert names == {f"{name}{kind}" for name in ("tasks", "curves", "weights") for kind in (".png", ".svg")}
    assert "gates" not in text
    assert not list((folder / "plots").glob("gate*"))
    assert "No single_task run in this group" in text


def test_one_run_of_one_task(tmp_path):
    folder = small(tmp_path / "s", models=("mmoe",), seeds=1, tasks=TASKS[:1])
    text = build(folder)
    assert "Better" not in text
    assert not (folder / "plots" / "tasks.png").exists()
    assert (folder / "plots" / "curves.png").exists()


def test_missing_numbers_do_not_break_a_plot(tmp_path):
    folder = small(tmp_path / "s")
    path = folder / "metrics.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        if record["kind"] == "train" and record["model"] == "mmoe":
            record["loss"]["click"] = None
            record["weight"]["click"] = None
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    csv = folder / "results.csv"
    csv.write_text(re.sub(r"(mmoe,.*,test,minutes,rmse,)[\d.]+", r"\1", csv.read_text()))
    assert "Without a value (undefined metric or failed seed): mmoe × static on minutes" in build(folder)


def test_many_tasks_keep_the_table_narrow(tmp_path):
    tasks = tuple({"name": f"task_{i}", "kind": "regression", "num_classes": 2} for i in range(9))
    text = build(small(tmp_path / "s", tasks=tasks, seeds=3))
    assert "and 3 more tasks in summary.csv" in text
    assert "task_8 RMSE" in (tmp_path / "s" / "report.html").read_text()


def test_published_figures_stand_beside_ours(tmp_path):
    tasks = tuple({"name": name, "kind": "binary"} for name in ("income", "never_married"))
    folder = small(tmp_path / "s", tasks=tasks, reference="census_income")
    build(folder)
    html = (folder / "report.html").read_text()
    start = html.index("Published figures")
    row = next(line for line in html[start:].splitlines() if ">0.9359<" in line and "<td>mmoe" in line)
    assert re.search(r"0\.8\d+ ± [\d.]+ \(static\)", row)
    assert ">0.7460<" in html  # as printed, with its trailing zero
    small(folder, tasks=tasks, reference="no_such_table")
    with pytest.raises(InputError, match="unknown published table 'no_such_table'"):
        build(folder)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    folder = small(tmp_path / "s")
    (folder / "plots").write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"cannot write .*plots"):
        build(folder)
