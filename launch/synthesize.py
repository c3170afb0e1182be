"""``ganvas synthesize``: a labelled data set out of a branch, images with masks as many as asked for (DatasetGAN).

Zhang et al. 2021, arXiv 2104.06490. Item i depends only on ``(seed, i)``: its code, its mask, its uncertainty and
whether it is kept, since what is too uncertain is decided by the first items alone. So shards may be made in any order,
by any number of processes, and again after an interruption.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from tqdm import tqdm

from datamodules.shards import LAYOUTS, PLAN, Shard, SynthesizedFolder, read_plan, require_place
from editors import SegmentationEditor, load
from launch.figures import Figure, Protocol, all_by, values, write_config, write_figures
from launch.hardware import machine, require_device
from launch.limits import require_at_least, require_finite
from launch.loggers import check_loggers, log_result
from launch.reports.synthesis import SHEET, write_report
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.classes import IGNORE
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.zoo import resolve
from networks.grids import to_uint8
from networks.metrics.uncertainty import image_uncertainty
from networks.segmentation import Segmented, segment_latents

PILOT = 256  # the items that say what is too uncertain: the first of the seed, whatever n is


def run(cfg: DictConfig) -> None:
    """Make the shards that are missing and are this process's; who finds all of them done writes the report.

    Raises:
        GanvasError: if an option or the branch cannot be used, or ``out=`` holds another synthesis.
    """
    rank, world = place(cfg)
    check(cfg)
    device = cfg.device if cfg.device != "cuda" else f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    begun, out = time.monotonic(), Path(cfg.out)
    editor = load(cfg.segmentation, cfg.generator, device)
    if not isinstance(editor, SegmentationEditor):
        raise GanvasError(f"segmentation={cfg.segmentation} is a generator: give the bundle of a branch.")
    folder = SynthesizedFolder.begin(out, plan(cfg, editor))
    mine = [shard for shard in folder.missing() if shard % world == rank]
    total = sum(len(folder.items(shard)) for shard in mine)
    drawing = time.monotonic()
    with tqdm(total=total, desc="synthesizing", unit="image", disable=not total, mininterval=1) as bar:
        for shard in mine:
            folder.write(shard, draw(editor, folder, shard, cfg.batch, bar))
    drawing = time.monotonic() - drawing
    left = folder.missing()
    if left:
        print(f"shards done here: {len(mine)}; {len(left)} of {len(folder.shards)} are left to other processes")
        return
    seconds = time.monotonic() - begun
    figures = figures_of(folder, editor) | rate(editor, total, drawing)
    write_report(cfg, folder, editor, values(figures))
    write_config(out, cfg)
    write_figures(out, "synthesize", cfg, figures, seconds, machine(device))
    log_result(cfg, "synthesize", out, values(figures), {"sheet": out / SHEET})
    for name, value in values(figures).items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    print(f"report: {out / 'report.md'}\nfolder: {out}")


def place(cfg: DictConfig) -> tuple[int, int]:
    """Which of how many processes this is: as the options say, else as ``torchrun`` told it.

    Raises:
        GanvasError: if there is no such place.
    """
    world = cfg.world if cfg.world is not None else int(os.environ.get("WORLD_SIZE", 1))
    rank = cfg.rank if cfg.rank is not None else int(os.environ.get("RANK", 0))
    if world < 1 or not 0 <= rank < world:
        raise GanvasError(f"rank={rank} of world={world} is no place: ranks count from 0 to world - 1.")
    return rank, world


def check(cfg: DictConfig) -> None:
    """Refuse what can be refused before a network is read.

    Raises:
        GanvasError: naming the option.
    """
    check_loggers(cfg)
    require_place(Path(cfg.out))
    require_device(cfg.device)
    require_finite(cfg, "truncation")
    require_at_least(cfg, {"n": 1, "shard": 1, "batch": 1, "seed": 0, "truncation": 0})
    for key in ("drop", "ignore"):
        if not 0 <= cfg[key] < 1:
            raise GanvasError(f"{key}={cfg[key]} is a share: give a number from 0 to below 1.")
    if cfg.layout not in LAYOUTS:
        raise GanvasError(f"layout={cfg.layout} is not known: choose {' or '.join(LAYOUTS)}.")
    if cfg.layout == "tar" and find_spec("webdataset") is None:
        raise GanvasError("layout=tar needs a package that is not installed: `pip install 'ganvas[distill]'`, or "
                          "choose layout=png.")  # fmt: skip


def plan(cfg: DictConfig, editor: SegmentationEditor) -> dict[str, Any]:
    """Everything that decides what the folder holds.

    Raises:
        GanvasError: if something is to be left out by the members' disagreement, and there is one member.
    """
    if (cfg.drop or cfg.ignore) and editor.head.members < 2:
        raise GanvasError(f"{cfg.segmentation} has one member, which nobody disagrees with: give drop=0 and ignore=0.")
    manifest = read_manifest(resolve(cfg.segmentation))
    settled = {
        "layout": cfg.layout, "n": cfg.n, "shard": cfg.shard, "seed": cfg.seed, "truncation": cfg.truncation,
        "drop": cfg.drop, "ignore": cfg.ignore, "classes": editor.classes.to_json(),
        "resolution": editor.generator.img_resolution, "segmentation": manifest["hash"],
        "generator": editor.generator.hash, "command": cfg.command,
    }  # fmt: skip
    # Those of a synthesis that is gone on with are known; if it turns out to be another one, it is refused.
    known = read_plan(Path(cfg.out)).get("thresholds") if (Path(cfg.out) / PLAN).exists() else None
    return settled | {"thresholds": known or thresholds(cfg, editor)}


def thresholds(cfg: DictConfig, editor: SegmentationEditor) -> dict[str, float | None]:
    """Above which uncertainty (nats) an image is dropped, and a pixel ignored; None: never."""
    if not (cfg.drop or cfg.ignore):
        return {"image": None, "pixel": None}
    print(f"the first {PILOT} samples say what is too uncertain")
    latents = editor.generator.sample(PILOT, cfg.seed, truncation=cfg.truncation)
    found = torch.cat([p.disagreement for _, p in segment_latents(editor.head, editor.generator, latents, cfg.batch)])
    return {
        "image": _quantile(image_uncertainty(found), cfg.drop), "pixel": _quantile(found.flatten(), cfg.ignore)
    }  # fmt: skip


def _quantile(uncertainty: torch.Tensor, share: float) -> float | None:
    return round(float(np.quantile(uncertainty.numpy(), 1 - share)), 6) if share else None


def draw(editor: SegmentationEditor, folder: SynthesizedFolder, shard: int, batch: int, bar: tqdm) -> Shard:
    """Draw the items of a shard, label them, and leave out what is too uncertain."""
    numbers, said = folder.items(shard), folder.plan
    uncertainty, kept, images, masks, dropped = [], [], [], [], []
    found = segmented(editor, said, numbers, batch)
    for number, (image, prediction) in zip(numbers, found, strict=True):
        unsure = float(image_uncertainty(prediction.disagreement)[0])
        uncertainty.append(unsure)
        bar.update()
        if said["thresholds"]["image"] is not None and unsure > said["thresholds"]["image"]:
            dropped.append(prediction.mask[0].numpy())
            continue
        mask = prediction.mask[0]
        if said["thresholds"]["pixel"] is not None:
            mask = mask.masked_fill(prediction.disagreement[0] > said["thresholds"]["pixel"], IGNORE)
        kept.append(number)
        images.append(to_uint8(image)[0].transpose(2, 0, 1))
        masks.append(mask.numpy())
    size = said["resolution"]
    return Shard(
        tuple(numbers), tuple(uncertainty), tuple(kept),
        np.array(images, dtype=np.uint8).reshape(-1, 3, size, size),
        np.array(masks, dtype=np.uint8).reshape(-1, size, size),
        np.array(dropped, dtype=np.uint8).reshape(-1, size, size),
    )  # fmt: skip


def segmented(
    editor: SegmentationEditor, said: dict[str, Any], numbers: range | list[int], batch: int
) -> Iterator[Segmented]:
    """Items by their numbers, one after another: the image, and what the branch says of it."""
    latents = [editor.generator.sample(1, said["seed"], truncation=said["truncation"], first=i) for i in numbers]
    for images, predictions in segment_latents(editor.head, editor.generator, latents[0].cat(latents), batch):
        for i in range(len(images)):
            part = slice(i, i + 1)
            yield Segmented(images[part], predictions._replace(
                logits=predictions.logits[part], disagreement=predictions.disagreement[part]
            ))  # fmt: skip


def figures_of(folder: SynthesizedFolder, editor: SegmentationEditor) -> dict[str, Figure]:
    """How many there are, and how uncertain."""
    index, said = folder.index(), folder.plan
    kept = index["kept"]
    split = f"seed {said['seed']}, truncation {said['truncation']:g}"
    protocol = Protocol("samples", split, len(kept), generator=editor.generator.hash, how="labelled by the branch")
    ignored = 1 - index["pixels"].sum() / max(1, kept.sum() * said["resolution"] ** 2)
    return all_by(protocol, {
        "images": int(kept.sum()), "dropped": int((~kept).sum()),
        "uncertainty": float(index["uncertainty"].mean()),
        "uncertainty_kept": float(index["uncertainty"][kept].mean()) if kept.any() else float("nan"),
        "ignored_pixels": float(ignored),
    })  # fmt: skip


def rate(editor: SegmentationEditor, drawn: int, seconds: float) -> dict[str, Figure]:
    """Images a second, where this process drew any."""
    if not drawn:
        return {}
    how = "drawn, labelled and written by one process"
    protocol = Protocol("samples", "", drawn, generator=editor.generator.hash, how=how)
    return {"images_per_second": Figure(drawn / seconds, protocol)}
