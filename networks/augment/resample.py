"""Bilinear sampling that differentiates twice by its image, on every version of PyTorch.

``grid_sample`` is linear in the image, so its gradient is a linear map, and the gradient of that is ``grid_sample``
again. PyTorch knows this from version 2.13 on; the R1 penalty through an augmentation needs it on all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

BILINEAR, REFLECTION = 0, 2  # PyTorch's numbers of the interpolation and of the padding


def sample_image(image: Tensor, grid: Tensor) -> Tensor:
    """``image`` at the positions of ``grid``, beyond its edges mirrored at them.

    Args:
        image: ``[N, C, H, W]``.
        grid: ``[N, H', W', 2]``, x and y from -1 to 1 between the outer edges; no gradient flows to it.

    Returns:
        ``[N, C, H', W']``, differentiable in ``image`` to any order.
    """
    return _Sample.apply(image, grid)  # type: ignore[no-untyped-call]


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = image.shape
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _SampleBackward.apply(gradient, grid, ctx.shape), None


class _SampleBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        image = gradient.new_zeros([]).expand(shape)  # its values do not matter: the map is linear
        by_image, _ = torch.ops.aten.grid_sampler_2d_backward(
            gradient, image, grid, BILINEAR, REFLECTION, False, [True, False]
        )
        return by_image

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(gradient, grid), None, None
