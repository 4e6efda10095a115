"""KuaiRand: what a user does with a short video that is shown, and for how long it plays."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mtl.data import arguments, encode
from mtl.data.cache import manual_folder
from mtl.data.dataset import SPLITS, Dataset, IdColumn, Schema
from mtl.errors import InputError
from mtl.tasks import Task, task_graph
from third_party import kuairand as source
from third_party.raw_files import checked, not_found

TASKS = {
    "click": "is_click",
    "long_view": "long_view",
    "like": "is_like",
    "hate": "is_hate",
    "follow": "is_follow",
    "comment": "is_comment",
    "forward": "is_forward",
    "profile_enter": "is_profile_enter",
    "play_time": "play_time_ms",
}
"""Column of the log that each task's label is read from."""

DEFAULT_TASKS = ("click", "long_view", "like", "follow", "comment", "play_time")
LOGS = (*source.POLICIES, "all")
HISTORY_EVENTS = ("like", "click", "long_view")
MILLISECONDS = 1000.0

USER_CODES = (
    *("user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author"),
    *("follow_user_num_range", "fans_user_num_range", "friend_user_num_range", "register_days_range"),
    *source.ONE_HOT,
)
USER_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
VIDEO_CODES = ("author_id", "video_type", "upload_type", "music_type", "first_tag")


class _Ids(NamedTuple):
    """Id columns, and one array of ids per column."""

    schema: list[IdColumn]
    arrays: list[np.ndarray]


