"""The files that an option of a command names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datamodules.folder import IMAGE_SUFFIXES
from networks.checkpoints.errors import GanvasError


def files_of(path: Path, key: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The file that an option names, or those with these suffixes in the folder that it names, by name.

    Raises:
        GanvasError: if there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise GanvasError(f"{key}={path} is neither a file nor a folder; check the path.")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
    if not found:
        what = "images" if suffixes is IMAGE_SUFFIXES else key
        raise GanvasError(f"{key}={path} has no {what} ({', '.join(suffixes)}): put some there, or name another place.")
    return found


def file_of_each(path: Path, key: str, names: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """The file of each image: the only one, or the one of its name in a folder.

    Raises:
        GanvasError: if an image has none, or one file stands for several.
    """
    if path.is_file():
        if len(names) != 1:
            raise GanvasError(f"{key}={path} is one file for {len(names)} images: give a folder of files named like "
                              "them.")  # fmt: skip
        return [path]
    files = {file.stem: file for file in files_of(path, key, suffixes)}
    missing = [name for name in names if name not in files]
    if missing:
        raise GanvasError(f"{key}={path} has nothing for {missing[0]}: name it {missing[0]}{suffixes[0]}.")
    return [files[name] for name in names]
