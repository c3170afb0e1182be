"""The exception and the warning that are meant for people."""

from __future__ import annotations


class GanvasError(Exception):
    """Bad input from outside: a file, a folder, a configuration.

    The message is one sentence that says what is wrong, where, and how to mend it. The command line prints it and
    exits with status 2; programming errors stay ``ValueError`` and ``TypeError``.
    """


class GanvasWarning(UserWarning):
    """What works, but perhaps not as it is meant to: one sentence, which the command line prints as it is."""
