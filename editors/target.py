"""The images that an inversion is to reproduce; the margins of pictures that are not square count in nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from editors.images import inside, prepare, to_tensor
from networks.metrics import psnr
from networks.protocol import Generator


@dataclass(frozen=True)
class Target:
    """Images in the generator's form, and where in them the pictures are."""

    image: Tensor                   # [N, C, R, R]
    windows: Tensor                 # int64 [N, 4]: top, left, height, width
    inside: Tensor | None           # bool [N, 1, R, R], the windows as a mask; None: no image has a margin

    @classmethod
    def of(cls, images: Tensor, windows: Tensor | None, generator: Generator) -> Self:
        """``images [N, C, H, W]``, prepared for the generator if they are not yet.

        Raises:
            GanvasError: if the images have another number of channels, or are not finite.
            ValueError: if there are ``windows`` of images that are not of the generator's size.
        """
        size = generator.img_resolution
        given = prepare(to_tensor(images), generator.img_channels, size)
        if windows is None:
            windows = given.windows
        elif tuple(windows.shape) != (len(given.images), 4) or set(given.sizes) != {(size, size)}:
            raise ValueError(f"windows [N, 4] go with images of the generator's size, got {list(windows.shape)} for "
                             f"{list(images.shape)}")  # fmt: skip
        whole = bool((windows[:, 2:] == size).all())
        return cls(given.images, windows, None if whole else inside(windows, size))

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, items: Sequence[int] | slice) -> Target:
        return Target(self.image[items], self.windows[items], None if self.inside is None else self.inside[items])

    def to(self, device: torch.device) -> Target:
        """The same on ``device``."""
        return Target(self.image.to(device), self.windows, None if self.inside is None else self.inside.to(device))

    def framed(self, image: Tensor) -> Tensor:
        """``image`` with the margins of the target: there it cannot differ, and gets no gradient."""
        return image if self.inside is None else torch.where(self.inside, image, self.image)

    def psnr(self, image: Tensor) -> Tensor:
        """PSNR of the pictures, ``[N]``."""
        ratio = psnr(self.framed(image), self.image)
        if self.inside is None:
            return ratio
        # The mean square over the whole square is that of the picture, times its share.
        return ratio + 10 * self.inside.float().flatten(1).mean(1).log10()

    def distances(self, samples: Tensor, thumbnail: Callable[[Tensor], Tensor]) -> Tensor:
        """Distances ``[N, S]`` from ``samples [S, D]``, both as thumbnails; margins are left out."""
        wanted = thumbnail(self.image)  # [N, D]
        if self.inside is None:
            return torch.cdist(wanted, samples)
        counts = thumbnail(self.inside.expand_as(self.image).float())
        squares = (counts * wanted.square()).sum(1, keepdim=True) + counts @ samples.square().T
        return (squares - 2 * (counts * wanted) @ samples.T).clamp_min(0).sqrt()
