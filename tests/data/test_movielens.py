import gzip

import numpy as np
import pytest

from mtl.data import load
from mtl.errors import InputError
from third_party.movielens import GENRES

USERS, ROWS_EACH = 5, 20
FILMS = [
    (1, "Toy Story (1995)", "Adventure|Children|Comedy"),
    (2, '"Quoted, with a comma (1988)"', "Drama"),
    (3, "Without a year", "(no genres listed)"),
    (4, "Née (1960)", "Crime|Film-Noir"),
]


def ratings():
    """`(user, film, rating, time)`; the users take turns, so that each has rows all over the time."""
    rng = np.random.default_rng(0)
    return [
        (1 + i % USERS, 1 + int(rng.integers(0, 4)), 0.5 * int(rng.integers(1, 11)), 1000 + 10 * i)
        for i in range(USERS * ROWS_EACH)
    ]


TAGGED = [(1, 2), (3, 4), (5, 9)]


@pytest.fixture
def write(tmp_path):
    def write(rows=None, films=FILMS, folder="movielens", tags=TAGGED):
        place = tmp_path / "manual" / folder
        place.mkdir(parents=True, exist_ok=True)
        tables = {
            "ratings": [
                "userId,movieId,rating,timestamp",
                *(",".join(map(str, r)) for r in rows or ratings()),
            ],
            "movies": ["movieId,title,genres", *(",".join(map(str, film)) for film in films)],
        }
        if tags is not None:
            tables["tags"] = ["userId,movieId,tag,timestamp", *(f"{u},{f},funny,5" for u, f in tags)]
        for name, lines in tables.items():
            (place / f"{name}.csv.gz").write_bytes(gzip.compress("\r\n".join([*lines, ""]).encode()))
        return tmp_path / "manual"

    return write


@pytest.fixture
def write_dat(tmp_path):
    """ml-1m's layout: no header, `::` between cells, Latin-1, users but no tags."""

    def write():
        place = tmp_path / "manual" / "ml-1m"
        place.mkdir(parents=True, exist_ok=True)
        films = [
            (f, title.strip('"'), genres.replace("Children", "Children's")) for f, title, genres in FILMS
        ]
        tables = {
            "ratings": [(u, f, int(np.ceil(r)), t) for u, f, r, t in ratings()],
            "movies": films,
            "users": [(u, "FM"[u % 2], [18, 25, 56][u % 3], u, "06810-1234") for u in range(1, USERS + 1)],
        }
        for name, rows in tables.items():
            text = "".join("::".join(map(str, row)) + "\n" for row in rows)
            (place / f"{name}.dat").write_bytes(text.encode("latin-1"))
        return tmp_path / "manual"

    return write


def in_order(dataset, key):
    """The rows of all splits of a division by time, which keeps them in the order of time."""
    return np.concatenate([dataset.splits[s][key] for s in ("train", "val", "test")])


def test_labels_are_the_rating_whether_it_is_4_and_whether_a_tag_was_given(write):
    dataset = load("movielens", division="time", manual_dir=write())
    expected = [[r >= 4, r, (u, f) in TAGGED] for u, f, r, _ in ratings()]
    np.testing.assert_array_equal(in_order(dataset, "labels"), np.array(expected, np.float32))
    assert [t.kind for t in dataset.schema.tasks] == ["binary", "regression", "binary"]
    assert dataset.provenance["rows"] == {"train": 80, "val": 10, "test": 10}


def test_year_is_standardised_and_genres_are_flags(write):
    dataset = load("movielens", division="time", manual_dir=write())
    numeric = in_order(dataset, "numeric")
    film = np.array([f for _, f, _, _ in ratings()])
    years = np.array([np.nan, 1995, 1988, np.nan, 1960])[film]
    train = years[:80][~np.isnan(years[:80])]
    expected = np.where(np.isnan(years), 0, (years - train.mean()) / train.std())
    np.testing.assert_allclose(numeric[:, 0], expected, atol=1e-5)
    flags = {film: [genre in genres.split("|") for genre in GENRES] for film, _, genres in FILMS}
    np.testing.assert_array_equal(numeric[:, 1:], np.array([flags[f] for f in film], np.float32))


def test_division_by_user_keeps_the_last_rows_of_each(write):
    rows = ratings()
    dataset = load("movielens", val_share=0.1, test_share=0.2, manual_dir=write(rows))
    for split, first, last in (("train", 0, 14), ("val", 14, 16), ("test", 16, 20)):
        users = dataset.splits[split]["ids"][:, 0]
        for user in range(1, USERS + 1):
            own = [r for u, _, r, _ in rows if u == user][first:last]
            np.testing.assert_array_equal(dataset.splits[split]["labels"][users == user, 1], own)


def test_history_is_what_the_user_liked_before(write):
    rows = ratings()
    dataset = load("movielens", division="time", history=3, manual_dir=write(rows))
    first = [c.name for c in dataset.schema.id_columns].index("history_0")
    entries = dataset.schema.id_columns[first:]
    assert [(c.name, c.sequence, c.table, c.role) for c in entries] == [
        (f"history_{i}", "history", "movie_id", "user") for i in range(3)
    ]
    ids = in_order(dataset, "ids")
    for i, (user, _, _, _) in enumerate(rows):
        past = [f for u, f, r, _ in rows[:i] if u == user and r >= 4][::-1][:3]
        np.testing.assert_array_equal(ids[i, first:], past + [0] * (3 - len(past)))


