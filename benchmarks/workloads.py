"""What the measurements run on: random generators and label maps of any size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from networks.stylegan2 import Generator
from trainers.segmentation_data import Labels

COARSE = 8  # cells a side of the noise from which label maps are drawn


def random_generator(resolution: int, channel_base: int = 32768, device: str = "cpu", seed: int = 0) -> Generator:
    """A StyleGAN2 with untrained weights: cost depends on the sizes alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(resolution, channel_base=channel_base).eval().requires_grad_(False).to(device)


def smooth_masks(images: int, classes: int, size: int, seed: int = 0) -> Tensor:
    """Label maps whose regions are as smooth as parts of an object: the largest of ``classes`` smooth random fields.

    Returns:
        uint8 class ids ``[images, size, size]``.
    """
    rng = torch.Generator().manual_seed(seed)
    masks = torch.empty(images, size, size, dtype=torch.uint8)
    for mask in masks:
        fields = torch.randn(1, classes, COARSE, COARSE, generator=rng)
        mask.copy_(interpolate(fields, size=(size, size), mode="bicubic", align_corners=False)[0].argmax(0))
    return masks


def random_labels(generator: Generator, images: int, classes: int, device: str = "cpu", seed: int = 0) -> Labels:
    """Sampled codes with label maps that have nothing to do with them."""
    names = tuple(f"class {i}" for i in range(classes))
    latents = generator.sample(images, seed).to(device)
    return Labels(latents, smooth_masks(images, classes, generator.img_resolution, seed), names)
