"""The one exception for mistakes that the user can mend."""


class InputError(ValueError):
    """Bad input: a flag, a config key, a file, a column, a shape, a value.

    The message is one line that names what was wrong, what was expected and what to do.
    `run.py` prints it on stderr and exits with code 2; library users may catch it as a `ValueError`.
    """


def unknown_name(what: str, name: object, known: object) -> InputError:
    """Returns the error for a name that is not a key of a literal dict.

    Args:
      what: the kind of thing that was looked up, such as "weighting".
      name: the name that was given.
      known: an iterable of the accepted names.

    Returns:
      An `InputError` whose message lists the accepted names and the closest one.
    """
    import difflib

    names = sorted(map(str, known))  # type: ignore[call-overload]
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return InputError(f"unknown {what} {name!r}{hint}; expected one of: {', '.join(names)}")
