"""The report of a synthesis: what was drawn, what was dropped, and pictures of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image

from datamodules.shards import SynthesizedFolder
from editors import SegmentationEditor
from launch.reports.pictures import heat, overlay, panels
from launch.reports.plots import histogram
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.classes import IGNORE
from networks.grids import save_png, to_uint8
from networks.segmentation import segment_latents

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 12                                            # images on each sheet
SHEET, DROPPED, SPREAD = "images/sheet.png", "images/dropped.png", "images/uncertainty.png"  # in out=


def write_report(cfg: DictConfig, folder: SynthesizedFolder, editor: SegmentationEditor, figures: dict) -> None:
    """Write ``report.md`` and its pictures into the folder."""
    index, said = folder.index(), folder.plan
    order = index["uncertainty"].argsort(kind="stable")
    kept, dropped = (order[index["kept"][order] == wanted] for wanted in (True, False))
    limit, out = said["thresholds"]["image"], folder.path
    spread = histogram(index["uncertainty"], "uncertainty of an image's most uncertain tenth (nats)", limit)
    _save(spread, out / SPREAD)
    parts = [
        f"# {out.name}", f"`{cfg.command}`", _what(folder, figures), _table(figures),
        "## Classes", _classes(folder, index),
        "## Uncertainty", _uncertainty(said), f"![uncertainty]({SPREAD})",
    ]  # fmt: skip
    top = 0.0
    for title, picture, numbers in (
        ("What was kept", SHEET, kept), ("What was dropped", DROPPED, dropped)
    ):  # fmt: skip
        if not len(numbers):
            continue
        pick = numbers[np.linspace(0, len(numbers) - 1, min(SHOWN, len(numbers))).round().astype(int)]
        sheet, top = _sheet(folder, editor, index["numbers"][pick], cfg.batch, top)
        _save(sheet, out / picture)
        parts += [f"## {title}", f"{len(pick)} of {len(numbers)}, from the most certain to the most uncertain; "
                  f"*uncertain* is the members' disagreement (Jensen-Shannon), white at {top:.2f} nats.",
                  f"![{title.lower()}]({picture})"]  # fmt: skip
    with atomic_path(out / "report.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n")


def _what(folder: SynthesizedFolder, figures: dict) -> str:
    said = folder.plan
    where = "in tars that WebDataset reads" if said["layout"] == "tar" else "as images/ and masks/"
    return (f"{figures['images']} images of {said['resolution']}x{said['resolution']} with masks of "
            f"{len(folder.classes)} classes, {where}: samples with seed {said['seed']} and truncation "
            f"{said['truncation']:g}, labelled by the branch {said['segmentation'][:12]}.")  # fmt: skip


def _table(figures: dict) -> str:
    rows = [f"| {name} | {value:.4g} |" for name, value in figures.items()]
    return "\n".join(["| figure | value |", "|---|---|", *rows])


def _classes(folder: SynthesizedFolder, index: dict[str, np.ndarray]) -> str:
    kept, pixels = index["kept"], max(1, int(index["pixels"].sum()))
    images, dropped = max(1, int(kept.sum())), max(1, int((~kept).sum()))
    columns = zip(folder.classes.names, index["shown"], index["pixels"], index["dropped"], strict=True)
    rows = [
        f"| {name} | {100 * shown / images:.1f} | {100 * share / pixels:.2f} | {100 * lost / dropped:.1f} |"
        for name, shown, share, lost in columns
    ]
    told = ("A class that is shown far more often by what was dropped is one that the members do not agree on: lower "
            "`drop=` if it is rare and needed.")  # fmt: skip
    head = "| class | of the kept images show it, % | of their pixels, % | of the dropped images show it, % |"
    return "\n".join([head, "|---|---|---|---|", *rows, "", told])


def _uncertainty(said: dict) -> str:
    limits = said["thresholds"]
    image = ("No image was dropped." if limits["image"] is None else
             f"Images above {limits['image']:.3f} nats were dropped, which {said['drop']:.0%} of the first samples "
             "are.")  # fmt: skip
    pixel = "" if limits["pixel"] is None else (
        f" Pixels above {limits['pixel']:.3f} nats, {said['ignore']:.0%} of those, are *ignore* in the masks."
    )  # fmt: skip
    return image + pixel


def _sheet(
    folder: SynthesizedFolder, editor: SegmentationEditor, numbers: Sequence[int], batch: int, top: float
) -> tuple[Image.Image, float]:
    """Items by their numbers: image, mask, mask over the image, and uncertainty; and where its scale ends."""
    said = folder.plan
    drawn = [editor.generator.sample(1, said["seed"], truncation=said["truncation"], first=int(i)) for i in numbers]
    images, found = zip(*segment_latents(editor.head, editor.generator, drawn[0].cat(drawn), batch), strict=True)
    unsure = torch.cat([prediction.disagreement for prediction in found]).numpy()
    masks = torch.cat([prediction.mask for prediction in found]).numpy()
    if said["thresholds"]["pixel"] is not None:
        masks = np.where(unsure > said["thresholds"]["pixel"], np.uint8(IGNORE), masks)
    top = top or float(np.quantile(unsure, 0.995))
    pixels, classes = to_uint8(torch.cat(images)), folder.classes
    columns = {"image": pixels, "mask": classes.paint(masks), "over it": overlay(pixels, masks, classes),
               "uncertain": heat(unsure, top)}  # fmt: skip
    return panels(columns, across=2, classes=classes), top


def _save(picture: Image.Image, path: Path) -> None:
    save_png(np.asarray(picture.convert("RGB")), path)
