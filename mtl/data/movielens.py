"""MovieLens: whether a user likes a film, how it is rated, and whether the user tags it."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from mtl.data import arguments, encode
from mtl.data.cache import manual_folder
from mtl.data.dataset import SPLITS, Dataset, IdColumn, Schema
from mtl.errors import InputError
from mtl.tasks import Task, task_graph
from third_party import movielens as source
from third_party.raw_files import checked, not_found

TASKS = {"like": Task("like"), "rating": Task("rating", "regression"), "tagged": Task("tagged")}
LIKED = 4.0
DIVISIONS = ("user", "time")
USER_CODES = ("gender", "age", "occupation")
YEAR = re.compile(r"\((\d{4})\)\s*$")
GENRE_SPELLINGS = {"Children's": "Children"}


def movielens(
    tasks: Sequence[str] | None = None,
    parents: Mapping[str, Sequence[str]] | None = None,
    division: str = "user",
    history: int = 0,
    min_count: int = 1,
    val_share: float = 0.1,
    test_share: float = 0.1,
    manual_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads an edition of MovieLens, whichever lies in `manual_dir`.

    A row is a rating. `like` is 1 where it is 4 or more, `rating` the number itself, and `tagged` 1 where
    the user has also tagged the film, at any time. `like` and `rating` are two readings of one answer.

    Inputs are user and film, the year and the 20 genres of the film (0 or 1, not standardised), and gender,
    age bracket and occupation of the user where the edition has them (ml-1m). Ids 1, 2, … are the values in
    `train` in rising order; id 0 is a value that `train` does not have.

    All rows are read into memory: ml-25m takes 2.5 GB for the arrays alone, ml-latest-small 10 MB.

    Args:
      tasks: names among `like`, `rating` (a regression) and `tagged`; by default all that the edition has.
      parents: for a task the tasks that it depends on; none by default.
      division: `user` (`train` is the first part of each user's rows) or `time` (the first part of all rows,
        as when a model goes live; in ml-latest-small nine tenths of the later rows are then of new users).
      history: L; adds the latest L films that the user liked before this row's time, as the sequence
        `history` of columns `history_0` (the most recent), …, which share the table of `movie_id`. Films
        that `train` does not have are left out, so that 0 only pads the end.
      min_count: users and films with fewer rows in `train` get id 0.
      val_share: share of the rows in `val`.
      test_share: share of the rows in `test`, the latest ones.
      manual_dir: where the raw files lie; by default `MTL_MANUAL_DIR`.

    Returns:
      The data set; its provenance holds files, checksums and label rates.

    Raises:
      InputError: an argument is wrong, or the raw files cannot be found or are damaged.

    Reference: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM Transactions on
      Interactive Intelligent Systems 5(4):19, 2015.
    """
    arguments.choice("division", division, DIVISIONS)
    history = arguments.integer("history", history, 0)
    min_count = arguments.integer("min_count", min_count, 1)
    shares = arguments.shares(val_share, test_share)
    given = {
        **{"division": division, "history": history, "min_count": min_count},
        **{"val_share": shares[0], "test_share": shares[1]},
    }
    manual = manual_folder(manual_dir)
    paths = source.find(manual) if manual else {}
    if not paths:
        raise not_found(
            "movielens", ["an edition, such as ml-latest-small,"], source.FOLDERS[0], source.HOMEPAGE
        )
    graph = _tasks(tasks, parents, paths)
    tables = {name: source.read(name, path) for name, path in paths.items()}
    ratings = {name: tables["ratings"][name].to_numpy() for name in tables["ratings"].column_names}

    split = _divide(ratings, division, *shares)
    id_columns, ids = _ids(ratings, tables.get("users"), split["train"], min_count)
    if history:
        liked = (ratings["rating"] >= LIKED) & (ids[1] > 0)
        past = encode.last_events(ratings["userId"], ratings["timestamp"], ids[1], liked, history)
        ids += list(past.T)
        films = id_columns[1].vocab_size
        id_columns += [
            IdColumn(f"history_{back}", films, "user", "history", "movie_id") for back in range(history)
        ]
    columns = {
        "ids": np.stack(ids, axis=1),
        "numeric": _numeric(paths["movies"], tables["movies"], ratings["movieId"], split["train"]),
        "labels": _labels(ratings, tables.get("tags"), graph),
    }
    small = tables["ratings"].num_rows == source.SMALL["ratings"].rows
    known = source.SMALL if small else {}
    splits = {name: {key: value[split[name]] for key, value in columns.items()} for name in SPLITS}
    return Dataset(
        name="movielens",
        schema=Schema(tuple(id_columns), ("year", *source.GENRES), graph),
        splits=splits,
        provenance={
            "source": source.HOMEPAGE,
            "licence": source.LICENCE,
            "citation": source.CITATION,
            "arguments": {
                "tasks": [t.name for t in graph],
                "parents": {t.name: list(t.parents) for t in graph},
                **given,
            },
            "files": {
                name: {**checked(path, known.get(name)), "rows": tables[name].num_rows}
                for name, path in paths.items()
            },
            **encode.rows_and_rates(columns["labels"], split, graph),
        },
    )


