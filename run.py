"""Launches studies: flags → config → plan → training → report.

    python run.py                                              # experiments/quickstart.py
    python run.py --config=experiments/census.py --workdir=runs/census
    python run.py --config=experiments/census.py --config.models="('mmoe','ple')" --config.seeds=10
    python run.py --workdir=runs/census --resume               # continue after a stop, bit-exact
    python run.py --workdir=runs/census --report               # rebuild tables, plots, report.html
    python run.py --list                                       # what there is

Exit codes: 0 done, 2 bad input, 3 stopped with resumable state, 1 anything else.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from mtl.errors import InputError

QUICKSTART = Path(__file__).parent / "experiments" / "quickstart.py"

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", str(QUICKSTART), "A study: a file with get_config().")
flags.DEFINE_string("workdir", None, "Folder of the results; default: runs/<study name>.")
flags.DEFINE_bool("resume", False, "Continue the study in --workdir.")
flags.DEFINE_bool("report", False, "Only rebuild the report from the results in --workdir.")
flags.DEFINE_bool("list", False, "List data sets, models, weightings … and studies.")
flags.DEFINE_string("data_dir", None, "Where prepared data sets live; default: MTL_DATA_DIR.")
flags.DEFINE_string("manual_dir", None, "Where raw files lie; default: MTL_MANUAL_DIR.")


def main(argv: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    try:
        _parse(argv)
        if FLAGS.list:
            return _list()
        if FLAGS.report:
            return _report(_existing_workdir())
        return _study()
    except InputError as e:
        return _fail(2, str(e))
    except KeyboardInterrupt:
        return _fail(3, "stopped; continue with --resume")
    except OSError as e:
        return _fail(*_os_error(e))


def _parse(argv: Sequence[str]) -> None:
    logging.set_verbosity(logging.FATAL)  # absl logs a traceback for a mistyped config key
    try:
        rest = FLAGS(list(argv))
        _ = FLAGS.config
    except AttributeError as e:
        key = str(e).strip("\"'")
        raise InputError(f"unknown config key {key!r}; see the study's get_config() for its keys") from None
    except (flags.Error, OSError, KeyError, TypeError, ValueError) as e:
        raise InputError(_flag_message(e, argv)) from None
    except Exception as e:
        # The config file is the user's own code: whatever it raises is said in one line.
        raise InputError(f"--config: {type(e).__name__}: {_one_line(e)}") from None
    finally:
        logging.set_verbosity(logging.ERROR)
    if len(rest) > 1:
        raise InputError(f"unexpected argument {rest[1]!r}; all arguments are flags, such as --config=…")


def _flag_message(error: Exception, argv: Sequence[str]) -> str:
    for a in argv:
        path = a.removeprefix("--config=").removeprefix("-config=")
        if path != a and not Path(path).is_file():
            return f"--config: there is no file {path!r}; studies are in experiments/"
    return _one_line(error)


def _study() -> int:
    from mtl import sweep
    from mtl.train import Stopped

    given = sweep.plain(FLAGS.config)
    workdir = _workdir(given)
    stored = _stored_config(workdir) if FLAGS.resume else None
    if stored is not None:
        if _config_was_given() and given != stored:
            raise InputError(
                f"--resume: the config differs from the one in {workdir / 'config.json'} "
                f"({_difference(stored, given)}); leave --config away, or choose another --workdir"
            )
        given = stored
    config = sweep.check_config(given)
    _prepare(workdir)
    stop = _StopRequest()
    try:
        plan = sweep.make_plan(config, data_dir=FLAGS.data_dir, manual_dir=FLAGS.manual_dir)
        if stored is None:
            _write_config(workdir, config, plan)
        failures = sweep.run_plan(plan, workdir, stop)
    except Stopped:
        return _fail(3, f"stopped; continue with: python run.py --workdir={workdir} --resume")
    except BaseException:
        _remove_if_empty(workdir)
        raise
    print(_summary(workdir))
    for line in failures:
        _fail(1, line)
    return 1 if failures else 0


class _StopRequest:
    """Becomes true on SIGINT or SIGTERM; a second signal ends the process at once."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        del frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("stopping at the next checkpoint; once more to stop now", file=sys.stderr, flush=True)

    def __call__(self) -> bool:
        return self.asked


