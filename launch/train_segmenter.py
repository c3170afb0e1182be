"""``task=segmenter``: a feed-forward network from images with masks, and its score on held-out ones."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from datamodules.masks import LabelledImages
from launch.epochs import fit_epochs
from launch.figures import Figure, Protocol, all_by
from launch.hardware import device_of
from launch.limits import require_at_least
from launch.options import arguments
from launch.record import RunRecord
from launch.reports.segmenter import write_report
from launch.segmenter_against import branch_of, compare, over
from launch.segmenter_data import Examples, examples
from networks.checkpoints.errors import GanvasError
from networks.segmenter_library import LibrarySegmenter
from networks.segmenters import save_segmenter
from networks.unet import UNet
from trainers.segmenter import SegmenterTrainer, labelled_batches


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Train, resume where the record holds a checkpoint, score on held-out images, export.

    Returns:
        Headline figures on the held-out images: mIoU (absent classes left out), over the drawn classes too if
        ``task.drawn`` names them, pixel accuracy, calibration error; and those of the branch that is compared with.

    Raises:
        GanvasError: if the images cannot be used, there are fewer than a batch, or the loss is not a number.
    """
    require_at_least(cfg, {"task.epochs": 1, "task.least_steps": 0, "task.batch_size": 1, "task.labels": 1, "n": 1,
                           "task.heldout": 1, "task.timed": 1})  # fmt: skip
    found = examples(cfg)
    branch = branch_of(cfg, found)
    batches = batches_of(cfg, found.seen)
    module = build(cfg, found, total_steps=cfg.task.epochs * len(batches))
    heldout = found.heldout
    scored = labelled_batches(torch.as_tensor(heldout.images), torch.as_tensor(heldout.masks), cfg.task.batch_size)
    fit_epochs(cfg, record, module, batches, scored, lambda: {"heldout_miou": module.score.compute()["miou"]})

    scores, protocol = module.score.compute(), _protocol(found)
    figures = all_by(protocol, {
        "mIoU": scores["miou"], "pixel_accuracy": scores["pixel_accuracy"], "ece": scores["ece"],
    })  # fmt: skip
    if (drawn := over(scores["iou"], cfg.task.drawn, found.seen.classes)) is not None:
        figures["mIoU_drawn"] = Figure(drawn, protocol)
    save_segmenter(record.export / "segmenter.safetensors", module.network, manifest(cfg, scores, found, module))
    if branch is not None:
        figures |= compare(cfg, branch, module.network.eval().to(device_of(cfg.trainer)), found)
    write_report(cfg, record, found, module, str(protocol), figures)
    return figures


def batches_of(cfg: DictConfig, seen: LabelledImages) -> DataLoader:
    """What an epoch shows: every image once, and again until there are as many as ``task.least_steps`` asks for."""
    least = math.ceil(cfg.task.least_steps / cfg.task.epochs) * cfg.task.batch_size
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to them
        images, masks = torch.as_tensor(seen.images), torch.as_tensor(seen.masks)
    return labelled_batches(images, masks, cfg.task.batch_size, cfg.seed, least)


def build(cfg: DictConfig, found: Examples, total_steps: int) -> SegmenterTrainer:
    """The network and its trainer, with weights drawn from the seed."""
    torch.manual_seed(cfg.seed)
    names = found.seen.classes.names
    network = network_of(cfg, len(names))
    if found.resolution % network.multiple:
        key = "data.resolution" if "resolution" in cfg.data else "the images' side"
        raise GanvasError(f"{key}={found.resolution} must be a multiple of {network.multiple}.")
    return instantiate(cfg.task.training, network=network, class_names=names, total_steps=total_steps, seed=cfg.seed)


def network_of(cfg: DictConfig, classes: int) -> UNet | LibrarySegmenter:
    """The network that ``cfg.task.network`` describes.

    Raises:
        GanvasError: if a value makes no sense. Hydra's own ``instantiate`` would hide that sentence in a page.
    """
    try:
        return get_class(cfg.task.network._target_)(classes, **arguments(cfg.task.network))
    except ValueError as error:
        raise GanvasError(f"task.network: {error}.") from error


def manifest(
    cfg: DictConfig, scores: Mapping[str, Any], found: Examples, module: SegmenterTrainer
) -> dict[str, Any]:  # fmt: skip
    """What the bundle says of itself."""
    return {
        "classes": found.seen.classes.to_json(),
        "metrics": {**scores, "protocol": str(_protocol(found))},
        "trained_on": {"data": found.learned, "images": len(found.seen), "epochs": cfg.task.epochs,
                       "resolution": found.resolution, "seed": cfg.seed},
        "images_seen": module.total_steps * cfg.task.batch_size,
        "command": cfg.command,
        "licence": found.licence,
    }  # fmt: skip


def _protocol(found: Examples) -> Protocol:
    source, size, count = found.source, f"{found.resolution}x{found.resolution}", len(found.heldout)
    plain = source.data.removesuffix(" with exact masks")
    split = f" ({source.split})" if source.split else ""
    text = f"{count} {plain}{split} at {size}, IoU over the pixels of all of them"
    return Protocol(f"{source.data} at {size}", source.split, count, text=text)
