"""What is remembered of source images, in memory where it is small, and in the cache's files where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from networks.checkpoints.atomic import atomic_folder
from networks.checkpoints.cache_dir import cache_dir

Parts = Iterator[Mapping[str, Tensor]]


def keep(parts: Callable[[], Parts], count: int, limit: int, key: str, progress: bool = True) -> dict[str, np.ndarray]:
    """Gather what ``parts`` gives, ``[n, ...]`` each, for ``count`` items in all.

    Args:
        parts: makes the parts; called at most once.
        count: items of all parts together.
        limit: bytes that are held in memory; more goes to files that are mapped into it, and found again by ``key``.
        key: names all that the result depends on.
        progress: show a bar.

    Raises:
        GanvasError: if the cache cannot be written.
    """
    folder = cache_dir() / "sources" / key
    if folder.is_dir():
        return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
    stream = parts()
    first = next(stream)
    size = sum(x.element_size() * x[0].numel() for x in first.values()) * count
    if size <= limit:
        made = {name: np.empty((count, *x.shape[1:]), _type(x)) for name, x in first.items()}
        _fill(made, chain([first], stream), count, progress)
        return made
    with atomic_folder(folder) as temporary:
        made = {name: _mapped(temporary / f"{name}.npy", (count, *x.shape[1:]), _type(x)) for name, x in first.items()}
        _fill(made, chain([first], stream), count, progress)
        for array in made.values():
            array.flush()  # type: ignore[attr-defined]
        del made
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}


def _fill(made: Mapping[str, np.ndarray], parts: Parts, count: int, progress: bool) -> None:
    start = 0
    with tqdm(total=count, desc="sources", unit="image", disable=not progress) as bar:
        for part in parts:
            n = len(next(iter(part.values())))
            for name, x in part.items():
                made[name][start : start + n] = x.numpy()
            start += n
            bar.update(n)


def _type(x: Tensor) -> np.dtype:
    return x[:0].numpy().dtype


def _mapped(path: Path, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
