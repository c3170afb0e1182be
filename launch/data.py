"""The images that a configuration's ``data`` group and ``images=`` stand for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from datamodules.avatar_render import style_definition
from datamodules.image_cache import prepared_images, spread
from datamodules.image_files import ImageFiles
from datamodules.images import ImageSet
from datamodules.rooms import rooms_licence
from launch.classed import CLASSED, classed_images, classed_name
from launch.figures import Protocol, Source
from launch.rendered import RENDERED, name_of, render
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.squares import FITS
from networks.protocol import Generator

_GANS = "generators and encoders"
FOR = {  # option of a folder -> its default, and what it is for
    "fit": ("pad", _GANS), "mirror": (False, _GANS), "labels": (False, _GANS), "heldout": (0, "segmentation"),
}  # fmt: skip


class Reference(NamedTuple):
    """Images that a generator's samples are compared with."""

    images: Tensor                # uint8 [N, 3, R, R]
    source: Source                # which they are
    labels: Tensor | None = None  # float [N, c_dim], of images with classes or if data.labels
    label_names: tuple[str, ...] = ()  # of these, where they have any

    @property
    def what(self) -> str:
        """Which they are, said beside every figure."""
        size = self.images.shape[-1]
        return f"{len(self.images)} {self.source} at {size}x{size}"

    def protocol(self, network: str | None = None, generator: str | None = None, how: str = "") -> Protocol:
        """That of a figure on these images; the arguments are those of :class:`launch.figures.Protocol`."""
        size = self.images.shape[-1]
        data, split = self.source
        return Protocol(f"{data} at {size}x{size}", split, len(self.images), network, generator, how)


def training_images(cfg: DictConfig, size: int | None = None) -> ImageSet:
    """What to train on: images ``uint8 [N, 3, R, R]``, and their labels if ``data.labels``.

    Args:
        cfg: with ``data`` and ``images``.
        size: pixels a side of a folder's images where ``data.resolution`` leaves it open; None: as they are.

    Raises:
        GanvasError: if there is no ``data=``, ``images=`` is missing for a folder, or the folder is unusable.
    """
    if _kind(cfg) in CLASSED:
        drawn = classed_images(cfg.data, cfg.data.count, "train", cfg.seed)
        return ImageSet(drawn.images, drawn.labels, label_names=drawn.names)
    if _kind(cfg) in RENDERED:
        return ImageSet(render(cfg.data, cfg.data.count, "train", cfg.seed, masks=False).images)
    files = _files(cfg)
    # First: a mistake in them is found at once.
    labels, names = (files.labels(), files.label_names()) if cfg.data.labels else (None, ())
    images = prepared_images(files, cfg.data.resolution or size, cfg.data.fit)
    return ImageSet(images, labels, cfg.data.mirror, names)


def training_data(cfg: DictConfig) -> str:
    """What :func:`training_images` gives, as it is called beside figures."""
    if _kind(cfg) in CLASSED:
        return classed_name(cfg.data)
    return name_of(cfg.data) if _kind(cfg) in RENDERED else f"images of {cfg.images}"