def test_neither_ratings_nor_tags_are_inputs(write):
    before = load("movielens", manual_dir=write())
    after = load(
        "movielens", manual_dir=write([(u, f, 5.5 - r, t) for u, f, r, t in ratings()], tags=[(2, 2)])
    )
    for split, columns in before.splits.items():
        for key in ("ids", "numeric"):
            np.testing.assert_array_equal(columns[key], after.splits[split][key])


def test_layout_with_double_colons_has_users_and_no_tags(write_dat):
    dataset = load("movielens", division="time", manual_dir=write_dat())
    assert [t.name for t in dataset.schema.tasks] == ["like", "rating"]
    columns = {c.name: i for i, c in enumerate(dataset.schema.id_columns)}
    assert {"gender", "age", "occupation"} <= set(columns)
    ids = in_order(dataset, "ids")
    users = np.array([u for u, *_ in ratings()])
    np.testing.assert_array_equal(ids[:, columns["gender"]], np.where(users % 2, 2, 1))  # F before M
    np.testing.assert_array_equal(ids[:, columns["age"]], users % 3 + 1)
    children = 1 + GENRES.index("Children")
    film = np.array([f for _, f, _, _ in ratings()])
    np.testing.assert_array_equal(in_order(dataset, "numeric")[:, children], film == 1)
    with pytest.raises(InputError, match="has no tags, so no task 'tagged'"):
        load("movielens", tasks=("tagged",), manual_dir=write_dat())


@pytest.mark.parametrize(
    "row, expected",
    [
        (
            (1, 1, 4.2, 5),
            r"ratings\.csv\.gz, line 4, column 'rating': is 4\.2, expected 0\.5 … 5\.0 in halves",
        ),
        ((1, 1, 4.0, -5), r"line 4, column 'timestamp': is -5"),
        ((1, "", 4.0, 5), r"line 4, column 'movieId': is empty"),
        ((1, "one", 4.0, 5), r"cannot be read .*'one'"),
    ],
)
def test_a_bad_cell_is_named(write, row, expected):
    rows = ratings()
    rows[2] = row
    with pytest.raises(InputError, match=expected):
        load("movielens", manual_dir=write(rows))


def test_an_unknown_genre_is_named(write):
    with pytest.raises(
        InputError, match=r"movies\.csv\.gz, film 1: genre 'Comdy' is unknown, expected some of"
    ):
        load("movielens", manual_dir=write(films=[(1, "A (1990)", "Comdy"), *FILMS[1:]]))


def test_a_missing_table_is_named(write):
    folder = write()
    (folder / "movielens" / "movies.csv.gz").unlink()
    with pytest.raises(InputError, match=r"movies\.csv is missing; get it from https"):
        load("movielens", manual_dir=folder)


def test_without_files_one_line_says_what_to_get(tmp_path):
    with pytest.raises(InputError, match=r"movielens: no raw files; get an edition") as caught:
        load("movielens", manual_dir=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arguments", [{"division": "item"}, {"tasks": ("likes",)}, {"parents": {"x": ()}}])
def test_a_bad_argument_is_refused(write, arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        load("movielens", **arguments, manual_dir=write())


def test_parents_are_edges_of_the_task_graph(write):
    dataset = load("movielens", parents={"tagged": ["like"]}, manual_dir=write())
    assert {t.name: t.parents for t in dataset.schema.tasks}["tagged"] == ("like",)


def test_records_of_the_builder_are_the_rows_of_the_files(write, prepared_blocks):
    from third_party.movielens.builder import MovieLens

    folder = write()
    (block,) = prepared_blocks(MovieLens, folder, config="ratings")["train"]
    found = zip(*(block[name] for name in ("userId", "movieId", "rating", "timestamp")))
    assert [tuple(row) for row in found] == ratings()
    (block,) = prepared_blocks(MovieLens, folder, config="movies")["train"]
    assert [title.decode() for title in block["title"]] == [title.strip('"') for _, title, _ in FILMS]
    with pytest.raises(InputError, match="has no users; expected one of: ratings, movies, tags"):
        prepared_blocks(MovieLens, folder, config="users")


def test_rates_of_the_real_files_are_the_published_ones(real_folder):
    dataset = load("movielens", manual_dir=real_folder("movielens_latest_small"))
    rates = dataset.provenance["label_rates"]["all"]
    expected = {"like": 48_580 / 100_836, "rating": 3.5016, "tagged": 1_635 / 100_836}
    assert rates == pytest.approx(expected, abs=1e-4)
    assert sum(dataset.provenance["rows"].values()) == 100_836
    assert {f["checksum"] for f in dataset.provenance["files"].values()} == {"published"}
    users, films = (dataset.schema.id_columns[i].vocab_size - 1 for i in (0, 1))
    assert users == 610
    assert 8_000 < films < 9_724
    assert (dataset.splits["train"]["numeric"][:, 1:].sum(axis=0) > 0).all()
