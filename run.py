"""Launches studies: flags → config → plan → training → report.

    python run.py                                              # experiments/quickstart.py
    python run.py --config=experiments/census.py --workdir=runs/census
    python run.py --config=experiments/census.py --config.models="('mmoe','ple')" --config.seeds=10
    python run.py --workdir=runs/census --resume               # continue after a stop, bit-exact
    python run.py --workdir=runs/census --report               # rebuild tables, plots, report.html
    python run.py --config=experiments/census.py --dry_run     # runs, programs, memory, time: trains nothing
    python run.py --list                                       # what there is

Exit codes: 0 done, 2 bad input, 3 stopped with resumable state, 1 anything else.
"""

import errno
import json
import os
import re
import runpy
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags, logging
from ml_collections import config_dict, config_flags

from mtl.errors import InputError, unknown_name

QUICKSTART = Path(__file__).parent / "experiments" / "quickstart.py"
OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]*)")


class CommandLine(NamedTuple):
    """What was asked for.

    Attributes:
      flags: the flags below; `config` is the study's file.
      config: the study's config with its overrides, as plain dicts and lists.
      config_given: whether the command line named a study or overrode a key.
    """

    flags: flags.FlagValues
    config: dict[str, Any]
    config_given: bool


def main(argv: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    try:
        own, rest = _own_flags(argv)
        if own.help:
            return _help(own)
        line = _command_line(own, rest)
        if own.list:
            return _list()
        if own.report:
            return _report(line)
        return _dry_run(line) if own.dry_run else _study(line)
    except InputError as e:
        return _fail(2, str(e))
    except KeyboardInterrupt:
        return _fail(1, "stopped before there was anything to resume")
    except OSError as e:
        return _fail(2, _os_message(e))


def _own_flags(argv: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
    """Parses the flags that are not part of a study's config; returns the other arguments too."""
    own = flags.FlagValues()
    flags.DEFINE_string("config", str(QUICKSTART), "The study: a file with get_config().", own)
    flags.DEFINE_string("workdir", None, "Folder of the results; default: runs/<study name>.", own)
    flags.DEFINE_bool("resume", False, "Continue the study in --workdir.", own)
    flags.DEFINE_bool("report", False, "Only rebuild the report from the results in --workdir.", own)
    flags.DEFINE_bool("dry_run", False, "Measure what the study would take; train and write nothing.", own)
    flags.DEFINE_bool("list", False, "List data sets, models, weightings … and studies.", own)
    flags.DEFINE_string("data_dir", None, "Where prepared data sets live; default: MTL_DATA_DIR.", own)
    flags.DEFINE_string("manual_dir", None, "Where raw files lie; default: MTL_MANUAL_DIR.", own)
    flags.DEFINE_bool("help", False, "Show this.", own)
    own.set_gnu_getopt()
    try:
        return own, own(list(argv), known_only=True)
    except flags.Error as e:
        raise InputError(_one_line(e)) from None


def _command_line(own: flags.FlagValues, rest: list[str]) -> CommandLine:
    """Loads the study and applies the `--config.key=value` among the arguments."""
    from mtl import sweep

    config = _load_config(own.config)
    _check_keys(config, rest)
    values = flags.FlagValues()
    logging.set_verbosity(logging.FATAL)  # absl logs a traceback for a value of the wrong type
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
        values.set_gnu_getopt()
        positional = values(rest)[1:]
        overridden = sweep.plain(values.config)
    except flags.UnrecognizedFlagError as e:
        raise unknown_name("flag", f"--{e.flagname}", [f"--{name}" for name in own]) from None
    except (flags.Error, LookupError, TypeError, ValueError) as e:
        raise InputError(_value_message(e, config)) from None
    finally:
        logging.set_verbosity(logging.ERROR)
    if positional:
        raise InputError(
            f"unexpected argument {positional[0]!r}; all arguments are flags, such as --config=…"
        )
    given = own["config"].present > 0 or any(OVERRIDE.match(a) for a in rest)
    return CommandLine(own, overridden, given)


def _load_config(path: str) -> config_dict.ConfigDict:
    if not Path(path).is_file():
        raise InputError(f"--config: there is no file {path!r}; studies are in experiments/")
    try:
        study = runpy.run_path(path)
        if "get_config" not in study:
            raise InputError("has no get_config(); define one that returns mtl.sweep.study_config(…)")
        config = study["get_config"]()
        if not isinstance(config, config_dict.ConfigDict):
            raise InputError(
                f"get_config() returned {type(config).__name__}, expected what mtl.sweep.study_config returns"
            )
    except InputError as e:
        raise InputError(f"--config={path}: {_one_line(e)}") from None
    except Exception as e:
        # The file is the user's own code: whatever it raises is said in one line.
        raise InputError(f"--config={path}: {type(e).__name__}: {_one_line(e)}; mend the file") from None
    return config


def _check_keys(config: config_dict.ConfigDict, arguments: Sequence[str]) -> None:
    for override in filter(None, map(OVERRIDE.match, arguments)):
        node, place = config, "config"
        for key in override[1].split("."):
            if not isinstance(node, config_dict.ConfigDict):
                raise InputError(f"{place} is {node!r} and has no key {key!r}; set {place} as a whole")
            if key not in node:
                raise unknown_name(f"key in {place}:", key, node)
            node, place = node[key], f"{place}.{key}"


def _value_message(error: Exception, config: config_dict.ConfigDict) -> str:
    """Says which type a config value of the wrong type should have had."""
    found = re.match(r"flag --config\.([^=]*)=(.*?): ", str(error), re.DOTALL)
    if not found:
        return _one_line(error)
    default: Any = config
    for key in found[1].split("."):
        default = default[key]
    if isinstance(default, config_dict.ConfigDict):
        return f"config.{found[1]} is {found[2]!r}, expected a dict; set its keys one by one"
    kind = type(default).__name__
    return f"config.{found[1]} is {found[2]!r}, expected {kind}, such as the study's own {default!r}"


def _study(line: CommandLine) -> int:
    from mtl import problems, report, sweep
    from mtl.train import Stopped, one_device_per_core

    one_device_per_core()
    config = sweep.check_config(line.config)
    workdir = _workdir(line)
    stored = _stored_config(workdir) if line.flags.resume else None
    if stored is not None:
        if line.config_given and config != stored:
            raise InputError(
                f"--resume: the config differs from the one in {workdir / 'config.json'} "
                f"({_difference(stored, config)}); leave --config away, or choose another --workdir"
            )
        config = sweep.check_config(stored)
    if config["report"].get("reference"):
        report.read_published(config["report"]["reference"])  # a wrong name is said before training
    made = _prepare(workdir, resume=stored is not None)
    study = problems if problems.is_problem(config) else sweep
    try:
        plan = study.make_plan(config, data_dir=line.flags.data_dir, manual_dir=line.flags.manual_dir)
        if stored is None:
            _write_config(workdir, config, plan)
        failures = study.run_plan(plan, workdir, _StopRequest())
    except (Stopped, KeyboardInterrupt, OSError) as e:
        if not (workdir / "config.json").is_file():
            raise
        why = _os_message(e) if isinstance(e, OSError) else "stopped"
        return _fail(3, f"{why}; continue with: {_resume_command(line, workdir)}")
    finally:
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()
    code = 1 if failures else 0
    if len(failures) < sum(len(group.runs) for group in plan.groups):
        try:
            print(_build(workdir, config))
        except InputError as e:  # a full disk, say: the results are complete, only the report is missing
            code = _fail(3, f"{e}; then continue with: {_resume_command(line, workdir)}")
    for text in failures:
        _fail(code, text)
    return code


def _dry_run(line: CommandLine) -> int:
    from mtl import problems, sweep
    from mtl.train import one_device_per_core

    one_device_per_core()
    config = sweep.check_config(line.config)
    if problems.is_problem(config):
        raise InputError("--dry_run measures studies of models; this one follows a problem of a few numbers")
    plan = sweep.make_plan(config, data_dir=line.flags.data_dir, manual_dir=line.flags.manual_dir)
    for text in sweep.describe(plan):
        print(text, flush=True)
    return 0


class _StopRequest:
    """Becomes true on SIGINT or SIGTERM; a second signal ends the process at once."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        del number, frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("stopping at the next checkpoint; once more to stop now", file=sys.stderr, flush=True)

    def __call__(self) -> bool:
        return self.asked


def _workdir(line: CommandLine) -> Path:
    return Path(line.flags.workdir or f"runs/{line.config['name']}")


def _resume_command(line: CommandLine, workdir: Path) -> str:
    folders = {name: line.flags[name].value for name in ("data_dir", "manual_dir")}
    kept = [f"--{name}={folder}" for name, folder in folders.items() if folder]
    return shlex.join(["python", "run.py", f"--workdir={workdir}", *kept, "--resume"])


def _stored_config(workdir: Path) -> dict[str, Any]:
    path = workdir / "config.json"
    if not path.is_file():
        raise InputError(f"{workdir} holds no study (no config.json); start one without --resume or --report")
    try:
        stored = json.loads(path.read_text())["config"]
        if not isinstance(stored, dict):
            raise TypeError(f"config is {stored!r}")
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(
            f"{path} is damaged ({_one_line(e)}); start the study in another --workdir"
        ) from None
    return stored


def _prepare(workdir: Path, *, resume: bool) -> list[Path]:
    """Makes the workdir if it is free (or resumed) and can be written; returns the folders made."""
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir={workdir} is a file; name a folder")
    if workdir.is_dir() and any(workdir.iterdir()) and not resume:
        raise InputError(
            f"--workdir={workdir} is not empty and is never overwritten; continue it with --resume, "
            "or name another folder"
        )
    made = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / f".probe.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise
        raise InputError(
            f"--workdir={workdir} cannot be written: {e.strerror}; name a folder that can be"
        ) from None
    return made


def _write_config(workdir: Path, config: dict[str, Any], plan: Any) -> None:
    from mtl import sweep
    from mtl.files import to_json, write_atomic

    content = {
        "config": config,
        "provenance": sweep.provenance(plan.sample),
        "tasks": [t._asdict() for t in plan.tasks],
    }
    write_atomic(workdir / "config.json", to_json(content, indent=1) + "\n")


def _report(line: CommandLine) -> int:
    workdir = _workdir(line)
    print(_build(workdir, _stored_config(workdir)))
    return 0


def _build(workdir: Path, config: dict[str, Any]) -> str:
    from mtl import problems, report
    from mtl.report.problem import build_problem

    return build_problem(workdir) if problems.is_problem(config) else report.build(workdir)


def _list() -> int:
    from mtl.data import DATASETS
    from mtl.extractors import EXTRACTORS
    from mtl.models import PRESETS
    from mtl.problems import PROBLEMS
    from mtl.transfers import TRANSFERS
    from mtl.weightings import WEIGHTINGS

    studies = {p.stem: p for p in sorted(QUICKSTART.parent.glob("*.py")) if p.stem != "__init__"}
    for title, names in (
        ("data sets", DATASETS),
        ("problems", PROBLEMS),
        ("models", PRESETS),
        ("extractors", EXTRACTORS),
        ("transfers", TRANSFERS),
        ("weightings", WEIGHTINGS),
        ("studies", studies),
    ):
        print(f"{title + ':':<12} {', '.join(names)}")
    return 0


def _help(own: flags.FlagValues) -> int:
    print(f"{__doc__}\nFlags:\n")
    for name in own:
        print(f"  --{name:<12} {own[name].help}")
    print("  --config.KEY   Sets a key of the study's config, such as --config.seeds=10.")
    return 0


def _difference(stored: dict[str, Any], given: dict[str, Any], prefix: str = "config") -> str:
    for key in sorted({*stored, *given}):
        a, b = stored.get(key), given.get(key)
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict):
                return _difference(a, b, f"{prefix}.{key}")
            return f"{prefix}.{key} was {a!r}, now {b!r}"
    return prefix


def _os_message(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    advice = "; make room" if error.errno == errno.ENOSPC else ""
    return f"cannot read or write{where}: {error.strerror or _one_line(error)}{advice}"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    return text or type(error).__name__


def _fail(code: int, message: str) -> int:
    print(f"mtl: {message}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
