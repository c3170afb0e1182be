"""The report of a generator: its samples beside real images, its figures, and the course of its figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from PIL import Image

from launch.record import RunRecord, read_metrics
from launch.reports.plots import course
from networks.durations import duration
from networks.grids import tile

MOST, SHEET = 64, 2048   # pictures in a grid, and pixels a side that it may take
ELAPSED = "seconds"      # in metrics.jsonl: what the run took up to there, without pauses between resumptions


def shown(resolution: int) -> int:
    """How many pictures of this size a grid shows.

    Example:
        >>> [shown(r) for r in (64, 256, 512, 1024)]
        [64, 64, 16, 4]
    """
    return min(MOST, max(SHEET // resolution, 2) ** 2)


def grid(pictures: np.ndarray) -> Image.Image:
    """``uint8 [N, H, W, 3]`` as one picture, small ones enlarged."""
    return Image.fromarray(tile(pictures, scale=max(128 // pictures.shape[1], 1)))


def real_grid(images: np.ndarray) -> Image.Image:
    """Some of ``uint8 [N, 3, R, R]``, drawn from all of them, always the same."""
    count = min(shown(images.shape[-1]), len(images))
    chosen = np.sort(np.random.default_rng(0).choice(len(images), count, replace=False))
    return grid(np.asarray(images[chosen]).transpose(0, 2, 3, 1))


def elapsed(record: RunRecord) -> float:
    """Seconds that the run took up to the last line of its metrics that says so."""
    return max((line[ELAPSED] for line in _lines(record) if line.get(ELAPSED)), default=0.0)


def write_report(
    cfg: DictConfig, record: RunRecord, figures: dict[str, float], protocol: str, samples: Path, real: Path
) -> None:
    """Write ``report.md``.

    Args:
        cfg: the run's configuration.
        record: the run's record, its metrics complete.
        figures: headline figures; those but ``images_seen`` are measured in the course of the run too.
        protocol: of the measurement.
        samples: a grid of samples.
        real: a grid of training images.
    """
    rows = [f"| {name} | {value:.4g} |" for name, value in figures.items() if name != "images_seen"]
    sheets = [path.relative_to(record.path) for path in (samples, real)]
    record.write_report("\n".join([
        f"# {cfg.experiment or cfg.task.name}", "", f"`{cfg.command}`", "",
        "| figure | value |", "|---|---|", f"| images seen | {figures['images_seen']:.0f} |", *rows,
        *_pace(record, figures["images_seen"]), "",
        f"Protocol: {protocol}.", "",
        "| samples | training images |", "|---|---|", f"| ![samples]({sheets[0]}) | ![training images]({sheets[1]}) |",
        "", *_courses(record, figures),
    ]))  # fmt: skip


def _pace(record: RunRecord, images: float) -> list[str]:
    seconds = elapsed(record)
    if not seconds:
        return []
    rate = images / seconds
    return [f"| wall time | {duration(seconds)} |", f"| images a second, measurements included | {rate:.3g} |"]


def _courses(record: RunRecord, figures: dict[str, float]) -> Iterator[str]:
    """A chart of each figure that was measured more than once."""
    lines = list(_lines(record))
    for name in figures:
        points = {line["step"]: line[name] for line in lines if line.get(name) is not None}
        if name != "images_seen" and len(points) > 1:
            picture = record.image(f"course-{name}", course(points, name), max(points))
            yield f"![{name} in the course of the run]({picture.relative_to(record.path)})\n"


def _lines(record: RunRecord) -> Iterator[dict[str, float]]:
    return read_metrics(record.metrics) if record.metrics.exists() else iter(())
