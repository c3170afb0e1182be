"""What a logger takes, and the thread that keeps each of them from failing or delaying the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PATIENCE = 120.0  # seconds that the end of a run waits for each logger

Cell = str | float | int | None  # None: nothing to say


class Logger:
    """What a run tells; a logger overrides what it can show."""

    later = ""  # what to do where the end of the run cannot wait for it

    def rewind(self, step: int) -> None:
        """Forget what was logged after ``step``: a resumed run logs it again."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Figures at ``step`` of the run's own clock."""

    def image(self, name: str, path: Path, step: int) -> None:
        """A picture, as a file that stays."""

    def overlays(
        self, name: str, images: np.ndarray, masks: Mapping[str, np.ndarray], classes: Sequence[str]
    ) -> None:
        """Images with masks over them; see :meth:`launch.record.RunRecord.overlays`."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A table of words and figures."""

    def finish(self, figures: Mapping[str, float | str], bundles: Sequence[Path]) -> None:
        """The headline figures, and what was exported."""

    def close(self) -> None:
        """Let go of everything; nothing follows."""


class Guest:
    """One logger in a thread of its own, begun with the first thing to log.

    Whatever it raises is said once, and ends the logging, not the run. The run never waits for it but at its end, and
    then not for ever. What waits to be logged is held without bound, which is little: a line of figures every thousand
    images, and each picture's path.

    Args:
        title: what people call it.
        begin: makes the logger, in the thread.
        patience: seconds that :meth:`close` waits.
    """

    def __init__(self, title: str, begin: Callable[[], Logger], patience: float = PATIENCE) -> None:
        self._title, self._begin, self._patience = title, begin, patience
        self._todo: SimpleQueue[Callable[[Logger], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._done = False
        self._later = ""

    def do(self, act: Callable[[Logger], None]) -> None:
        """Have ``act`` called with the logger, after what was asked for before."""
        if self._done:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._title, daemon=True)
            self._thread.start()
        self._todo.put(act)

    def close(self) -> None:
        """Have everything logged and end; a logger that takes too long is left behind."""
        if self._thread is None:
            self._done = True
        if self._thread is None or not self._thread.is_alive():
            return
        self._done = True
        self._todo.put(None)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            print(f"{self._title} is still busy and is left behind. {self._later}".rstrip())

    def _work(self) -> None:
        log: Logger | None = None
        try:
            log = self._begin()
            self._later = log.later
            for act in iter(self._todo.get, None):
                act(log)
        except Exception as error:  # whatever a logger raises, the run goes on
            self._done = True
            print(f"{self._title} logging stopped ({type(error).__name__}: {first_line(error)}); the run goes on, see "
                  "metrics.jsonl.")  # fmt: skip
        finally:
            if log is not None:
                self._end(log)

    def _end(self, log: Logger) -> None:
        try:
            log.close()
        except Exception as error:
            print(f"{self._title} could not end its run: {type(error).__name__}: {first_line(error)}")


def first_line(error: Exception) -> str:
    """What an error says, without the advice that some give in further lines."""
    return str(error).strip().partition("\n")[0]


class Loggers(Logger):
    """Several loggers as one."""

    def __init__(self, guests: Sequence[Guest]) -> None:
        self._guests = guests

    def rewind(self, step: int) -> None:
        self._each(lambda log: log.rewind(step))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        kept = dict(values)  # the caller's may change before the thread comes to it
        self._each(lambda log: log.scalars(kept, step))

    def image(self, name: str, path: Path, step: int) -> None:
        self._each(lambda log: log.image(name, path, step))

    def overlays(
        self, name: str, images: np.ndarray, masks: Mapping[str, np.ndarray], classes: Sequence[str]
    ) -> None:
        self._each(lambda log: log.overlays(name, images, masks, classes))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        self._each(lambda log: log.table(name, columns, rows))

    def finish(self, figures: Mapping[str, float | str], bundles: Sequence[Path]) -> None:
        self._each(lambda log: log.finish(figures, bundles))

    def close(self) -> None:
        for guest in self._guests:
            guest.close()

    def _each(self, act: Callable[[Logger], None]) -> None:
        for guest in self._guests:
            guest.do(act)
