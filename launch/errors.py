"""What ends a command early without being an error of the program."""

from __future__ import annotations


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during work that can go on later; the message says how to resume."""