def _tasks(
    names: Sequence[str] | None, parents: Mapping[str, Sequence[str]] | None, paths: Mapping[str, Path]
) -> tuple[Task, ...]:
    possible = [name for name in TASKS if name != "tagged" or "tags" in paths]
    asked = arguments.names("tasks", possible if names is None else names, TASKS)
    if "tagged" in asked and "tags" not in paths:
        raise InputError(
            f"movielens: the edition in {paths['ratings'].parent} has no tags, so no task 'tagged'; leave "
            f"it out, or get another edition from {source.HOMEPAGE}"
        )
    edges = arguments.parents(parents or {}, asked)
    graph = tuple(TASKS[name]._replace(parents=edges.get(name, ())) for name in asked)
    task_graph(graph)
    return graph


def _divide(
    ratings: Mapping[str, np.ndarray], division: str, val_share: float, test_share: float
) -> encode.SplitRows:
    times = ratings["timestamp"]
    if division == "time":
        return encode.split_by_time(times, val_share, test_share)
    # Rows of each user by time; how far each is from the user's last row, in shares of the user's rows.
    order = np.lexsort((times, ratings["userId"]))
    _, first, counts = np.unique(ratings["userId"][order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, counts)
    from_end = np.repeat(counts, counts) - 1 - rank
    num_test = np.repeat(np.round(test_share * counts), counts)
    num_held = np.repeat(np.round((val_share + test_share) * counts), counts)
    return {
        "train": np.sort(order[from_end >= num_held]),
        "val": np.sort(order[(from_end >= num_test) & (from_end < num_held)]),
        "test": np.sort(order[from_end < num_test]),
    }


def _ids(
    ratings: Mapping[str, np.ndarray], users: pa.Table | None, train: np.ndarray, min_count: int
) -> tuple[list[IdColumn], list[np.ndarray]]:
    columns = [
        ("user_id", "user", ratings["userId"], min_count),
        ("movie_id", "item", ratings["movieId"], min_count),
    ]
    if users is not None:
        keys, row = np.unique(users["userId"].to_numpy(), return_index=True)
        place = encode.to_ids(ratings["userId"], keys)
        for name in USER_CODES:
            values = users[name].to_numpy(zero_copy_only=False)[row]
            codes = np.append(0, encode.to_ids(values, encode.vocabulary(values)))
            columns.append((name, "user", codes[place], 1))
    schema, arrays = [], []
    for name, role, values, least in columns:
        known = encode.vocabulary(values[train], least)
        arrays.append(encode.to_ids(values, known))
        schema.append(IdColumn(name, len(known) + 1, role))
    return schema, arrays


def _numeric(path: Path, movies: pa.Table, wanted: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Year, standardised, and genres of the film of each row; the mean year and no genre where unknown."""
    keys, row = np.unique(movies["movieId"].to_numpy(), return_index=True)
    place = encode.to_ids(wanted, keys)
    titles, genres = (movies[name].to_pylist() for name in ("title", "genres"))
    years = np.full(len(keys) + 1, np.nan)
    flags = np.zeros((len(keys) + 1, len(source.GENRES)), np.float32)
    for film, at in enumerate(row, start=1):
        if match := YEAR.search(titles[at]):
            years[film] = float(match[1])
        for genre in genres[at].split("|"):
            genre = GENRE_SPELLINGS.get(genre, genre)
            if genre not in source.GENRES:
                raise InputError(
                    f"{path}, film {keys[film - 1]}: genre {genre!r} is unknown, expected some of: "
                    f"{', '.join(source.GENRES)}"
                )
            flags[film, source.GENRES.index(genre)] = 1
    return np.column_stack([encode.standardised(years[place], train), flags[place]])


def _labels(ratings: Mapping[str, np.ndarray], tags: pa.Table | None, graph: Sequence[Task]) -> np.ndarray:
    labels = {"like": ratings["rating"] >= LIKED, "rating": ratings["rating"]}
    if tags is not None:
        users, films = (tags[name].to_numpy() for name in ("userId", "movieId"))
        size = max(films.max(), ratings["movieId"].max()) + 1
        labels["tagged"] = np.isin(ratings["userId"] * size + ratings["movieId"], users * size + films)
    return np.stack([labels[task.name] for task in graph], axis=1).astype(np.float32)
