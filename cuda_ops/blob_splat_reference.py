"""Blobs to a pyramid of weights in plain PyTorch: in place, a part of the picture at a time, and by a formula.

A blob's opacity is ``o = m * sigmoid(s - d^2)``, where ``d`` is the Mahalanobis distance from its centre. The
covariance is ``R diag(area * e^t, area / e^t) R^T``, softened, with the angle's unit vector ``(c, s)`` as the first
column of ``R``; its inverse, the conic ``[[A, B], [B, C]]``, is known in closed form. With ``d^2 = (a dx + b dy)^2 +
(e dy)^2``, a Cholesky factor of the conic, an opacity takes a sum, a square and a sigmoid, and nothing cancels when the
blob is a needle.

Gradients, with ``g_i`` those of the weights of blob ``i`` and of the background ``g_0``, taken from front to back:

    T_i = prod_{j in front} (1 - o_j)              light that reaches blob i
    R_i = what is seen behind blob i: R = g_0 behind all, then R <- R + o_i (g_i - R) from back to front
    dL/do_i = T_i (g_i - R_i),    dL/dz_i = dL/do_i m_i sigmoid'(z_i),    z = s - d^2

``z`` is quadratic in the position, so all of a blob's gradients are combinations of six moments of ``dL/dz``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

COLUMNS = 7       # numbers of a blob: x, y, size, log of the aspect, cosine and sine of the angle, opacity
SOFTENING = 1e-5  # added to both variances: a needle stays as wide as a pixel
CHUNK = 1 << 19   # numbers of a part of a picture, so that its maps stay in a cache


class View(NamedTuple):
    """How blobs are seen: everything about a picture that is not a blob."""

    resolution: int  # of the first level
    smallest: int    # of the last level
    area: float      # geometric mean of a blob's two variances, in squares of the image's width
    offset: float    # where in a pixel it is sampled: 0 at its corner, 0.5 in its middle

    @property
    def resolutions(self) -> list[int]:
        """Of the levels, each half of the one before."""
        halvings = (self.resolution // self.smallest).bit_length()
        return [self.resolution >> i for i in range(halvings)]

    def positions(self, like: Tensor) -> Tensor:
        """Of the columns, or the rows, ``[R]`` in [0, 1)."""
        return (torch.arange(self.resolution, dtype=like.dtype, device=like.device) + self.offset) / self.resolution


class Conic(NamedTuple):
    """The inverse covariances ``[[A, B], [B, C]]`` and their determinants, each ``[N, K]``."""

    A: Tensor
    B: Tensor
    C: Tensor
    determinant: Tensor


def inverse_variances(log_aspect: Tensor, area: float) -> tuple[Tensor, Tensor]:
    """Along the angle's vector, and across it."""
    return 1 / (area * log_aspect.exp() + SOFTENING), 1 / (area * (-log_aspect).exp() + SOFTENING)


def conic(blobs: Tensor, area: float) -> Conic:
    """The conics of blobs ``[N, K, 7]``."""
    _, _, _, log_aspect, c, s, _ = blobs.unbind(2)
    along, across = inverse_variances(log_aspect, area)
    determinant = along * across * (c * c + s * s).square()
    return Conic(along * c * c + across * s * s, (along - across) * c * s, along * s * s + across * c * c, determinant)


class Factors(NamedTuple):
    """``z = row - (column + slope)^2`` for each blob and pixel; all that does not depend on both coordinates."""

    column: Tensor  # [N, K, 1, R]
    slope: Tensor   # [N, K, R, 1]
    row: Tensor     # [N, K, R, 1]


def factors(blobs: Tensor, view: View) -> Factors:
    """Of blobs ``[N, K, 7]``, in their order."""
    form, at = conic(blobs, view.area), view.positions(blobs)
    dx, dy = (at - blobs[..., i, None] for i in (0, 1))  # [N, K, R]
    inverse = (form.A + torch.finfo(blobs.dtype).tiny).rsqrt()[..., None]
    row = blobs[..., 2, None] - (form.determinant[..., None].sqrt() * inverse * dy).square()
    return Factors(
        (form.A[..., None] * inverse * dx)[:, :, None], (form.B[..., None] * inverse * dy)[..., None], row[..., None]
    )


def logits(f: Factors) -> Tensor:
    """``z``, the opacity before the sigmoid, ``[N, K, R, R]``; differentiable."""
    return f.row - (f.column + f.slope).square()


