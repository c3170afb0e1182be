"""The report of a feed-forward labeller: figures with their protocol, and what it makes of held-out images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image

from datamodules.masks import LabelledImages
from launch.figures import Figure
from launch.record import RunRecord
from launch.reports.pictures import errors, heat, panels
from launch.reports.plots import class_bars, reliability
from launch.segmenter_data import Examples
from networks.metrics.uncertainty import entropy
from networks.segmenters import Segmenter
from trainers.segmenter import SegmenterTrainer

SHOWN = 12   # held-out images in the picture


def write_report(
    cfg: DictConfig, record: RunRecord, found: Examples, module: SegmenterTrainer, protocol: str,
    figures: Mapping[str, Figure],
) -> None:  # fmt: skip
    """Write ``report.md`` and its pictures into the record."""
    scores, classes = module.score.compute(), found.seen.classes
    first = found.heldout.take(range(min(SHOWN, len(found.heldout))))
    picture = record.image("heldout", sheet(module.network, first))
    bars = record.image("classes-iou", class_bars({"held-out images": scores["iou"]}, classes))
    sure = record.image("reliability", reliability({"held-out images": module.score.reliability()}))
    rows = [f"| {name} | {figure.value:.4g} |" for name, figure in figures.items()]
    datasetgan = f"| mIoU, absent classes count as 0 (DatasetGAN) | {scores['miou_datasetgan']:.4f} |"
    ious = [f"| {name} | {value:.4f} |" for name, value in scores["iou"].items()]
    links = {path.stem: path.relative_to(record.path) for path in (picture, bars, sure)}
    record.write_report("\n".join([
        f"# {cfg.experiment or 'segmenter'}", "", f"`{cfg.command}`", "",
        f"{_called(cfg)} trained on {len(found.seen)} images with masks ({found.learned}), {module.total_steps} steps "
        f"of {cfg.task.batch_size}, seed {cfg.seed}. Scores: {protocol}.", "",
        "| figure | value |", "|---|---|", *rows, datasetgan, "", *_compared(figures),
        "| class | IoU |", "|---|---|", *ious, "", f"![IoU of each class]({links['classes-iou']})", "",
        f"## Held-out images: {found.source}", "",
        "*Unsure* is the entropy of the predicted probabilities, white at ln 2: one network has no members that could "
        "disagree.", "", f"![held-out images]({links['heldout']})", "",
        "## As sure as right", "",
        "How often pixels are right, by the probability of the class that they are given.", "",
        f"![reliability]({links['reliability']})", "",
    ]))  # fmt: skip


def _called(cfg: DictConfig) -> str:
    network = cfg.task.network
    return f"A {network.architecture} with encoder {network.encoder}" if "encoder" in network else "A U-Net"


def _compared(figures: Mapping[str, Figure]) -> list[str]:
    if "mIoU_branch" not in figures:
        return []
    branch, seconds = figures["mIoU_branch"], figures["seconds_per_image"]
    return [f"*branch*: {branch.protocol}. The seconds are of {seconds.protocol}; the branch inverts each image first, "
            "and nothing is taken from the cache.", ""]  # fmt: skip


def sheet(network: Segmenter, images: LabelledImages) -> Image.Image:
    """Held-out images: the image, its mask, the network's, where the two differ, and where the network is unsure."""
    given = torch.as_tensor(images.images).float() / 127.5 - 1
    with torch.inference_mode():
        probabilities = network.eval().cpu()(given).softmax(1)
    predicted, classes = probabilities.argmax(1).to(torch.uint8).numpy(), images.classes
    columns = {
        "image": images.images.transpose(0, 2, 3, 1), "truth": classes.paint(images.masks),
        "network": classes.paint(predicted), "wrong": errors(predicted, images.masks),
        "unsure": heat(entropy(probabilities, 1).numpy(), float(np.log(2))),
    }  # fmt: skip
    return panels(columns, across=2, classes=classes)
