"""Random views of images: what networks that look at images are trained on, and look through at an edit.

An edit that is fitted to a network may satisfy it by a pattern that nobody else sees. Where the edited image is looked
at through another view at each step, the pattern has to hold in all of them (AugCLIP; Liu et al. 2021, arXiv
2112.01573).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Make rendered images a little like generated ones: soft edges, another exposure, noise.

    Args:
        images: ``[N, C, H, W]`` in [-1, 1].
        generator: source of the strengths, drawn for each image.

    Returns:
        Images in [-1, 1], each pixel showing what it showed before, so that the masks stay true.
    """
    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)

    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    images = images.lerp(soft, draw(0.0, 0.8))
    images = images * draw(0.9, 1.1) + draw(-0.1, 0.1)
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return (images + noise * draw(0.0, 0.06)).clamp(-1, 1)


def mirror(images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip a random half of the images left to right, with their masks."""
    images, flip = mirror_images(images, generator)
    return images, torch.where(flip[:, None, None], masks.flip(-1), masks)


def mirror_images(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip a random half of the images left to right; also which, bool ``[N]``."""
    flip = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(flip[:, None, None, None], images.flip(-1), images), flip


def jitter(images: Tensor, generator: torch.Generator, amount: float) -> Tensor:
    """Shift, turn and scale each image a little.

    Args:
        images: ``[N, C, H, W]``; what comes in at an edge repeats it.
        generator: source of the draws, for each image.
        amount: largest shift as a share of half the side, largest turn in radians, largest change of scale.
    """
    def draw(*shape: int) -> Tensor:
        return amount * (2 * torch.rand(len(images), *shape, generator=generator, device=images.device) - 1)

    scale, turn = 1 + draw(), draw()
    along, across = scale * turn.cos(), scale * turn.sin()
    linear = torch.stack([torch.stack([along, -across], 1), torch.stack([across, along], 1)], 1)
    theta = torch.cat([linear, draw(2)[..., None]], 2).to(images.dtype)   # [N, 2, 3]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def view(images: Tensor, generator: torch.Generator, amount: float = 0.0) -> Tensor:
    """A random look at each image ``[N, C, H, W]``: mirrored, moved by up to ``amount`` (0: not at all), degraded."""
    images, _ = mirror_images(images, generator)
    if amount:
        images = jitter(images, generator, amount)
    return degrade(images, generator)


def alike(parts: Sequence[Tensor], seed: int, amount: float) -> list[Tensor]:
    """Several versions of the same images, each ``[N, C, H, W]``, through one random view of each image."""
    return [view(images, torch.Generator(images.device).manual_seed(seed), amount) for images in parts]
