import gzip
import json

import numpy as np
import pytest

from mtl.data import load
from mtl.errors import InputError
from third_party.kuairand.columns import LOG, ONE_HOT, SAMPLE_LOG, USERS, VIDEOS

FIRST_TIME = 1649581149287


def impressions(count=80, seed=0):
    """Rows of a log as dicts of text, one a minute; a click is needed for nothing."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        row = {name: str(rng.integers(0, 2)) for name in LOG}
        row |= {
            "user_id": str(i % 4),
            "video_id": str(rng.integers(0, 12)),
            "date": "20220410",
            "hourmin": str(100 * (i % 24)),
            "time_ms": str(FIRST_TIME + 60_000 * i),
            "play_time_ms": str(1500 * i),
            "duration_ms": str(rng.integers(5, 90) * 1000),
            "profile_stay_time": "0",
            "comment_stay_time": str(10 * i),
            "is_rand": "0",
            "tab": str(i % 3),
        }
        rows.append(row)
    return rows


def sample_of(rows):
    """The same rows in the sample's layout."""
    return [{**row, "label": row["is_like"], "timestamp": "2022-04-10 08:59:09"} for row in rows]


def attributes(columns, count):
    rows = []
    for i in range(count):
        row = {name: str(i % 3) for name in columns}
        row[next(iter(columns))] = str(i)
        rows.append(row)
    return rows


def table(columns, rows, delimiter=","):
    lines = [columns, *([f'"{row[c]}"' if "," in row[c] else row[c] for c in columns] for row in rows)]
    return "\n".join(delimiter.join(line) for line in lines) + "\n"


@pytest.fixture
def users():
    return attributes(USERS, 4)


@pytest.fixture
def videos():
    return attributes(VIDEOS, 6)


@pytest.fixture
def write_sample(tmp_path, users, videos):
    def write(rows, folder="kuairand_sample"):
        place = tmp_path / "manual" / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("kuairand27k_standard_like_hate_kcore15.tsv.gz", table(SAMPLE_LOG, sample_of(rows), "\t")),
            ("user_features_pure.csv.gz", table(USERS, users)),
            ("video_features_basic_pure.csv.gz", table(VIDEOS, videos)),
        ):
            (place / name).write_bytes(gzip.compress(text.encode()))
        return tmp_path / "manual"

    return write


@pytest.fixture
def write_full(tmp_path, users, videos):
    def write(standard, random=(), edition="pure"):
        place = tmp_path / "full" / "kuairand" / "data"
        place.mkdir(parents=True, exist_ok=True)
        half = len(standard) // 2
        files = {
            f"log_standard_4_08_to_4_21_{edition}.csv": table(LOG, standard[:half]),
            f"log_standard_4_22_to_5_08_{edition}.csv": table(LOG, standard[half:]),
            f"user_features_{edition}.csv": table(USERS, users),
            f"video_features_basic_{edition}.csv": table(VIDEOS, videos),
        }
        if random:
            files[f"log_random_4_22_to_5_08_{edition}.csv"] = table(LOG, random)
        for name, text in files.items():
            (place / name).write_text(text)
        return tmp_path / "full"

    return write


def whole(dataset, key):
    return np.concatenate([dataset.splits[s][key] for s in ("train", "val", "test")])


def column(dataset, name):
    return [c.name for c in dataset.schema.id_columns].index(name)


def test_labels_are_those_of_the_log_in_the_order_of_time(write_sample):
    rows = impressions()
    tasks = ("like", "click", "hate", "play_time")
    dataset = load("kuairand", tasks=tasks, manual_dir=write_sample(rows[::-1]))
    expected = [
        [int(r["is_like"]), int(r["is_click"]), 1 - int(r["is_like"]), int(r["play_time_ms"]) / 1000]
        for r in rows
    ]
    np.testing.assert_allclose(whole(dataset, "labels"), expected)
    assert dataset.provenance["rows"] == {"train": 64, "val": 8, "test": 8}
    kinds = {task.name: (task.kind, task.parents, task.requires) for task in dataset.schema.tasks}
    assert kinds["play_time"] == ("regression", ("click",), ())
    assert kinds["click"] == ("binary", (), ())


def test_exact_repeats_are_dropped_and_counted(write_sample):
    rows = impressions()
    other_outcome = {**rows[3], "is_comment": str(1 - int(rows[3]["is_comment"]))}
    dataset = load("kuairand", manual_dir=write_sample([*rows, rows[5], rows[5], rows[70], other_outcome]))
    assert dataset.provenance["dropped_repeats"] == 3
    assert sum(dataset.provenance["rows"].values()) == 81


def test_nothing_after_the_impression_is_an_input(write_sample):
    rows = impressions()
    before = load("kuairand", manual_dir=write_sample(rows))
    for i, row in enumerate(rows):
        row |= {name: str(1 - int(row[name])) for name in LOG if name.startswith("is_")}
        row |= {"play_time_ms": str(9 * i), "comment_stay_time": "77", "profile_stay_time": "5"}
        row["long_view"] = str(i % 2)
    after = load("kuairand", manual_dir=write_sample(rows))
    for key in ("ids", "numeric"):
        np.testing.assert_array_equal(whole(before, key), whole(after, key))
    assert not np.array_equal(whole(before, "labels"), whole(after, "labels"))


