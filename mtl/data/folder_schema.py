"""The schema file of a folder of tables: which columns are ids, numbers, labels, and how rows are split."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtl.data.dataset import ROLES
from mtl.errors import InputError, unknown_name
from mtl.tasks import Task, task_graph, task_loss

SPLIT_KINDS = ("fraction", "time", "column", "files")
TRANSFORMS = ("standardise", "log1p", "none")


class IdField(NamedTuple):
    """`[[ids]]`: a categorical column.

    Attributes:
      name: of the id column that it becomes.
      column: of the tables.
      role: what it describes, see `IdColumn`.
      min_count: rows of `train` that a value needs to get an id of its own.
      buckets: ids that values are hashed to; 0 for a vocabulary.
      length: most values of a cell, of a column with several; 0 for a column with one.
      separator: what stands between them where a cell is text.
      table: name of an earlier field whose ids this one has; "" for its own.
    """

    name: str
    column: str
    role: str = ""
    min_count: int = 1
    buckets: int = 0
    length: int = 0
    separator: str = "|"
    table: str = ""


class NumberField(NamedTuple):
    """`[[numeric]]`: a quantity.

    Attributes:
      name: of the numeric column that it becomes.
      column: of the tables.
      transform: `standardise`, `log1p` (of a number > −1, then standardised) or `none`.
    """

    name: str
    column: str
    transform: str = "standardise"


class LabelField(NamedTuple):
    """`[[tasks]]`: a task and where its labels are.

    Attributes:
      task: the task.
      column: of the tables, with the labels.
      mask: column that says where the task has a label; "" for everywhere.
    """

    task: Task
    column: str
    mask: str = ""


class Splitting(NamedTuple):
    """`[split]`: which rows are for training, validation and test.

    Attributes:
      by: `fraction`, `time`, `column` or `files`.
      column: of the tables: moments for `time`, names of parts for `column`; for `fraction` rows of one value
        stay together, "" draws every row by itself.
      val: share of the rows, or the values or patterns of files.
      test: likewise.
      train: values or patterns; not used for shares.
      seed: of `fraction`.
    """

    by: str
    column: str
    val: Any
    test: Any
    train: tuple[str, ...]
    seed: int


class FolderSchema(NamedTuple):
    """A schema file.

    Attributes:
      name: under which results are reported.
      files: patterns of the files to read, below the folder; empty for all tables.
      delimiter: between the cells of text files.
      ids: `[[ids]]`.
      numeric: `[[numeric]]`.
      labels: `[[tasks]]`.
      split: `[split]`.
    """

    name: str
    files: tuple[str, ...]
    delimiter: str
    ids: tuple[IdField, ...]
    numeric: tuple[NumberField, ...]
    labels: tuple[LabelField, ...]
    split: Splitting

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the tables that are read, each once."""
        inputs = [f.column for f in self.ids] + [f.column for f in self.numeric]
        labels = [f.column for f in self.labels] + [f.mask for f in self.labels]
        return tuple(dict.fromkeys(filter(None, [*inputs, *labels, self.split.column])))


