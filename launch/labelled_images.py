"""The images that a branch learns from, and those of a folder that are held out from it."""

from __future__ import annotations

import numpy as np
from omegaconf import DictConfig

from datamodules.folder import read_folder
from datamodules.image_cache import spread
from datamodules.masks import LabelledImages
from launch.active_labels import chooses
from launch.data import refuse_image_options
from launch.rendered import is_rendered, label_few, render
from networks.checkpoints.errors import GanvasError
from networks.protocol import Generator


def labelled_images(cfg: DictConfig, generator: Generator) -> LabelledImages:
    """The examples to learn from: rendered images, or the folder that ``images=`` and ``masks=`` name.

    With a ``task.draw``, they are those that :func:`split` draws from.

    With ``latents=``, the folder's images without a mask are those that nobody labelled yet, and are left out.

    Raises:
        GanvasError: if a folder is missing or unusable, there is ``latents=`` without a folder, or rendered images
            are of another size than the generator's.
    """
    if not (is_rendered(cfg.data) or cfg.data.get("kind") == "folder"):
        raise GanvasError("nothing says which images are labelled: add data=avatars, or data=folder images= masks=.")
    refuse_image_options(cfg, cfg.task.name, ["fit", "mirror", "labels"])
    if cfg.data.resolution not in (None, generator.img_resolution):
        raise GanvasError(f"data.resolution={cfg.data.resolution}, but {cfg.generator} makes images of "
                          f"{generator.img_resolution} pixels: set it to the same number.")  # fmt: skip
    if is_rendered(cfg.data):
        if cfg.latents:
            raise GanvasError(f"latents= goes with data=folder: {cfg.data.kind} are rendered, and no codes of them are "
                              "known.")  # fmt: skip
        seed, size = cfg.task.label_seed, generator.img_resolution
        if cfg.task.draw == "auto":
            return label_few(cfg.data, cfg.task.labels, seed, size, cfg.task.pool)
        return render(cfg.data, max(cfg.task.pool, cfg.task.labels), "labels", seed, size)
    if not (cfg.images and cfg.masks):
        raise GanvasError("data=folder needs images=DIR and masks=DIR, with one mask named like each image.")
    return read_folder(
        cfg.images, cfg.masks, classes=cfg.classes, resolution=generator.img_resolution, partial=bool(cfg.latents)
    )  # fmt: skip


def split(cfg: DictConfig, labelled: LabelledImages) -> tuple[LabelledImages, LabelledImages | None]:
    """What is learnt from, and what is held out where ``data.heldout`` asks for it.

    A folder's held-out images are taken evenly by name and are the same for every draw; of the others ``task.labels``
    are drawn by ``task.label_seed``, a smaller number being the beginning of a larger one. All of them come back where
    ``launch.active_labels`` is to choose.

    Raises:
        GanvasError: if there are not as many images.
    """
    count = cfg.data.get("heldout", 0)
    if not count:
        # Rendered images of a pool are drawn alike, so that the first are as random as any.
        return labelled.take(range(cfg.task.labels)) if cfg.task.draw == "random" else labelled, None
    wanted = count + cfg.task.labels
    if count < 0 or cfg.task.labels < 1 or wanted > len(labelled):
        raise GanvasError(f"data.heldout={count} and task.labels={cfg.task.labels} ask for {wanted} labelled images, "
                          f"and {cfg.images} has {len(labelled)}: lower one of them.")  # fmt: skip
    heldout = spread(len(labelled), count)
    rest = np.setdiff1d(np.arange(len(labelled)), heldout)
    drawn = np.random.default_rng(cfg.task.label_seed).permutation(rest)
    return labelled.take(drawn[: None if chooses(cfg) else cfg.task.labels].tolist()), labelled.take(heldout)
