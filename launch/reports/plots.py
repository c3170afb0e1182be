"""Plots of a segmentation's figures: IoU of each class, calibration, and error against coverage."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

from PIL import Image

from datamodules.masks import ClassList
from networks.metrics.uncertainty import RiskCoverage


def _picture(figure: Any) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return Image.open(buffer).convert("RGB")


def class_bars(scores: Mapping[str, Mapping[str, float]], classes: ClassList) -> Image.Image:
    """IoU of each class; one row of bars for each evaluation.

    Args:
        scores: name of an evaluation -> class name -> IoU, NaN where a class does not occur.
        classes: for order and colours.
    """
    from matplotlib.figure import Figure  # here: a report is the only thing that needs it

    figure = Figure(figsize=(9, 2.6 * len(scores)), dpi=90, layout="constrained")
    colors = [tuple(c / 255 for c in color) for color in classes.palette]
    for axes, (name, iou) in zip(figure.subplots(len(scores), 1, squeeze=False)[:, 0], scores.items(), strict=True):
        heights = [0.0 if math.isnan(iou[c]) else iou[c] for c in classes.names]
        bars = axes.bar(range(len(classes)), heights, color=colors, edgecolor="black", linewidth=0.5)
        axes.bar_label(bars, ["absent" if math.isnan(iou[c]) else f"{iou[c]:.2f}" for c in classes.names], fontsize=8)
        axes.set_xticks(range(len(classes)), classes.names, rotation=20, fontsize=8)
        axes.set_ylim(0, 1.12)
        axes.set_ylabel("IoU")
        axes.set_title(name, fontsize=9)
    return _picture(figure)


def coverage_curves(curves: Mapping[str, RiskCoverage]) -> Image.Image:
    """Share of wrong pixels among the most certain ones, for each evaluation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.4), dpi=90, layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(curve.coverage, curve.risk, label=f"{name} (area {curve.aurc:.4f})")
    axes.set_xlabel("coverage: share of pixels kept, most certain first")
    axes.set_ylabel("share of them wrong")
    axes.set_xlim(0, 1)
    axes.set_ylim(0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _picture(figure)