def test_ids_are_those_of_train_and_attributes_are_joined(write_sample, users, videos):
    rows = impressions()
    users[2]["onehot_feat4"] = ""
    videos[1]["tag"] = "40,7"
    rows[79]["video_id"] = "99"
    dataset = load("kuairand", manual_dir=write_sample(rows))
    ids = whole(dataset, "ids")
    seen = sorted({int(r["video_id"]) for r in rows[:64]})
    expected = [seen.index(int(r["video_id"])) + 1 if int(r["video_id"]) in seen else 0 for r in rows]
    np.testing.assert_array_equal(ids[:, column(dataset, "video_id")], expected)
    assert ids[79, column(dataset, "video_id")] == 0
    # Only videos 0 … 5 have attributes; ids follow the order of text.
    first_tag = {"0": "0", "1": "40", "2": "2", "3": "0", "4": "1", "5": "2"}
    values = sorted({first_tag[r["video_id"]] for r in rows[:64] if r["video_id"] in first_tag})
    tags = [values.index(first_tag[r["video_id"]]) + 1 if r["video_id"] in first_tag else 0 for r in rows]
    np.testing.assert_array_equal(ids[:, column(dataset, "first_tag")], tags)
    # A missing attribute is a category of its own, before the others.
    feature = ids[:, column(dataset, "onehot_feat4")]
    np.testing.assert_array_equal(feature, [{"0": 2, "1": 3, "2": 1, "3": 2}[r["user_id"]] for r in rows])


def test_history_is_that_of_the_user_before_the_row(write_sample):
    rows = impressions()
    dataset = load("kuairand", history=3, history_event="click", manual_dir=write_sample(rows))
    first = column(dataset, "history_0")
    entries = dataset.schema.id_columns[first : first + 3]
    assert {(c.sequence, c.table, c.role) for c in entries} == {("history", "video_id", "user")}
    ids = whole(dataset, "ids")
    video = ids[:, column(dataset, "video_id")]
    for i, row in enumerate(rows):
        past = [
            video[j]
            for j in range(i - 1, -1, -1)
            if rows[j]["user_id"] == row["user_id"] and rows[j]["is_click"] == "1" and video[j] > 0
        ][:3]
        np.testing.assert_array_equal(ids[i, first : first + 3], past + [0] * (3 - len(past)))


def test_rare_videos_share_id_0(write_sample):
    rows = impressions()
    dataset = load("kuairand", min_count=7, manual_dir=write_sample(rows))
    counts = {v: sum(r["video_id"] == v for r in rows[:64]) for v in {r["video_id"] for r in rows}}
    expected = [counts[r["video_id"]] < 7 for r in rows]
    assert 0 < sum(expected) < 80
    np.testing.assert_array_equal(whole(dataset, "ids")[:, column(dataset, "video_id")] == 0, expected)


def test_duration_is_a_bucket_and_a_standardised_number(write_sample):
    rows = impressions()
    dataset = load("kuairand", num_buckets=4, manual_dir=write_sample(rows))
    seconds = np.array([int(r["duration_ms"]) / 1000 for r in rows])
    values = np.log1p(seconds)
    expected = (values - values[:64].mean()) / values[:64].std()
    number = dataset.schema.numeric_columns.index("duration")
    np.testing.assert_allclose(whole(dataset, "numeric")[:, number], expected, atol=1e-5)
    buckets = whole(dataset, "ids")[:, column(dataset, "duration_bucket")]
    assert (np.diff(buckets[np.argsort(seconds)]) >= 0).all()
    assert set(buckets) == {0, 1, 2, 3}


def test_published_edition_has_tabs_as_domains_and_several_logs(write_full):
    rows = impressions()
    dataset = load("kuairand", manual_dir=write_full(rows))
    assert dataset.provenance["edition"] == "pure"
    assert [f["rows"] for f in dataset.provenance["files"]] == [40, 40, 4, 6]
    assert {c.name for c in dataset.schema.id_columns if c.role == "domain"} == {"tab"}
    np.testing.assert_array_equal(
        whole(dataset, "ids")[:, column(dataset, "tab")], [int(r["tab"]) + 1 for r in rows]
    )
    np.testing.assert_array_equal(whole(dataset, "labels")[:, 0], [int(r["is_click"]) for r in rows])


def test_logs_of_either_policy_or_both(write_full):
    rows = impressions(120)
    folder = write_full(rows[:80], random=[{**r, "is_rand": "1"} for r in rows[80:]])
    sizes = {
        logs: sum(load("kuairand", logs=logs, manual_dir=folder).provenance["rows"].values())
        for logs in ("standard", "random", "all")
    }
    assert sizes == {"standard": 80, "random": 40, "all": 120}


