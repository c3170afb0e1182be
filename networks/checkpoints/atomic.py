"""Writing a file or a folder so that a reader sees either the old one or the whole new one, never half of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from networks.checkpoints.errors import GanvasError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path``, moved onto ``path`` when the block ends well.

    The temporary file is in the same folder because a rename is atomic only inside one file system. If the block
    raises, it is removed and ``path`` stays what it was. Missing folders are made.

    Raises:
        GanvasError: if the folder or the file cannot be written.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_path(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> [p.name for p in folder.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise GanvasError(f"cannot write {path}: {error.strerror}; choose another folder or free some space") from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; a finished file gets the rights that open() would have given it.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise GanvasError(f"cannot write {path}: {error.strerror}; choose another folder or free some space") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, replaces: str | None = None) -> Iterator[Path]:
    """A temporary folder beside ``path``, moved to ``path`` when the block ends well: seen whole or not at all.

    Args:
        path: the folder to write.
        replaces: name of a file; a folder that holds it was written this way before, and gives way to the new one.

    Raises:
        GanvasError: if ``path`` holds other files, or cannot be written.
    """
    path = Path(path)
    old = path.is_dir() and any(path.iterdir())
    if (path.exists() and not path.is_dir()) or (old and not (replaces and (path / replaces).is_file())):
        raise GanvasError(f"{path} already exists and is not an empty folder; choose another place.")
    temporary = None
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.absolute().parent))
        temporary.chmod(0o777 & ~_umask())
        (temporary / "new").mkdir()
        yield temporary / "new"
        if path.exists():
            path.replace(temporary / "old")
        (temporary / "new").replace(path)
    except OSError as error:
        raise GanvasError(f"cannot write {path}: {error.strerror}; choose another folder or free some space") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    """The process's file mode mask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