def reference_images(cfg: DictConfig, n: int, size: int | None = None) -> Reference:
    """At most ``n`` images to compare samples with.

    Rendered images are held out from training and the same for every seed; a folder has no others than its own, and
    those of a class may lie together, so that they are taken from all of it. None are mirrored.

    Raises:
        GanvasError: as :func:`training_images`, and for fewer than two images.
    """
    few = "a comparison needs at least 2 images, got {}: add images or raise their number."
    if n < 2:
        raise GanvasError(few.format(n))
    labels, names = None, ()
    if _kind(cfg) in CLASSED:
        drawn = classed_images(cfg.data, n, "heldout", 0)
        images, labels, names = drawn.images, torch.from_numpy(drawn.labels), drawn.names
        source = Source(f"held-out {classed_name(cfg.data)}", "split heldout, seed 0")
    elif _kind(cfg) in RENDERED:
        images = render(cfg.data, n, "heldout", 0, masks=False).images
        source = Source(f"held-out {cfg.data.get('style', cfg.data.kind)}", "split heldout, seed 0")
    else:
        files = _files(cfg)
        images = prepared_images(files, cfg.data.resolution or size, cfg.data.fit, first=n)
        which = f" of {len(files.names)}, evenly by name" if len(images) < len(files.names) else ""
        source = Source(f"images of {cfg.images}{which}, which training may have seen")
        if cfg.data.labels:
            labels, names = torch.from_numpy(files.labels()[spread(len(files.names), n)]), files.label_names()
    if len(images) < 2:
        raise GanvasError(few.format(len(images)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to them
        return Reference(torch.from_numpy(images), source, labels, names)


def refuse_image_options(cfg: DictConfig, purpose: str, keys: Sequence[str] = tuple(FOR)) -> None:
    """Refuse what a folder's images may be given for something else, where it would have no effect.

    Args:
        cfg: with ``data``.
        purpose: what the images are for.
        keys: the options that have no effect there.

    Raises:
        GanvasError: naming the option.
    """
    for key in keys:
        default, others = FOR[key]
        if cfg.data.get(key, default) != default:
            raise GanvasError(f"data.{key} is for {others}, not for {purpose}: leave it out.")


def require_size(images: np.ndarray, generator: Generator) -> None:
    """Refuse images that are not what the generator draws.

    Raises:
        GanvasError: naming both sizes.
    """
    wanted = (generator.img_channels, generator.img_resolution, generator.img_resolution)
    if tuple(images.shape[1:]) != wanted:
        has, draws = ("x".join(map(str, size)) for size in (images.shape[1:], wanted))
        raise GanvasError(f"the images are {has} (channels, height, width) and the generator draws {draws}: "
                          "set data.resolution to the generator's.")  # fmt: skip


def licence(cfg: DictConfig) -> str:
    """What a network trained on this data may be used for, as its manifest says it."""
    if _kind(cfg) == "scenes":
        return "Apache-2.0; trained on scenes drawn by Ganvas"
    if _kind(cfg) == "rooms":
        return f"Apache-2.0; trained on images rendered from furniture of Sweet Home 3D: {rooms_licence()}"
    if _kind(cfg) == "fashion_mnist":
        return "Apache-2.0; trained on Fashion-MNIST by Zalando SE: MIT"
    if _kind(cfg) == "styles":
        return f"Apache-2.0; trained on images rendered from DiceBear's {'; '.join(map(_terms, cfg.data.styles))}"
    if _kind(cfg) != "avatars":
        return "that of the training images"
    return f"Apache-2.0; trained on images rendered from DiceBear's {_terms(cfg.data.style)}"


def _terms(style: str) -> str:
    meta = style_definition(style)["meta"]
    return f"{style} by {meta.get('creator', {}).get('name', 'an unnamed artist')}: {meta['license']['name']}"


def _kind(cfg: DictConfig) -> Any:
    if "kind" not in cfg.data:
        raise GanvasError("nothing says which images: add data=avatars, or data=folder images=DIR.")
    if cfg.data.kind == "synthesized":
        raise GanvasError("data=synthesized is for experiment=segmenter/distill: choose data=avatars, or data=folder "
                          "images=DIR.")  # fmt: skip
    return cfg.data.kind


def _files(cfg: DictConfig) -> ImageFiles:
    refuse_image_options(cfg, _GANS, ["heldout"])
    if not cfg.images:
        raise GanvasError("data=folder needs images=DIR, a folder or a zip of PNG or JPEG files.")
    if cfg.data.fit not in FITS:
        raise GanvasError(f"data.fit={cfg.data.fit} must be {', '.join(FITS[:-1])} or {FITS[-1]}.")
    return ImageFiles(cfg.images)