def kuairand(
    tasks: Sequence[str] = DEFAULT_TASKS,
    parents: Mapping[str, Sequence[str]] | None = None,
    logs: str = "standard",
    history: int = 0,
    history_event: str = "like",
    num_buckets: int = 10,
    min_count: int = 1,
    val_share: float = 0.1,
    test_share: float = 0.1,
    manual_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads KuaiRand, a published edition or the sample, whichever lies in `manual_dir`.

    The sample holds only impressions with a like or a hate, of users with both: its rates are not those of
    traffic, and `hate` is 1 − `like` there. No event is required by another: in the sample 231 of 19,320 long
    views and 38 of 304 follows come without a click.

    Rows are divided by time, `train` being the first; rows of the same time stay together. Exact repeats are
    dropped and counted. Ids 1, 2, … are the values in `train` in rising order; id 0 is a value that `train`
    does not have, or an attribute that is not known (the sample's table of videos covers 2.7 % of its rows).

    Inputs are the user and the user's attributes, the video and its attributes, its duration (bucket, and
    number after log(1 + s)), the hour, and the `tab` of the app where a log has one (the domain). Nothing
    that follows the impression is an input: neither play time nor the time spent on comments or the profile,
    nor the published statistics of videos, which count all of it.

    All rows are read into memory: editions `pure` (1.4 million rows) and `1k` (12 million), not `27k`.

    Args:
      tasks: names among `click`, `long_view`, `like`, `hate`, `follow`, `comment`, `forward`, `profile_enter`
        and `play_time` (seconds, a regression).
      parents: for a task the tasks that it depends on; by default `click` is the parent of all others.
      logs: `standard` (videos chosen by the platform's policy), `random` (videos shown at random), or `all`.
      history: L; adds the latest L videos on which the user did `history_event` before this row's time, as
        the sequence `history` of columns `history_0` (the most recent), …, which share the table of
        `video_id`. Videos that `train` does not have are left out, so that 0 only pads the end.
      history_event: `like`, `click` or `long_view`.
      num_buckets: buckets of the duration, as in `mtl.data.encode.bucket_edges`.
      min_count: users, videos and authors with fewer rows in `train` get id 0.
      val_share: share of the rows in `val`.
      test_share: share of the rows in `test`, the latest ones.
      manual_dir: where the raw files lie; by default `MTL_MANUAL_DIR`.

    Returns:
      The data set; its provenance holds edition, files, checksums, dropped repeats and label rates.

    Raises:
      InputError: an argument is wrong, or the raw files cannot be found or are damaged.

    Reference: Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed
      Videos", CIKM 2022.
    """
    graph = _tasks(tasks, parents)
    history = arguments.integer("history", history, 0)
    arguments.choice("history_event", history_event, HISTORY_EVENTS)
    num_buckets = arguments.integer("num_buckets", num_buckets, 2)
    min_count = arguments.integer("min_count", min_count, 1)
    shares = arguments.shares(val_share, test_share)
    arguments.choice("logs", logs, LOGS)
    given = {
        **{"logs": logs, "history": history, "history_event": history_event, "num_buckets": num_buckets},
        **{"min_count": min_count, "val_share": shares[0], "test_share": shares[1]},
    }
    files = _files(manual_dir, logs)
    log, rows, dropped = _log(files)
    users, videos = source.read_users(files.users), source.read_videos(files.videos)

    times = log["time_ms"]
    split = encode.split_by_time(times, *shares)
    ids = _ids(log, users, videos, split["train"], num_buckets, min_count)
    if history:
        happened = log[TASKS[history_event]] == 1
        _add_history(ids, log, happened, history)
    seconds = {task.name: MILLISECONDS if task.kind == "regression" else 1.0 for task in graph}
    columns = {
        "ids": np.stack(ids.arrays, axis=1),
        "numeric": _numeric(log, users, split["train"]),
        "labels": np.stack([log[TASKS[t.name]] / seconds[t.name] for t in graph], axis=1).astype(np.float32),
    }
    splits = {name: {key: value[split[name]] for key, value in columns.items()} for name in SPLITS}
    return Dataset(
        name="kuairand",
        schema=Schema(tuple(ids.schema), (*USER_COUNTS, "duration"), graph),
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
            "edition": files.edition,
            "files": _facts(files, rows, users, videos),
            "dropped_repeats": dropped,
            "first_time_ms": {name: int(times[split[name][0]]) for name in SPLITS if len(split[name])},
            **encode.rows_and_rates(columns["labels"], split, graph),
        },
    )


def _tasks(names: Sequence[str], parents: Mapping[str, Sequence[str]] | None) -> tuple[Task, ...]:
    asked = arguments.names("tasks", names, TASKS)
    if parents is None:
        parents = {name: ("click",) for name in asked if name != "click" and "click" in asked}
    edges = arguments.parents(parents, asked)
    graph = tuple(
        Task(name, "regression" if name == "play_time" else "binary", parents=edges.get(name, ()))
        for name in asked
    )
    task_graph(graph)
    return graph


def _files(manual_dir: str | os.PathLike[str] | None, logs: str) -> source.Files:
    """The files found, with the logs that were asked for."""
    manual = manual_folder(manual_dir)
    files = source.find(manual) if manual else None
    if files is None:
        raise not_found(
            "kuairand",
            ["the logs and features of an edition"],
            source.FOLDER,
            f"{source.HOMEPAGE} (or {', '.join(f'{f.name}.gz' for f in source.SAMPLE_FILES.values())})",
        )
    policies = source.POLICIES if logs == "all" else (logs,)
    chosen = {policy: files.logs.get(policy, []) for policy in policies}
    for policy, paths in chosen.items():
        if not paths:
            raise InputError(
                f"kuairand: the {files.edition} edition in {files.users.parent} has no log_{policy}_*.csv; "
                f"get it from {source.HOMEPAGE}, or choose other logs than {logs!r}"
            )
    return files._replace(logs=chosen)


def _log(files: source.Files) -> tuple[dict[str, np.ndarray], dict[str, int], int]:
    """Columns of all logs without exact repeats, rows of each file, number of repeats."""
    tables = {path.name: source.read_log(path) for paths in files.logs.values() for path in paths}
    table = pa.concat_tables(tables.values())
    rows = {name: part.num_rows for name, part in tables.items()}
    del tables
    numbered = table.append_column("row", pa.array(np.arange(table.num_rows)))
    first = numbered.group_by(table.column_names, use_threads=False).aggregate([("row", "min")])["row_min"]
    kept = np.sort(first.to_numpy())
    columns = {name: table[name].to_numpy()[kept] for name in table.column_names if name != "timestamp"}
    return columns, rows, table.num_rows - len(kept)


def _facts(files: source.Files, rows: dict[str, int], users: pa.Table, videos: pa.Table) -> list[Any]:
    sample = source.SAMPLE_FILES if files.edition == "sample" else {}
    logs = [path for paths in files.logs.values() for path in paths]
    return [
        *({**checked(path, sample.get("log")), "rows": rows[path.name]} for path in logs),
        {**checked(files.users, sample.get("users")), "rows": users.num_rows},
        {**checked(files.videos, sample.get("videos")), "rows": videos.num_rows},
    ]


def _row_of(table: pa.Table, key: str, wanted: np.ndarray) -> np.ndarray:
    """Row of the table for each key, −1 where it has none."""
    keys = table[key].to_numpy()
    order = np.argsort(keys)
    place = encode.to_ids(wanted, keys[order])
    return np.where(place > 0, order[place - 1], -1)


def _ids(
    log: dict[str, np.ndarray],
    users: pa.Table,
    videos: pa.Table,
    train: np.ndarray,
    num_buckets: int,
    min_count: int,
) -> _Ids:
    ids = _Ids([], [])

    def add(
        name: str, role: str, values: np.ndarray, known: np.ndarray | None = None, least: int = 1
    ) -> None:
        """Adds a column; values that are not known (`known [N]` false) get id 0."""
        live = train if known is None else train[known[train]]
        vocabulary = encode.vocabulary(values[live], least)
        column = encode.to_ids(values, vocabulary)
        ids.arrays.append(column if known is None else np.where(known, column, 0).astype(np.int32))
        ids.schema.append(IdColumn(name, len(vocabulary) + 1, role))

    add("user_id", "user", log["user_id"], least=min_count)
    add("video_id", "item", log["video_id"], least=min_count)
    row = _row_of(users, "user_id", log["user_id"])
    for name in USER_CODES:
        add(name, "user", _codes(users, name)[row], row >= 0)
    row = _row_of(videos, "video_id", log["video_id"])
    for name in VIDEO_CODES:
        least = min_count if name == "author_id" else 1
        add(name, "item", _codes(videos, name)[row], row >= 0, least)
    edges = encode.bucket_edges(log["duration_ms"][train], num_buckets)
    ids.arrays.append(np.searchsorted(edges, log["duration_ms"], side="left").astype(np.int32))
    ids.schema.append(IdColumn("duration_bucket", len(edges) + 1, "item"))
    add("hour", "context", log["hourmin"] // 100)
    if "tab" in log:
        add("tab", "domain", log["tab"])
    return ids


def _codes(table: pa.Table, name: str) -> np.ndarray:
    """A column of attributes; a missing value is a category of its own."""
    if name == "first_tag":
        return np.array([tags.split(",")[0] for tags in table["tag"].to_pylist()], object)
    values = table[name].to_numpy(zero_copy_only=False)
    return np.nan_to_num(values, nan=-1) if values.dtype.kind == "f" else values


def _add_history(ids: _Ids, log: dict[str, np.ndarray], happened: np.ndarray, length: int) -> None:
    video = ids.schema.index(next(c for c in ids.schema if c.name == "video_id"))
    items = ids.arrays[video]
    past = encode.last_events(log["user_id"], log["time_ms"], items, happened & (items > 0), length)
    for back in range(length):
        ids.arrays.append(past[:, back])
        ids.schema.append(
            IdColumn(f"history_{back}", ids.schema[video].vocab_size, "user", "history", "video_id")
        )


def _numeric(log: dict[str, np.ndarray], users: pa.Table, train: np.ndarray) -> np.ndarray:
    row = _row_of(users, "user_id", log["user_id"])
    arrays = []
    for name in USER_COUNTS:
        values = np.where(row >= 0, users[name].to_numpy()[row].astype(np.float64), np.nan)
        arrays.append(np.log1p(np.maximum(values, 0)))
    arrays.append(np.log1p(log["duration_ms"] / MILLISECONDS))
    return np.stack([encode.standardised(values, train) for values in arrays], axis=1)
