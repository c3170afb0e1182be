"""A gradient for the depths of blobs, whose order alone is rendered: that of the mean over perturbed depths.

An order has no gradient. With logistic noise of scale ``tau`` on each depth the expected weights have one (perturbed
optimisers, Berthet et al. 2020, arXiv 2002.08676). Given that blob ``i`` lies at ``x``, the others are in front of it
independently of one another, so that with ``S_i(x) = P(depth of i > x)`` and its density ``f_i``

    E w_i = o_i int f_i(x) prod_{j != i} (1 - o_j S_j(x)) dx.                                                       (1)

Two blobs that meet at ``x`` exchange ``o_i o_j`` of the light there and nothing else changes, so for gradients ``g`` of
the weights, with the light ``L = prod_j (1 - o_j S_j)`` and ``h_i = o_i f_i / (1 - o_i S_i)``,

    dL/dd_i = int L h_i sum_j h_j (g_i - g_j) dx,                                                                   (2)

which is 0 for what is added to all of ``g``, and sums to 0 over the blobs. What is rendered stays the order of the
depths as they are: ``g`` is taken there (straight-through, Bengio et al. 2013, arXiv 1308.3432).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from cuda_ops.blob_splat import blob_opacity

TAU = 1.0     # least scale of the noise; depths of a new network spread by about 1
REACH = 6.0   # where a scene's depths lie further apart than so many TAU, tau grows, so that no gradient vanishes
MARGIN = 3.0  # of the integral beyond the outermost depths, in tau
NODES = 8     # of the integral, at most 1.7 tau from one another: exact to a percent
GRID = 64     # most pixels a side that it is evaluated on, if there is such a level: a blob is smooth


class Blobs(NamedTuple):
    """What the weights come from: ``depth`` ``[N, K]``, else as :func:`cuda_ops.blob_splat.blob_splat` takes it."""

    depth: Tensor
    centre: Tensor
    size: Tensor
    log_aspect: Tensor
    angle: Tensor
    opacity: Tensor | None


def with_learned_order(levels: dict[int, Tensor], blobs: Blobs, area: float, offset: float) -> dict[int, Tensor]:
    """The same weights ``[N, K + 1, R, R]`` by resolution; what gradient they get also goes to the blobs' depth.

    No map is kept for the pass backward, and gradients of the rest are untouched. Twice differentiable.
    """
    return dict(zip(levels, _LearnedOrder.apply(area, offset, *blobs, *levels.values()), strict=True))


class _LearnedOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, area: float, offset: float, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.area, ctx.offset = area, offset
        count = len(Blobs._fields)
        ctx.save_for_backward(*tensors[:count])
        return tensors[count:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        blobs = Blobs(*ctx.saved_tensors)
        gradient = depth_gradient(grads, blobs, ctx.area, ctx.offset)
        return None, None, gradient.to(blobs.depth.dtype), *[None] * (len(blobs) - 1), *grads


def depth_gradient(
    grads: tuple[Tensor, ...], blobs: Blobs, area: float, offset: float, grid: int = GRID, nodes: int = NODES
) -> Tensor:
    """Equation (2), ``[N, K]``, from the gradients of the levels ``[N, K + 1, R, R]``, the largest first.

    The background's has no part in it: all blobs are in front of it, in any order.
    """
    largest, smallest = grads[0].shape[-1], grads[-1].shape[-1]
    side = largest
    while side > max(grid, smallest):
        side //= 2
    dtype = torch.promote_types(blobs.depth.dtype, torch.float32)
    depth, *shape, opacity = (None if t is None else t.to(dtype) for t in blobs)
    of_blobs = torch.stack([_resized(g[:, 1:].to(dtype), side) for g in grads]).sum(0)  # [N, K, side, side]
    step = largest // side  # pixels of the first level, along a side of one of these; o is that of their middle
    o = blob_opacity(
        *shape, side, opacity=opacity, area=area, offset=(offset + (step - 1) / 2) / step
    )  # fmt: skip
    low, high = depth.detach().aminmax(dim=1, keepdim=True)  # [N, 1]
    tau = ((high - low) / REACH).clamp(min=TAU)
    low, high = low - MARGIN * tau, high + MARGIN * tau
    gradient = torch.zeros_like(depth)
    for node in range(nodes):
        x = low + (high - low) * (node / (nodes - 1))
        beyond = torch.sigmoid((depth - x) / tau)
        density = beyond * (1 - beyond) / tau
        passed = 1 - o * beyond[..., None, None]
        met = o * density[..., None, None] / passed
        exchanged = of_blobs * met.sum(1, keepdim=True) - (of_blobs * met).sum(1, keepdim=True)
        gradient = gradient + (passed.prod(1, keepdim=True) * met * exchanged).sum((2, 3))
    return gradient * (high - low) / (nodes - 1)


def _resized(grad: Tensor, side: int) -> Tensor:
    """A gradient ``[N, K, R, R]`` as that of maps ``[N, K, side, side]``, of which the first are copies or means."""
    step = grad.shape[-1] // side
    if step >= 1:
        return grad.unflatten(3, (side, step)).sum(4).unflatten(2, (side, step)).sum(3)
    step = side // grad.shape[-1]
    return (grad / step**2).repeat_interleave(step, 2).repeat_interleave(step, 3)
