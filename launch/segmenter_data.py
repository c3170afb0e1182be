"""What a feed-forward labeller learns from, and what it is scored on: three sources of images with masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from datamodules.avatars import render_avatars
from datamodules.folder import read_folder
from datamodules.image_cache import spread
from datamodules.masks import LabelledImages
from datamodules.shards import SynthesizedFolder
from launch.data import licence, refuse_image_options
from launch.figures import Source
from launch.rendered import RENDERED, heldout_source, is_rendered, label_few, render
from networks.checkpoints.errors import GanvasError

HELD = "held out evenly by name"
HELDOUT_SHARE = 0.05  # of synthesized images, where there are no others to be scored on


class Examples(NamedTuple):
    """Images with masks of one size and the same classes, for training and for scoring."""

    seen: LabelledImages
    learned: str              # what they are, in words
    heldout: LabelledImages
    source: Source            # which those are
    licence: str              # of what is learnt from them

    @property
    def resolution(self) -> int:
        """Pixels a side."""
        return self.seen.images.shape[-1]


def examples(cfg: DictConfig) -> Examples:
    """The examples that ``cfg`` asks for; the held-out ones are the same for every seed.

    Raises:
        GanvasError: if there are none, a folder is unusable, or sizes or classes do not agree.
    """
    match cfg.data.get("kind"):
        case kind if kind in RENDERED:
            found = _rendered(cfg)
        case "folder":
            found = _folder(cfg)
        case "synthesized":
            found = _synthesized(cfg)
        case _:
            raise GanvasError("task=segmenter learns from images with masks: give data=avatars, styles, rooms or "
                              "scenes, data=folder images=DIR masks=DIR, or data=synthesized "
                              "data.folder=DIR.")  # fmt: skip
    _check(cfg, found)
    return found


def _rendered(cfg: DictConfig) -> Examples:
    size, what = cfg.data.resolution, cfg.data.get("style", cfg.data.kind)
    if cfg.task.labels is None:
        seen = render(cfg.data, cfg.data.count, "teacher", cfg.seed, size)
        learned = f"{what}, split teacher"
    else:
        seen = label_few(cfg.data, cfg.task.labels, cfg.task.label_seed, size)
        learned = f"{what}, split labels, draw {cfg.task.label_seed}"
    return Examples(seen, learned, *_heldout(cfg, size), licence(cfg))


def _folder(cfg: DictConfig) -> Examples:
    refuse_image_options(cfg, cfg.task.name, ["fit", "mirror", "labels"])
    if not (cfg.images and cfg.masks):
        raise GanvasError("data=folder needs images=DIR and masks=DIR, with one mask named like each image.")
    every = read_folder(cfg.images, cfg.masks, classes=cfg.classes, resolution=cfg.data.resolution)
    if not 0 < cfg.data.heldout < len(every):
        raise GanvasError(f"data.heldout={cfg.data.heldout} leaves nothing to learn from or to score on: hold out 1 to "
                          f"{len(every) - 1} of the {len(every)} labelled images.")  # fmt: skip
    held = spread(len(every), cfg.data.heldout)
    rest = np.setdiff1d(np.arange(len(every)), held)
    if cfg.task.labels is not None:
        rest = np.random.default_rng(cfg.task.label_seed).permutation(rest)[: cfg.task.labels]
    source = Source(f"images of {cfg.images}", HELD)
    return Examples(every.take(rest.tolist()), f"images of {cfg.images}", every.take(held), source, licence(cfg))


def _synthesized(cfg: DictConfig) -> Examples:
    if not cfg.data.folder:
        raise GanvasError("data=synthesized needs data.folder=DIR, which `ganvas synthesize` wrote.")
    if cfg.task.labels is not None:
        raise GanvasError(f"task.labels={cfg.task.labels} counts images that people labelled, and data=synthesized has "
                          "none: leave it out.")  # fmt: skip
    folder = SynthesizedFolder.open(cfg.data.folder)
    said, every = folder.plan, folder.read()
    learned = f"samples labelled by the branch {said['segmentation'][:12]}, seed {said['seed']}"
    terms = "that of the images that the generator and the branch learned from"
    size = every.images.shape[-1]
    if cfg.images or cfg.masks:
        return Examples(every, learned, *_truth(cfg, every, size), terms)
    if cfg.data.test == "avatars":
        return Examples(every, learned, *_heldout(cfg, size), terms)
    if cfg.data.test is not None:
        raise GanvasError(f"data.test={cfg.data.test} is not known: give avatars, or leave it out.")
    count = max(1, min(cfg.n or cfg.task.heldout, int(HELDOUT_SHARE * len(every))))
    held = spread(len(every), count)
    rest = np.setdiff1d(np.arange(len(every)), held).tolist()
    source = Source(f"samples labelled by the branch {said['segmentation'][:12]}", "held out evenly; no truth")
    return Examples(every.take(rest), learned, every.take(held), source, terms)


def _truth(cfg: DictConfig, every: LabelledImages, size: int) -> tuple[LabelledImages, Source]:
    """Images that people labelled."""
    if not (cfg.images and cfg.masks):
        raise GanvasError("images= with masks= are what the network is scored on: give both, or neither.")
    heldout = read_folder(cfg.images, cfg.masks, cfg.classes, size, otherwise=every.classes)
    source = f"images of {cfg.images}"
    if not cfg.data.heldout:
        return heldout.take(range(len(heldout))[: cfg.n]), Source(source)
    return heldout.take(spread(len(heldout), cfg.data.heldout)), Source(source, HELD)


def _heldout(cfg: DictConfig, size: int) -> tuple[LabelledImages, Source]:
    """Rendered images as those that are learned from, or the avatars that samples are compared with."""
    count = cfg.n or cfg.task.heldout
    if is_rendered(cfg.data):
        return render(cfg.data, count, "heldout", 0, size), heldout_source(cfg.data, 0)
    avatars = render_avatars(count, "heldout", 0, size, masks=True, style=cfg.data.style)
    return avatars, heldout_source(cfg.data, 0)


def _check(cfg: DictConfig, found: Examples) -> None:
    if len(found.seen) < cfg.task.batch_size:
        count = f"data.count={len(found.seen)}" if is_rendered(cfg.data) else f"the number of images, "\
            f"{len(found.seen)},"  # fmt: skip
        raise GanvasError(f"{count} is less than a batch: lower task.batch_size.")
    if found.heldout.classes.names != found.seen.classes.names:
        raise GanvasError(f"the held-out masks have the classes {', '.join(found.heldout.classes.names)}, and the "
                          f"network learns {', '.join(found.seen.classes.names)}: score it on the same classes.")
    for name in cfg.task.drawn:
        found.seen.classes.id_of(name)