def test_a_log_that_is_not_there_is_named(write_full):
    with pytest.raises(InputError, match=r"pure edition .* has no log_random"):
        load("kuairand", logs="random", manual_dir=write_full(impressions()))


def test_two_editions_in_one_folder_are_refused(write_full):
    write_full(impressions())
    with pytest.raises(InputError, match="holds the logs of 1k, pure, expected those of one edition"):
        load("kuairand", manual_dir=write_full(impressions(), edition="1k"))


@pytest.mark.parametrize(
    "column, value, expected",
    [
        ("is_click", "2", r"line 12, column 'is_click': is 2, expected 0 or 1"),
        ("is_like", "3", r"line 12, column 'label': is 3, expected 0 or 1"),
        ("duration_ms", "-5", r"line 12, column 'duration_ms': is -5, expected a number >= 0"),
        ("video_id", "", r"line 12, column 'video_id': is empty"),
        ("time_ms", "noon", r"Row #12.*invalid value 'noon'"),
    ],
)
def test_a_bad_cell_is_named(write_sample, column, value, expected):
    rows = impressions()
    rows[10][column] = value
    with pytest.raises(InputError, match=expected):
        load("kuairand", manual_dir=write_sample(rows))


def test_a_user_who_is_there_twice_is_refused(write_sample, users):
    users[3]["user_id"] = "1"
    with pytest.raises(
        InputError, match=r"user_features_pure.csv.gz, line 5, column 'user_id': is 1, expected"
    ):
        load("kuairand", manual_dir=write_sample(impressions()))


def test_a_missing_table_is_named(write_sample):
    folder = write_sample(impressions())
    (folder / "kuairand_sample" / "user_features_pure.csv.gz").unlink()
    with pytest.raises(InputError, match=r"user_features_pure.csv .*is missing beside"):
        load("kuairand", manual_dir=folder)


def test_without_files_one_line_says_what_to_get(tmp_path):
    with pytest.raises(
        InputError, match=r"kuairand: no raw files; get .* from https://kuairand.com"
    ) as caught:
        load("kuairand", manual_dir=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"tasks": ("clik",)}, "did you mean 'click'"),
        ({"logs": "both"}, "logs is 'both'"),
        ({"history": -1}, "history is -1"),
        ({"history_event": "hate"}, "history_event is 'hate'"),
        ({"val_share": 0.9, "test_share": 0.2}, "val_share"),
        ({"parents": {"clik": ()}}, "task in parents"),
        ({"parents": {"click": ("like",), "like": ("click",)}}, "cycle"),
    ],
)
def test_a_bad_argument_is_refused(write_sample, arguments, expected):
    with pytest.raises(InputError, match=expected):
        load("kuairand", **arguments, manual_dir=write_sample(impressions()))


def test_records_of_the_builder_are_the_rows_of_the_files(write_sample, prepared_blocks):
    from third_party.kuairand.builder import Kuairand

    rows = impressions()
    folder = write_sample(rows)
    (log,) = prepared_blocks(Kuairand, folder, config="sample_log")["standard"]
    np.testing.assert_array_equal(log["time_ms"], [int(r["time_ms"]) for r in rows])
    (videos,) = prepared_blocks(Kuairand, folder, config="videos")["train"]
    assert [tag.decode() for tag in videos["tag"]] == [str(i % 3) for i in range(6)]
    with pytest.raises(InputError, match="no table 'log'; expected one of: sample_log"):
        prepared_blocks(Kuairand, folder, config="log")


def test_rates_of_the_real_sample_are_the_published_ones(real_folder):
    tasks = ("like", "click", "long_view", "profile_enter", "comment", "forward", "follow", "play_time")
    dataset = load("kuairand", tasks=tasks, history=5, manual_dir=real_folder("kuairand_sample"))
    provenance = dataset.provenance
    assert provenance["dropped_repeats"] == 116
    assert sum(provenance["rows"].values()) == 41_712
    assert {f["checksum"] for f in provenance["files"]} == {"published"}
    # Published over all 41,828 rows; without the repeats they move in the third digit.
    published = {
        **{"like": 0.8068, "click": 0.6571, "long_view": 0.4619, "profile_enter": 0.0529},
        **{"comment": 0.0301, "forward": 0.0078, "follow": 0.0073},
    }
    rates = provenance["label_rates"]["all"]
    assert {name: rates[name] for name in published} == pytest.approx(published, abs=0.002)
    assert rates["play_time"] == pytest.approx(21.33, rel=0.01)
    first = [provenance["first_time_ms"][s] for s in ("train", "val", "test")]
    assert first == sorted(first)
    assert str(real_folder("kuairand_sample")) not in json.dumps(provenance)
    assert len(ONE_HOT) == 18
    history = column(dataset, "history_0")
    ids = dataset.splits["test"]["ids"][:, history : history + 5]
    assert (np.diff((ids > 0).astype(int), axis=1) <= 0).all()  # zeros only at the end
