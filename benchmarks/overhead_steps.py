"""The framework's steps beside those of bare loops, in turns, in one process.

``python -m benchmarks.overhead_steps gan|segmentation TURNS STEPS THREADS NUMBER`` writes what :func:`gan` or
:func:`segmentation` gives as JSON. Where weights lie in memory is worth a few per cent of a short step: each process
lays it otherwise, and in those of an odd number the two loops of a head have each other's place.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from benchmarks.bare_loops import BareBranch, BareGan
from benchmarks.settings import ROOT
from benchmarks.turns import Turns
from benchmarks.workloads import random_labels
from datamodules.images import GANImages
from launch.compose import compose
from launch.data import training_images
from launch.fitting import fit
from launch.gan_networks import build
from launch.prepare import prepare
from launch.record import RunRecord
from networks.checkpoints.generators import load_generator
from networks.segmentation import head_for
from trainers.segmentation import HeadTrainer, SegmentationSettings
from trainers.segmentation_data import FeatureStore
from trainers.segmentation_loop import Progress

ZOO = ROOT / "zoo" / "avatars64.safetensors"
GAN = ["experiment=stylegan2/avatars64", "task.encoder=null", "data.count=512"]


def gan(turns: int, steps: int, folder: Path) -> dict[str, Any]:
    """A training of StyleGAN2 by ``launch.fitting``, as ``ganvas train`` runs it: record, W&B offline, progress."""
    words = [*GAN, f"task.training.total_images={10**9}", f"out={folder / 'gan'}"]
    cfg = compose("train", [*words, f"task.checkpoint_every={10**9}"])
    record = RunRecord.open(cfg)
    images = training_images(cfg)
    module = build(cfg)
    bare = BareGan(module.G, module.D, images.images, cfg)
    watch = Turns(bare.step, steps, turns)
    fit(cfg, record, module, GANImages(images, cfg.task.batch_size, cfg.seed), [watch])
    record.close()
    apart = max(difference(module.G_ema, bare.G_ema), difference(module.D, bare.D))
    return watch.row(f"GAN, {cfg.data.resolution}x{cfg.data.resolution}, batch {cfg.task.batch_size}", apart)


def segmentation(turns: int, steps: int, folder: Path, swap: bool = False) -> dict[str, Any]:
    """A training of the default head by the loop of ``trainers.segmentation``; random label maps cost the same."""
    cfg = compose("train", ["experiment=segmentation/avatars16", f"out={folder / 'segmentation'}"])
    record = RunRecord.open(cfg)
    generator = load_generator(ZOO)
    labels = random_labels(generator, cfg.task.labels, 11)
    settings = SegmentationSettings()
    head = head_for(generator, "default", 11, settings.seed)
    store = FeatureStore.of(head, generator, labels, settings)  # of both: neither has the better place in memory
    module = HeadTrainer(head, store, settings)
    twin = copy.deepcopy(module.head)
    own, module.head = (module.head, twin) if swap else (twin, module.head)
    bare = BareBranch(own, store, settings)
    watch = Turns(bare.step, steps, turns, module.together)
    progress = Progress(True, lambda step, figures: record.log(figures, step))
    pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, limit_train_batches=module.most_steps, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, callbacks=[progress, watch],
    ).fit(module)  # fmt: skip
    record.close()
    size = generator.img_resolution
    return watch.row(f"segmentation, {size}x{size}, {len(labels)} labels", difference(module.head, bare.head))


def difference(one: nn.Module, other: nn.Module) -> float:
    """The largest difference of two modules' numbers."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)


def main(name: str, turns: str, steps: str, threads: str, number: str) -> None:
    torch.set_num_threads(int(threads))
    prepare()
    out, sys.stdout = sys.stdout, sys.stderr  # what is printed on the way is no result
    with tempfile.TemporaryDirectory() as folder:
        size = int(turns), int(steps), Path(folder)
        row = gan(*size) if name == "gan" else segmentation(*size, swap=int(number) % 2 == 1)
    print(json.dumps(row), file=out)


if __name__ == "__main__":
    main(*sys.argv[1:])
