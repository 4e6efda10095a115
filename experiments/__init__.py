"""Studies: one file each, with `get_config()`; the docstring gives command, time and expected result."""
