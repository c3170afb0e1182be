"""Networks that say of an image who or what it shows, as a unit vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Embedding(nn.Module):
    """``[N, 3, H, W]`` in [-1, 1], of any size, to unit vectors ``[N, D]``; cosines of two say how alike they are."""

    @torch.no_grad()
    def embed(self, images: Tensor, batch: int = 64) -> Tensor:
        """Vectors ``[N, D]`` of images anywhere, on the CPU; ``batch`` images at once."""
        device = next(self.parameters()).device
        return torch.cat([self(part.to(device)).cpu() for part in images.split(batch)])
