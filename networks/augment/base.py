"""What a discriminator sees instead of images."""

from __future__ import annotations

from torch import Tensor, nn


class Augment(nn.Module):
    """Images to images of the same shape, differentiable; this one leaves them as they are."""

    def forward(self, images: Tensor) -> Tensor:  # [N, C, R, R]
        return images

    def observe(self, real_logits: Tensor) -> None:
        """Take note of a batch's logits on training images."""

    def figures(self) -> dict[str, float]:
        """What is worth logging of its state, by name."""
        return {}