def _workdir(config: dict[str, Any]) -> Path:
    return Path(FLAGS.workdir or f"runs/{config.get('name', 'study')}")


def _config_was_given() -> bool:
    return any(a.lstrip("-").startswith("config") for a in sys.argv[1:])


def _existing_workdir() -> Path:
    from mtl import sweep

    workdir = _workdir(sweep.plain(FLAGS.config))
    _stored_config(workdir)
    return workdir


def _stored_config(workdir: Path) -> dict[str, Any]:
    path = workdir / "config.json"
    if not path.is_file():
        raise InputError(f"{workdir} holds no study (no config.json); start one without --resume or --report")
    try:
        return json.loads(path.read_text())["config"]
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(
            f"{path} is damaged ({_one_line(e)}); start the study in another --workdir"
        ) from None


def _prepare(workdir: Path) -> None:
    """Checks that the workdir is free (or resumed) and can be written, before anything slow happens."""
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir={workdir} is a file; name a folder")
    if workdir.is_dir() and any(workdir.iterdir()) and not FLAGS.resume:
        raise InputError(
            f"--workdir={workdir} is not empty and is never overwritten; continue it with --resume, "
            "or name another folder"
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / f".probe.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise
        raise InputError(f"--workdir={workdir} cannot be written: {e.strerror}") from None


def _remove_if_empty(workdir: Path) -> None:
    if workdir.is_dir() and not any(workdir.iterdir()):
        workdir.rmdir()


def _write_config(workdir: Path, config: dict[str, Any], plan: Any) -> None:
    from mtl import sweep
    from mtl.files import to_json, write_atomic

    content = {
        "config": config,
        "provenance": sweep.provenance([sets[0] for sets in plan.data]),
        "tasks": [t._asdict() for t in plan.tasks],
    }
    write_atomic(workdir / "config.json", to_json(content, indent=1) + "\n")


def _summary(workdir: Path) -> str:
    from mtl import report

    return report.build(workdir)


def _report(workdir: Path) -> int:
    print(_summary(workdir))
    return 0


def _list() -> int:
    from mtl.data import DATASETS
    from mtl.extractors import EXTRACTORS
    from mtl.models import PRESETS
    from mtl.transfers import TRANSFERS
    from mtl.weightings import WEIGHTINGS

    studies = {p.stem: p for p in sorted(QUICKSTART.parent.glob("*.py")) if p.stem != "__init__"}
    for title, names in (
        ("data sets", DATASETS),
        ("models", PRESETS),
        ("extractors", EXTRACTORS),
        ("transfers", TRANSFERS),
        ("weightings", WEIGHTINGS),
        ("studies", studies),
    ):
        print(f"{title + ':':<12} {', '.join(names)}")
    return 0


def _difference(stored: dict[str, Any], given: dict[str, Any], prefix: str = "config") -> str:
    for key in sorted({*stored, *given}):
        a, b = stored.get(key), given.get(key)
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict):
                return _difference(a, b, f"{prefix}.{key}")
            return f"{prefix}.{key} was {a!r}, now {b!r}"
    return prefix


def _os_error(error: OSError) -> tuple[int, str]:
    resumable = FLAGS.is_parsed() and (_workdir_or_none() is not None)
    where = f" {error.filename}" if error.filename else ""
    message = f"cannot write{where}: {error.strerror or _one_line(error)}"
    if resumable:
        return (
            3,
            f"{message}; make room and continue with: python run.py --workdir={_workdir_or_none()} --resume",
        )
    return 2, message


def _workdir_or_none() -> Path | None:
    from mtl import sweep

    workdir = _workdir(sweep.plain(FLAGS.config))
    return workdir if (workdir / "config.json").is_file() else None


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    return text or type(error).__name__


def _fail(code: int, message: str) -> int:
    print(f"mtl: {message}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
