"""The raw files of KuaiRand: the published editions and the sample, where they lie and how they are read."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl.errors import InputError
from third_party.kuairand.columns import EVENTS, LOG, OPTIONAL, SAMPLE_LOG, USERS, VIDEOS
from third_party.raw_files import RawFile, locate, read_table, refuse

VERSION = "1.0.0"
FOLDER, SAMPLE_FOLDER = "kuairand", "kuairand_sample"
HOMEPAGE = "https://kuairand.com"
LICENCE = "CC BY-SA 4.0"
CITATION = (
    "C. Gao, S. Li, Y. Zhang, J. Chen, B. Li, W. Lei, P. Jiang, X. He, KuaiRand: An Unbiased Sequential "
    "Recommendation Dataset with Randomly Exposed Videos, CIKM 2022, 10.1145/3511808.3557624"
)
SAMPLE_FILES = {
    "log": RawFile(
        "kuairand27k_standard_like_hate_kcore15.tsv",
        41_828,
        "321128c4543d3e658a1fa9788edd4049295b0d1ccf4469154326fb7769556e0a",
    ),
    "users": RawFile(
        "user_features_pure.csv", 27_285, "dc729a656301b4c6d07f713fe41d05ec9bfaab670b90e531c70037caf033c011"
    ),
    "videos": RawFile(
        "video_features_basic_pure.csv",
        7_583,
        "a6f7ee02684c5777422306cdc416e170302288aa89aca9dfea995edbd625bcc2",
    ),
}
POLICIES = ("standard", "random")


class Files(NamedTuple):
    """Where the tables lie.

    Attributes:
      edition: `sample`, or the suffix of a published edition: `pure`, `1k` or `27k`.
      logs: the logs of each policy under which videos were shown, in the order of their names.
      users: attributes of users.
      videos: attributes of videos.
    """

    edition: str
    logs: dict[str, list[Path]]
    users: Path
    videos: Path


def find(folder: Path) -> Files | None:
    """Looks for a published edition, then for the sample.

    Args:
      folder: a folder that holds the published files, directly, in `data/`, in `kuairand/` or in
        `kuairand/data/`, or the three files of the sample, directly or in `kuairand_sample/`.

    Returns:
      The files, or None where there are none.

    Raises:
      InputError: files of an edition or of the sample are missing, or there are several editions.
    """
    for place in (folder / FOLDER / "data", folder / FOLDER, folder / "data", folder):
        logs = {policy: sorted(place.glob(f"log_{policy}_*.csv*")) for policy in POLICIES}
        if any(logs.values()):
            return _published(place, logs)
    found = locate(folder, (SAMPLE_FOLDER,), SAMPLE_FILES, HOMEPAGE)
    return Files("sample", {"standard": [found["log"]]}, found["users"], found["videos"]) if found else None


def _published(place: Path, logs: dict[str, list[Path]]) -> Files:
    editions = {
        match[1]
        for paths in logs.values()
        for path in paths
        if (match := re.search(r"_(pure|1k|27k)(?:_part\d+)?\.csv", path.name.lower()))
    }
    if len(editions) != 1:
        raise InputError(
            f"{place}: holds the logs of {', '.join(sorted(editions)) or 'no known edition'}, expected those "
            "of one edition of KuaiRand: pure, 1k or 27k"
        )
    edition = editions.pop()
    tables = {}
    for name in ("user_features", "video_features_basic"):
        paths = [p for p in sorted(place.glob(f"{name}_*.csv*")) if f"_{edition}." in p.name.lower()]
        if not paths:
            raise InputError(f"{place}: {name}_{edition}.csv is missing; get it from {HOMEPAGE}")
        tables[name] = paths[0]
    return Files(edition, logs, tables["user_features"], tables["video_features_basic"])


def read_log(path: Path) -> pa.Table:
    """Reads and checks a log.

    Args:
      path: a published log, or that of the sample (tab separated, `.tsv`).

    Returns:
      All columns of the file; the sample's have `is_like` and `is_hate` besides.

    Raises:
      InputError: the file is damaged or truncated, or a cell is empty or holds what its column cannot; the
        message names file, line and column.
    """
    sample = ".tsv" in path.suffixes
    table = read_table(path, SAMPLE_LOG if sample else LOG, delimiter="\t" if sample else ",")
    if sample:
        like = table["label"].to_numpy()
        refuse(path, "label", ~np.isin(like, (0, 1)), like, "0 or 1")
        table = table.append_column("is_like", pa.array(like)).append_column("is_hate", pa.array(1 - like))
    for name in EVENTS:
        values = table[name].to_numpy()
        refuse(path, name, ~np.isin(values, (0, 1)), values, "0 or 1")
    for name in ("time_ms", "play_time_ms", "duration_ms", "hourmin"):
        values = table[name].to_numpy()
        refuse(path, name, values < 0, values, "a number >= 0")
    return table


def read_users(path: Path) -> pa.Table:
    """Reads the attributes of users; refuses a user who is there twice."""
    return _attributes(path, USERS)


def read_videos(path: Path) -> pa.Table:
    """Reads the attributes of videos; refuses a video that is there twice."""
    return _attributes(path, VIDEOS)


def _attributes(path: Path, columns: dict[str, pa.DataType]) -> pa.Table:
    table = read_table(path, columns, optional=OPTIONAL)
    key = next(iter(columns))
    keys = table[key].to_numpy()
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    refuse(path, key, ~first, keys, "each once")
    for name, kind in columns.items():
        if name in OPTIONAL and kind == pa.string():
            table = table.set_column(table.schema.get_field_index(name), name, pc.fill_null(table[name], ""))
    return table
