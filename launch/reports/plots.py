"""Plots of figures: IoU of each class, error against coverage, mIoU against labels, and the course of a training."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

from PIL import Image

from networks.checkpoints.classes import ClassList
from networks.metrics.uncertainty import RiskCoverage


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


def label_curve(curve: Mapping[int, float]) -> Image.Image:
    """MIoU against the number of labels, which doubles from tick to tick."""
    figure = _figure(5.6, 3.4)
    (axes,) = _axes(figure)
    counts = sorted(curve)
    axes.plot(counts, [curve[count] for count in counts], marker="o")
    for count in counts:
        axes.annotate(f"{curve[count]:.3f}", (count, curve[count]), (0, 7), textcoords="offset points", fontsize=8,
                      ha="center")  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, counts)
    axes.margins(x=0.08)
    axes.set_ylim(0, 1)
    axes.set_xlabel("labelled images")
    axes.set_ylabel("mIoU on inverted held-out images")
    return _picture(figure)
