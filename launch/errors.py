"""What ends a command early without being an error of the program."""

from __future__ import annotations

import errno
from collections.abc import Iterator


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during work that can go on later; the message says how to resume."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as `kill` and schedulers send it: whatever tidies up after Ctrl-C does so then too."""


def was_raised(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether ``error``, or what it was raised in answer to, is of this kind.

    Lightning turns Ctrl-C into ``sys.exit(1)`` after its own tidying up; the interrupt is then the exit's context.
    """
    return any(isinstance(link, kind) for link in _chain(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, torch's allocator or a GPU had no memory left."""
    gpu = type(error).__name__ == "OutOfMemoryError"  # torch's, without importing torch here
    return gpu or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


def is_disk_full(error: BaseException) -> bool:
    """Whether a disk, or the share of it that one may use, had no room left."""
    full = (errno.ENOSPC, errno.EDQUOT)
    words = "No space left on device"  # what libraries written in Rust and C++ leave of the error's number
    return any((isinstance(link, OSError) and link.errno in full) or words in str(link) for link in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
