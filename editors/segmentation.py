"""Segment what a generator makes, and real images by way of their inversion, with a trained segmentation branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from editors.images import ImageLike, gather
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings, invert
from editors.ownership import require_owner
from networks.checkpoints.classes import ClassList
from networks.checkpoints.masks import write_mask
from networks.latent import Latent
from networks.protocol import Generator
from networks.segmentation import Head, predict


@dataclass(frozen=True)
class Segmentation:
    """Masks with what they are based on. All tensors are on the CPU."""

    mask: Tensor = field(repr=False)                 # uint8 [N, H, W], class ids
    probabilities: Tensor = field(repr=False)        # [N, K, H, W]
    uncertainty: Tensor = field(repr=False)          # [N, H, W], disagreement of the ensemble in nats
    image: Tensor = field(repr=False)                # [N, C, H, W]: the image given, or the one the latent renders to
    latent: Latent                                   # the codes whose features were segmented
    classes: ClassList
    inversion: Inversion | None = field(default=None, repr=False)  # of given images: how well they were reproduced

    def __len__(self) -> int:
        return len(self.mask)

    def painted(self) -> np.ndarray:
        """The masks in the colours of their classes, ``uint8 [N, H, W, 3]``."""
        return self.classes.paint(self.mask.numpy())

    def save_png(self, folder: str | Path, names: Sequence[str] = ()) -> list[Path]:
        """Write each mask as an index PNG whose palette is the class palette.

        Args:
            folder: where; it is made if missing.
            names: file stems, one a mask; ``0000``, ``0001``, ... if left out.

        Raises:
            GanvasError: if the folder cannot be written.
        """
        names = names or [f"{i:04d}" for i in range(len(self))]
        paths = [Path(folder) / f"{name}.png" for name in names]
        for path, mask in zip(paths, self.mask.numpy(), strict=True):
            write_mask(path, mask, self.classes)
        return paths


class SegmentationEditor:
    """What :func:`editors.load` gives for a segmentation bundle.

    Args:
        head: the trained branch, in eval mode.
        generator: the generator whose features it reads.
        classes: names and colours of the classes.
        settings: how real images are inverted.
        cache: where inversions are kept; None: nowhere.
    """

    def __init__(
        self, head: Head, generator: Generator, classes: ClassList, settings: InversionSettings,
        cache: InversionCache | None = None,
    ) -> None:  # fmt: skip
        self.head, self.generator, self.classes = head, generator, classes
        self.settings, self.cache = settings, cache

    def segment(
        self, what: ImageLike | Latent | Sequence[ImageLike], batch: int = 16, progress: bool = True
    ) -> Segmentation:
        """Segment a latent, or images, which are inverted first.

        Args:
            what: codes of this generator, or one image or several: paths, PIL images, ``uint8 [H, W, C]`` arrays,
                or a tensor ``[C, H, W]`` or ``[N, C, H, W]``, uint8 or in [-1, 1].
            batch: how many are segmented at once.
            progress: show a progress bar while inverting.

        Raises:
            GanvasError: if an image is unusable or the codes belong to another generator.
        """
        if isinstance(what, Latent):
            require_owner(what, self.generator)
            return self._segment_latent(what, None, batch)
        images = gather(what, self.generator.img_channels, self.generator.img_resolution)
        found = invert(self.generator, images, self.settings, cache=self.cache, progress=progress)
        return self._segment_latent(found.latent, found, batch)

    @torch.no_grad()
    def _segment_latent(self, latent: Latent, inversion: Inversion | None, batch: int) -> Segmentation:
        device = next(self.head.parameters()).device
        images, predictions = [], []
        for piece in latent.split(batch):
            image, features = self.generator.render(piece.to(device), features=True)
            images.append(image.clamp(-1, 1).cpu())
            predictions.append(predict(self.head, features))
        return Segmentation(
            mask=torch.cat([p.mask.cpu() for p in predictions]),
            probabilities=torch.cat([p.probabilities.cpu() for p in predictions]),
            uncertainty=torch.cat([p.disagreement.cpu() for p in predictions]),
            image=torch.cat(images) if inversion is None else inversion.target.cpu(),
            latent=latent.to("cpu"),
            classes=self.classes,
            inversion=inversion,
        )