def formula(blobs: Tensor, order: Tensor | None, view: View) -> list[Tensor]:
    """The levels as plain differentiable PyTorch: slower, and with the maps of every step in memory."""
    if order is not None:
        blobs = blobs.take_along_dim(order[..., None], 1)
    opacity = blobs[..., 6, None, None] * torch.sigmoid(logits(factors(blobs, view)))
    light, weights = torch.ones_like(opacity[:, 0]), []
    for o in reversed(opacity.unbind(1)):
        weights.append(o * light)
        light = light - weights[-1]
    maps = torch.stack([light, *reversed(weights)], 1)
    levels = [maps if order is None else in_index_order(maps, order)]
    for _ in view.resolutions[1:]:
        levels.append(pooled(levels[-1]))
    return levels


def in_index_order(maps: Tensor, order: Tensor) -> Tensor:
    """Maps ``[N, K + 1, ...]``, background first and then from back to front, to the order of the blobs' indices."""
    return maps.flatten(0, 1).index_select(0, _rows(order.argsort(1))).view_as(maps)


def in_depth_order(maps: Tensor, order: Tensor) -> Tensor:
    """The inverse of :func:`in_index_order`."""
    return maps.flatten(0, 1).index_select(0, _rows(order)).view_as(maps)


def _rows(order: Tensor) -> Tensor:
    """Rows of ``[N * (K + 1), ...]`` that ``order`` ``[N, K]`` asks for, after each sample's background."""
    n, k = order.shape
    first = torch.arange(0, n * (k + 1), k + 1, device=order.device)[:, None]
    return (torch.cat([torch.zeros_like(order[:, :1]), order + 1], 1) + first).flatten()


def pooled(maps: Tensor) -> Tensor:
    """Means of 2x2 pixels. Sums of slices take a third of the time of ``avg_pool2d`` on a CPU."""
    rows = maps[..., 0::2, :] + maps[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]).mul(0.25)


def enlarged_into(maps: Tensor, out: Tensor) -> Tensor:
    """Add the transpose of :func:`pooled` of ``maps`` to ``out``, which has twice their size."""
    rows = maps.new_empty(*maps.shape[:-1], out.shape[-1])
    torch.mul(maps, 0.25, out=rows[..., 0::2])
    rows[..., 1::2] = rows[..., 0::2]
    out[..., 0::2, :] += rows
    out[..., 1::2, :] += rows
    return out


class Part(NamedTuple):
    """A piece of the batch of pictures: some samples, some rows of the first level."""

    samples: slice
    rows: slice

    def of(self, level: Tensor, halvings: int) -> Tensor:
        """The piece of a level that has been halved as often."""
        return level[self.samples, :, self.rows.start >> halvings : self.rows.stop >> halvings]