def read_schema(path: Path) -> tuple[FolderSchema, dict[str, Any]]:
    """Reads a schema file.

    Args:
      path: a TOML file.

    Returns:
      The schema, and the file's content as it is.

    Raises:
      InputError: there is no such file, it is no TOML, a key is unknown or missing, or a value is wrong; the
        message names the file and the key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); expected a schema in TOML"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not TOML ({' '.join(str(error).split())})") from None
    try:
        return _schema(content), content
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _schema(content: Mapping[str, Any]) -> FolderSchema:
    kinds: dict[str, Any] = {"name": str, "files": list, "delimiter": str, "split": dict}
    kinds |= {"ids": list, "numeric": list, "tasks": list}
    top = _keys("the file", content, kinds, ("tasks", "split"))
    ids = tuple(_id_field(i, entry) for i, entry in enumerate(top.get("ids", [])))
    numeric = tuple(_number_field(i, entry) for i, entry in enumerate(top.get("numeric", [])))
    labels = tuple(_label_field(i, entry) for i, entry in enumerate(top["tasks"]))
    if not labels:
        raise InputError("has no [[tasks]]; name at least one")
    if not ids and not numeric:
        raise InputError("has neither [[ids]] nor [[numeric]]; name at least one column to learn from")
    task_graph([label.task for label in labels])
    for kind, names in (("ids", [f.name for f in ids]), ("numeric", [f.name for f in numeric])):
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"[[{kind}]] names {name!r} twice; give one of them another 'name'")
    for i, field in enumerate(ids):
        owners = {f.name: f for f in ids[:i]}
        if field.table and field.table not in owners:
            raise InputError(f"[[ids]] {field.name!r}: table {field.table!r} is no earlier [[ids]]")
        if field.table and (owners[field.table].table or owners[field.table].length):
            raise InputError(
                f"[[ids]] {field.name!r}: {field.table!r} has no table of single values of its own to share"
            )
    name = top.get("name", "folder")
    if "/" in name or name.startswith("."):
        raise InputError(f"name is {name!r}, expected one without '/' that can be a folder's")
    delimiter = top.get("delimiter", ",")
    if len(delimiter) != 1:
        raise InputError(f"delimiter is {delimiter!r}, expected one character")
    patterns = _texts("files", top.get("files", []))
    split = _splitting(top["split"])
    return FolderSchema(name, patterns, delimiter, ids, numeric, labels, split)


def _id_field(number: int, entry: Any) -> IdField:
    where = f"[[ids]] number {number + 1}"
    kinds = {name: type(value) for name, value in IdField("", "")._asdict().items()}
    given = _keys(where, entry, kinds, ("column",))
    field = IdField(**{"name": given["column"], **given})
    where = f"[[ids]] {field.name!r}"
    if field.role not in ROLES:
        raise unknown_name(f"role of {where}:", field.role, filter(None, ROLES))
    for key, least in (("min_count", 1), ("buckets", 1), ("length", 1)):
        if key in given and given[key] < least:
            raise InputError(f"{where}: {key} is {given[key]}, expected at least {least}")
    if "buckets" in given and "min_count" in given:
        raise InputError(f"{where}: has both buckets and min_count; hashed values are not counted")
    if field.table and {"buckets", "min_count"} & set(given):
        raise InputError(f"{where}: has a table, and buckets or min_count too; those of the table count")
    if "separator" in given and not field.length:
        raise InputError(f"{where}: has a separator but no length; a column with several values needs both")
    if not field.separator:
        raise InputError(f"{where}: separator is empty")
    return field


def _number_field(number: int, entry: Any) -> NumberField:
    kinds = {"name": str, "column": str, "transform": str}
    given = _keys(f"[[numeric]] number {number + 1}", entry, kinds, ("column",))
    field = NumberField(**{"name": given["column"], **given})
    if field.transform not in TRANSFORMS:
        raise unknown_name(f"transform of [[numeric]] {field.name!r}:", field.transform, TRANSFORMS)
    return field


def _label_field(number: int, entry: Any) -> LabelField:
    kinds: dict[str, Any] = {"name": str, "column": str, "mask": str, "kind": str, "num_classes": int}
    kinds |= {"parents": list, "requires": list, "loss": (str, dict)}
    given = _keys(f"[[tasks]] number {number + 1}", entry, kinds, ("column",))
    where = f"[[tasks]] {given.get('name', given['column'])!r}"
    loss = given.get("loss", "")
    loss = dict(loss) if isinstance(loss, Mapping) else {"name": loss}
    name = loss.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"{where}: loss has no 'name'")
    requires = _texts(f"{where}: requires", given.get("requires", []))
    parents = _texts(f"{where}: parents", given.get("parents", []))
    task = Task(
        name=given.get("name", given["column"]),
        kind=given.get("kind", "binary"),
        num_classes=given.get("num_classes", 2),
        parents=tuple(dict.fromkeys((*parents, *requires))),
        requires=requires,
        loss=name,
        loss_arguments=tuple(sorted(loss.items())),
    )
    if task.num_classes < 2:
        raise InputError(f"{where}: num_classes is {task.num_classes}, expected at least 2")
    if task.kind == "multiclass" and "num_classes" not in given:
        raise InputError(f"{where}: is multiclass and has no num_classes")
    task_graph([task._replace(parents=(), requires=())])  # its kind
    task_loss(task)
    return LabelField(task, given["column"], given.get("mask", ""))


def _splitting(entry: Any) -> Splitting:
    by = entry.get("by")
    if by not in SPLIT_KINDS:
        raise unknown_name("split.by", by, SPLIT_KINDS)
    parts: Any = (str, list)
    kinds: dict[str, dict[str, Any]] = {
        "fraction": {"val": float, "test": float, "seed": int, "column": str},
        "time": {"val": float, "test": float, "column": str},
        "column": {"train": parts, "val": parts, "test": parts, "column": str},
        "files": {"train": parts, "val": parts, "test": parts},
    }
    optional = ("by", "seed", *(("column",) if by == "fraction" else ()))
    needed = [key for key in kinds[by] if key not in optional]
    given = _keys("[split]", entry, {"by": str, **kinds[by]}, needed)
    if by in ("column", "files"):
        sets = {key: _texts(f"split.{key}", given[key]) for key in ("train", "val", "test")}
        for key, found in sets.items():
            if not found:
                raise InputError(f"split.{key} is empty")
        return Splitting(by, given.get("column", ""), sets["val"], sets["test"], sets["train"], 0)
    val, test = given["val"], given["test"]
    if not (0 < val < 1 and 0 < test < 1 and val + test < 1):
        raise InputError(
            f"split.val and split.test are {val:g} and {test:g}, expected shares that leave some"
        )
    if given.get("seed", 0) < 0:
        raise InputError(f"split.seed is {given['seed']}, expected an integer >= 0")
    return Splitting(by, given.get("column", ""), val, test, (), given.get("seed", 0))


def _keys(where: str, entry: Any, kinds: Mapping[str, Any], needed: Sequence[str]) -> dict[str, Any]:
    """Checks the keys of a table and the types of their values."""
    if not isinstance(entry, Mapping):
        raise InputError(f"{where} is {entry!r}, expected a table of keys")
    for key in entry:
        if key not in kinds:
            raise unknown_name(f"key in {where}:", key, kinds)
    for key in needed:
        if key not in entry:
            raise InputError(f"{where}: has no key {key!r}")
    found = {}
    for key, value in entry.items():
        kind = kinds[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise InputError(f"{where}: {key} is {value!r}, expected {names}")
        if kind is str and key != "role" and not value:
            raise InputError(f"{where}: {key} is empty")
        found[key] = value
    return found


def _texts(key: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{key} is {value!r}, expected text or a list of texts")
    return tuple(texts)
