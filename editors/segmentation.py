"""Segment what a generator makes, and real images by way of their inversion, with a trained segmentation branch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.generator import GeneratorEditor
from editors.images import ImageLike, Prepared, gather, inside
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings, invert
from editors.mask_edit import Edited, EditSettings, MaskEditor
from editors.ownership import require_owner
from editors.sequence import EditSequence
from editors.vectors import apply_vector
from networks.checkpoints.classes import IGNORE, ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.masks import write_mask
from networks.checkpoints.squares import classes_from_square, mask_to_square
from networks.latent import Latent, item_names
from networks.latent_edit import LatentEdit
from networks.protocol import Generator
from networks.segmentation import Head, segment_latents


@dataclass(frozen=True)
class Segmentation:
    """Masks with what they are based on. All tensors are on the CPU and of the generator's size.

    :meth:`photo_masks`, :meth:`painted` and :meth:`save_png` give masks of the size of each image as it was given. An
    image that is not square lies in the middle of its tensors; its margin is "ignore" (255) in ``mask``.
    """

    mask: Tensor = field(repr=False)                 # uint8 [N, H, W], class ids, 255 = ignore
    probabilities: Tensor = field(repr=False)        # [N, K, H, W]
    uncertainty: Tensor = field(repr=False)          # [N, H, W], disagreement of the ensemble in nats
    image: Tensor = field(repr=False)                # [N, C, H, W]: the image given, or the one the latent renders to
    latent: Latent                                   # the codes whose features were segmented
    classes: ClassList
    sizes: tuple[tuple[int, int], ...]               # height and width of each image as given
    inversion: Inversion | None = field(default=None, repr=False)  # of given images: how well they were reproduced

    def __len__(self) -> int:
        return len(self.mask)

    def photo_masks(self) -> list[np.ndarray]:
        """Each mask at the size of its image as given, ``uint8 [H, W]``: it fits on the photo, pixel for pixel."""
        size = tuple(self.mask.shape[1:])
        return [
            mask if own == size else classes_from_square(probabilities, *own)
            for mask, probabilities, own in zip(self.mask.numpy(), self.probabilities.numpy(), self.sizes, strict=True)
        ]

    def painted(self) -> list[np.ndarray]:
        """:meth:`photo_masks` in the colours of their classes, each ``uint8 [H, W, 3]``."""
        return [self.classes.paint(mask) for mask in self.photo_masks()]

    def save_png(self, folder: str | Path, names: Sequence[str] = ()) -> list[Path]:
        """Write each of :meth:`photo_masks` as an index PNG whose palette is the class palette.

        Args:
            folder: where; it is made if missing.
            names: file stems, one a mask; ``0000``, ``0001``, ... if left out.

        Raises:
            GanvasError: if the folder cannot be written.
        """
        paths = [Path(folder) / f"{name}.png" for name in item_names(len(self), names)]
        for path, mask in zip(paths, self.photo_masks(), strict=True):
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

        Images may have any size: each is centred on a black square and resized to the generator's size, as a folder of
        them is for training, and the margin counts neither in the inversion nor in the mask.

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
            return self._segment_latent(what, None, None, batch)
        given = gather(what, self.generator.img_channels, self.generator.img_resolution)
        found = invert(
            self.generator, given.images, self.settings, cache=self.cache, progress=progress, windows=given.windows
        )
        return self._segment_latent(found.latent, found, given, batch)

    def render(self, latent: Latent, batch: int = 16) -> Tensor:
        """The images of codes alone, ``[N, C, R, R]`` in [-1, 1]: ``editor.render(vector.apply(codes, 0.8))``.

        Raises:
            GanvasError: if the codes belong to another generator.
        """
        return GeneratorEditor(self.generator, self.cache).render(latent, batch)

    def edit(
        self,
        what: ImageLike | Latent | Sequence[ImageLike] | Segmentation,
        masks: Tensor | Sequence[np.ndarray] | Callable[[np.ndarray, ClassList], np.ndarray],
        classes: Sequence[str] | None = None,
        settings: EditSettings | None = None,
        names: Sequence[str] = (),
        progress: bool = True,
    ) -> Edited:
        """Change what images show so that the branch sees the wished masks; the rest stays.

        Args:
            what: as for :meth:`segment`, or what it gave.
            masks: one a image, uint8 of the generator's size or of the image's own, 255 where there is no wish; or a
                function from the branch's mask and the class list to the wished one (``editors.mask_programs``).
            classes: names of those that are edited, wherever they are; None: those that come or go.
            settings: see :class:`editors.mask_edit.EditSettings`.
            names: of the images, for sentences.
            progress: show a progress bar.

        Raises:
            GanvasError: if a mask or a class does not fit, or there is nothing to change.
        """
        seen = what if isinstance(what, Segmentation) else self.segment(what, progress=progress)
        editor = MaskEditor(self.head, self.generator, settings)
        return editor.edit(seen.latent, self._wished(seen, masks), self._ids(classes), names=names, progress=progress)

    def apply(
        self,
        what: ImageLike | Latent | Sequence[ImageLike] | Segmentation,
        edit: LatentEdit | EditSequence,
        strength: float | Tensor = 1.0,
        refine: int = 0,
        settings: EditSettings | None = None,
        progress: bool = True,
    ) -> Edited:
        """Apply an editing vector, and if asked for take back by ``refine`` steps what it changed beside.

        Raises:
            GanvasError: if the edit does not fit the codes, or names classes that the branch does not know.
        """
        seen = what if isinstance(what, Segmentation) else self.segment(what, progress=progress)
        editor = MaskEditor(self.head, self.generator, settings)
        return apply_vector(editor, seen.latent, edit, self._ids(edit.region or None), strength, refine, progress)

    def _ids(self, names: Sequence[str] | None) -> list[int] | None:
        return None if names is None else [self.classes.id_of(name) for name in names]

    def _wished(self, seen: Segmentation, masks: Any) -> Tensor:
        """Wished masks at the generator's size, uint8 ``[N, R, R]``."""
        if callable(masks):
            return torch.stack([torch.as_tensor(masks(mask.numpy(), self.classes)) for mask in seen.mask])
        if len(masks) != len(seen):
            raise GanvasError(f"there are {len(seen)} images and {len(masks)} masks; give one mask for each image")
        return torch.stack([
            torch.from_numpy(self._fitted(np.asarray(mask), size).copy())
            for mask, size in zip(masks, seen.sizes, strict=True)
        ])  # fmt: skip

    def _fitted(self, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        side = self.generator.img_resolution
        if mask.shape == size and size != (side, side):
            return mask_to_square(mask, side)
        if mask.shape != (side, side):
            raise GanvasError(f"a mask has {mask.shape[1]}x{mask.shape[0]} pixels, and its image {size[1]}x{size[0]}; "
                              "give masks of the size of their images")  # fmt: skip
        return mask

    def _segment_latent(
        self, latent: Latent, inversion: Inversion | None, given: Prepared | None, batch: int
    ) -> Segmentation:
        size = self.generator.img_resolution
        images, predictions = zip(*segment_latents(self.head, self.generator, latent, batch), strict=True)
        mask = torch.cat([p.mask for p in predictions])
        if given is not None:
            mask.masked_fill_(~inside(given.windows, size)[:, 0], IGNORE)
        return Segmentation(
            mask=mask,
            probabilities=torch.cat([p.probabilities for p in predictions]),
            uncertainty=torch.cat([p.disagreement for p in predictions]),
            image=torch.cat(images) if inversion is None else inversion.target.cpu(),
            latent=latent.to("cpu"),
            classes=self.classes,
            sizes=((size, size),) * len(latent) if given is None else given.sizes,
            inversion=inversion,
        )