def parts(n: int, maps: int, view: View) -> Iterator[Part]:
    """Pieces of about CHUNK numbers in all ``maps`` of a sample; rows are whole on every level."""
    side, step = view.resolution, view.resolution // view.smallest
    rows = min(step * max(CHUNK // (maps * side * step), 1), side)
    samples = max(CHUNK // (maps * side * side), 1)
    for i in range(0, n, samples):
        for j in range(0, side, rows):
            yield Part(slice(i, min(i + samples, n)), slice(j, min(j + rows, side)))


def _opacity_into(out: Tensor, blobs: Tensor, f: Factors, part: Part) -> Tensor:
    """Before the factor ``m``: ``sigmoid(z)``, ``[n, K, rows, R]``."""
    torch.add(f.column[part.samples], f.slope[part.samples, :, part.rows], out=out)
    return torch.addcmul(f.row[part.samples, :, part.rows], out, out, value=-1, out=out).sigmoid_()


def splat(blobs: Tensor, order: Tensor | None, view: View, dtype: torch.dtype) -> list[Tensor]:
    """The levels, ``[N, K + 1, r, r]`` each, background first; not differentiable."""
    n, k, _ = blobs.shape
    levels = [blobs.new_empty(n, k + 1, r, r, dtype=dtype) for r in view.resolutions]
    if order is not None:
        blobs = blobs.take_along_dim(order[..., None], 1)
    f = factors(blobs, view)
    for part in parts(n, k + 1, view):
        strength = blobs[part.samples, :, 6, None, None]
        maps = blobs.new_empty(len(strength), k + 1, part.rows.stop - part.rows.start, view.resolution)
        opacity = _opacity_into(maps[:, 1:], blobs, f, part).mul_(strength)
        light = maps[:, 0].fill_(1)
        for weight in reversed(opacity.unbind(1)):
            light.sub_(weight.mul_(light))
        if order is not None:
            maps = in_index_order(maps, order[part.samples])
        for halvings, level in enumerate(levels):
            maps = maps if halvings == 0 else pooled(maps)
            part.of(level, halvings).copy_(maps)
    return levels


def splat_backward(grads: list[Tensor], blobs: Tensor, order: Tensor | None, view: View) -> Tensor:
    """The gradient for the blobs, ``[N, K, 7]``, from those of the levels; not differentiable."""
    n, k, _ = blobs.shape
    sorted_blobs = blobs if order is None else blobs.take_along_dim(order[..., None], 1)
    f = factors(sorted_blobs, view)
    dy = view.positions(blobs) - sorted_blobs[..., 1, None]
    powers = torch.stack([torch.ones_like(dy), dy, dy.square()], 2)  # [N, K, 3, R]
    moments = blobs.new_zeros(n, k, 3, view.resolution)  # over the rows so far
    strengths = blobs.new_zeros(n, k)
    for part in parts(n, k + 1, view):
        seen = _gradient_maps(grads, order, part, blobs.dtype)
        of_logits, of_strength = _through_compositing(seen, sorted_blobs, f, part)
        moments[part.samples] += powers[part.samples, :, :, part.rows] @ of_logits
        strengths[part.samples] += of_strength
    dx = view.positions(blobs) - sorted_blobs[..., 0, None]
    moments = moments @ torch.stack([torch.ones_like(dx), dx, dx.square()], 3)  # [N, K, power of dy, power of dx]
    gradient = _of_blobs(moments, strengths, sorted_blobs, view.area)
    return gradient if order is None else gradient.take_along_dim(order.argsort(1)[..., None], 1)


def _gradient_maps(grads: list[Tensor], order: Tensor | None, part: Part, dtype: torch.dtype) -> Tensor:
    """The gradient of the first level with those of the others in it, from back to front; a copy."""
    total = part.of(grads[-1], len(grads) - 1).to(dtype, copy=True)
    for halvings in range(len(grads) - 2, -1, -1):
        total = enlarged_into(total, part.of(grads[halvings], halvings).to(dtype, copy=True))
    return total if order is None else in_depth_order(total, order[part.samples])


def _through_compositing(seen: Tensor, blobs: Tensor, f: Factors, part: Part) -> tuple[Tensor, Tensor]:
    """``dL/dz`` ``[n, K, rows, R]`` and ``dL/dm`` ``[n, K]`` from the gradient of the weights, which is spent."""
    strength = blobs[part.samples, :, 6, None, None]
    sigma = _opacity_into(torch.empty_like(seen[:, 1:]), blobs, f, part)
    opacity = sigma * strength
    light = torch.empty_like(opacity)
    light[:, -1] = 1
    for i in range(light.shape[1] - 1, 0, -1):
        torch.addcmul(light[:, i], opacity[:, i], light[:, i], value=-1, out=light[:, i - 1])
    behind, of_blobs = seen[:, 0], seen[:, 1:]
    for i in range(light.shape[1]):
        of_blobs[:, i].sub_(behind)
        behind.addcmul_(opacity[:, i], of_blobs[:, i])
    of_opacity = of_blobs.mul_(light)
    of_strength = torch.mul(of_opacity, sigma, out=light).sum((2, 3))
    return torch.ops.aten.sigmoid_backward(of_opacity.mul_(strength), sigma), of_strength


def _of_blobs(moments: Tensor, strengths: Tensor, blobs: Tensor, area: float) -> Tensor:
    """Gradients of the seven numbers from the moments ``[N, K, 3, 3]`` of ``dL/dz`` about the centres."""
    form = conic(blobs, area)
    _, _, _, log_aspect, c, s, _ = blobs.unbind(2)
    along, across = inverse_variances(log_aspect, area)
    of_A, of_B, of_C = -moments[..., 0, 2], -2 * moments[..., 1, 1], -moments[..., 2, 0]
    of_along = c * c * of_A + c * s * of_B + s * s * of_C
    of_across = s * s * of_A - c * s * of_B + c * c * of_C
    turn = (along - across) * of_B
    return torch.stack(
        [
            2 * (form.A * moments[..., 0, 1] + form.B * moments[..., 1, 0]),
            2 * (form.B * moments[..., 0, 1] + form.C * moments[..., 1, 0]),
            moments[..., 0, 0],
            area * (across.square() * (-log_aspect).exp() * of_across - along.square() * log_aspect.exp() * of_along),
            2 * c * (along * of_A + across * of_C) + s * turn,
            2 * s * (across * of_A + along * of_C) + c * turn,
            strengths,
        ],
        2,
    )
