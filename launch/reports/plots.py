"""Plots of figures: IoU of each class, error against coverage, the course of a training, runs beside one another."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from PIL import Image

from launch.reports.values import Value, digits
from networks.checkpoints.classes import ClassList
from networks.metrics.segmentation import Reliability
from networks.metrics.uncertainty import RiskCoverage

MOST_LABELS = 12  # bars that have their values written above them


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # here: only a report needs it, and it is slow to import

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _axes(figure: Any, rows: int = 1) -> Any:
    """A column of plots, with as little ink as it takes."""
    every = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    return every


def _picture(figure: Any) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return Image.open(buffer).convert("RGB")


def course(points: Mapping[int, float], name: str) -> Image.Image:
    """A figure over the images seen, from 0."""
    figure = _figure(5.6, 3.4)
    (axes,) = _axes(figure)
    seen = sorted(points)
    axes.plot(seen, [points[step] for step in seen], marker="o", markersize=4)
    axes.annotate(f"{points[seen[-1]]:.3g}", (seen[-1], points[seen[-1]]), (0, 7), textcoords="offset points",
                  fontsize=8, ha="center")  # fmt: skip
    axes.set_xlim(0)
    axes.set_ylim(min(0.0, *points.values()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace(",", " "))
    axes.set_xlabel("images seen")
    axes.set_ylabel(name)
    return _picture(figure)


def class_bars(scores: Mapping[str, Mapping[str, float]], classes: ClassList) -> Image.Image:
    """IoU of each class; one row of bars for each evaluation.

    Args:
        scores: name of an evaluation -> class name -> IoU, NaN where a class does not occur.
        classes: for order and colours.
    """
    figure = _figure(9, 2.6 * len(scores))
    colors = [tuple(c / 255 for c in color) for color in classes.palette]
    for axes, (name, iou) in zip(_axes(figure, len(scores)), scores.items(), strict=True):
        heights = [0.0 if math.isnan(iou[c]) else iou[c] for c in classes.names]
        bars = axes.bar(range(len(classes)), heights, color=colors, edgecolor="#444444", linewidth=0.6)
        axes.bar_label(bars, ["absent" if math.isnan(iou[c]) else f"{iou[c]:.2f}" for c in classes.names], fontsize=8)
        slanted = {"rotation": 30, "ha": "right"} if len(classes) > 12 else {}
        axes.set_xticks(range(len(classes)), classes.names, fontsize=8, **slanted)
        axes.set_ylim(0, 1.1)
        axes.set_ylabel("IoU")
        axes.set_title(name, fontsize=9, loc="left")
    return _picture(figure)


def coverage_curves(curves: Mapping[str, RiskCoverage]) -> Image.Image:
    """Share of wrong pixels among the most certain ones, for each evaluation."""
    figure = _figure(5.6, 3.4)
    (axes,) = _axes(figure)
    for name, curve in curves.items():
        axes.plot(curve.coverage, curve.risk, label=f"{name} (area {curve.aurc:.4f})")
    axes.set_xlabel("coverage: share of pixels kept, most certain first")
    axes.set_ylabel("share of them wrong")
    axes.set_xlim(0, 1)
    axes.set_ylim(0)
    axes.legend(fontsize=8, frameon=False)
    return _picture(figure)


def reliability(bins: Mapping[str, Reliability]) -> Image.Image:
    """Accuracy of the pixels by how sure the branch is of them, for each evaluation; below, how many there are."""
    figure = _figure(5.6, 4.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    above.plot((0, 1), (0, 1), color="#999999", linestyle=":", label="as sure as right")
    for name, found in bins.items():
        seen = found.count > 0
        line, = above.plot(found.confidence[seen], found.accuracy[seen], marker="o", markersize=4,
                           label=f"{name} (error {found.error:.4f})")  # fmt: skip
        below.stairs(found.count / found.count.sum(), found.edges, color=line.get_color())
    above.set_ylabel("share of them right")
    above.set_ylim(0, 1.02)
    above.legend(fontsize=8, frameon=False)
    below.set_ylabel("share of pixels")
    below.set_yscale("log")
    below.set_ylim(1e-4, 1)
    below.minorticks_off()
    below.set_xlabel("probability that the branch gives its class")
    below.set_xlim(0, 1)
    return _picture(figure)


def histogram(values: np.ndarray, x: str, mark: float | None = None, bins: int = 40) -> Image.Image:
    """How often values occur; what lies above ``mark`` is drawn apart."""
    figure = _figure(5.6, 3.0)
    (axes,) = _axes(figure)
    edges = np.linspace(min(0.0, values.min()), max(values.max(), 1e-6), bins + 1)
    below = values if mark is None else values[values <= mark]
    axes.hist(below, edges, color="#4878a8", label="kept")
    if mark is not None:
        axes.hist(values[values > mark], edges, color="#d1605e", label=f"dropped, above {mark:.3f}")
        axes.legend(fontsize=8, frameon=False)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(x)
    axes.set_ylabel("images")
    return _picture(figure)


def label_curve(curve: Mapping[int, float]) -> Image.Image:
    """MIoU against the number of labels, which doubles from tick to tick."""
    points = {float(count): Value(miou, None, 1) for count, miou in curve.items()}
    return lines({"": points}, "labelled images", "mIoU on inverted held-out images", limits=(0, 1))


def lines(
    series: Mapping[str, Mapping[float, Value]], x: str, y: str, published: Mapping[float, Value] | None = None,
    limits: tuple[float, float] | None = None,
) -> Image.Image:  # fmt: skip
    """Values over an axis of numbers, with their deviations; over a logarithmic one where the numbers multiply.

    Args:
        series: name -> x -> value; a single series without a name has its values written beside its points.
        x: what the axis is.
        y: what the values are.
        published: values of a paper by the same protocol, marked as such.
        limits: of y.
    """
    figure = _figure(5.6, 3.4)
    (axes,) = _axes(figure)
    ticks = sorted({at for points in [*series.values(), published or {}] for at in points})
    for (name, points), marker in zip(series.items(), cycle("osv^Dp"), strict=False):
        at = sorted(points)
        axes.errorbar(at, [points[i].mean for i in at], [points[i].deviation or 0.0 for i in at], label=name,
                      marker=marker, markersize=5, capsize=3, linewidth=1.5)  # fmt: skip
    if published:
        at = sorted(published)
        axes.errorbar(at, [published[i].mean for i in at], [published[i].deviation or 0.0 for i in at], color="black",
                      label="published", marker="x", markersize=7, linestyle=":", capsize=3)  # fmt: skip
    if len(series) == 1 and "" in series:
        for at, value in series[""].items():
            axes.annotate(digits(value.mean), (at, value.mean), (5, 4), textcoords="offset points", fontsize=8)
    if ticks[0] > 0 and ticks[-1] >= 8 * ticks[0]:
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.margins(x=0.1, y=0.12)
    if limits is not None:
        axes.set_ylim(*limits)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if published or any(series):
        axes.legend(fontsize=8, frameon=False)
    return _picture(figure)


def pareto(methods: Mapping[str, Mapping[float, tuple[float, float]]], cost: str, gain: str) -> Image.Image:
    """What is gained against what is kept, a line a method, its points marked with their strengths.

    Args:
        methods: name -> strength -> (cost, gain).
        cost: name of the horizontal axis.
        gain: name of the vertical one.
    """
    figure = _figure(5.6, 3.8)
    (axes,) = _axes(figure)
    for name, points in methods.items():
        strengths = sorted(points)
        line = [points[strength] for strength in strengths]
        axes.plot(*zip(*line, strict=True), marker="o", markersize=5, label=name)
        for strength, at in zip(strengths, line, strict=True):
            axes.annotate(f"{strength:g}", at, (5, 4), textcoords="offset points", fontsize=8)
    axes.grid(alpha=0.3)
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel(cost)
    axes.set_ylabel(gain)
    axes.legend(fontsize=8, frameon=False)
    return _picture(figure)


def bars(
    series: Mapping[str, Mapping[str, Value]], y: str, published: Mapping[str, Value] | None = None
) -> Image.Image:
    """Values over names, with their deviations: a group of bars a name, a colour a series.

    Args:
        series: name -> name on the axis -> value.
        y: what the values are.
        published: values of a paper by the same protocol, marked as such.
    """
    names = list(dict.fromkeys(at for points in [*series.values(), published or {}] for at in points))
    figure = _figure(max(5.6, 1.1 + 0.34 * len(names) * (len(series) + 1)), 3.4)
    (axes,) = _axes(figure)
    width = 0.8 / len(series)
    for i, (name, points) in enumerate(series.items()):
        places = [names.index(at) + (i - (len(series) - 1) / 2) * width for at in points]
        means = [value.mean for value in points.values()]
        deviations = [value.deviation or 0.0 for value in points.values()]
        drawn = axes.bar(places, means, 0.92 * width, label=name)
        axes.errorbar(places, means, deviations, color="#444444", linestyle="", capsize=3)
        if len(series) * len(names) <= MOST_LABELS:
            axes.bar_label(drawn, map(digits, means), fontsize=8, padding=2)
    if published:
        axes.plot([names.index(at) for at in published], [value.mean for value in published.values()], color="black",
                  label="published", marker="x", markersize=8, linestyle="")  # fmt: skip
    slanted = {"rotation": 30, "ha": "right"} if sum(map(len, names)) > 60 else {}
    axes.set_xticks(range(len(names)), names, fontsize=8, **slanted)
    axes.margins(y=0.12)
    axes.set_ylabel(y)
    if published or any(series):
        axes.legend(fontsize=8, frameon=False)
    return _picture(figure)
