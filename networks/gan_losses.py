"""Adversarial losses and the gradient penalty, as functions of logits: one an image, or several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Loss = Literal["logistic", "hinge"]


def discriminator_loss(real: Tensor, fake: Tensor, kind: Loss) -> Tensor:
    """Mean loss of the discriminator on logits ``[N, L]``: logistic (Goodfellow et al. 2014) or hinge."""
    match kind:
        case "logistic":
            return F.softplus(-real).mean() + F.softplus(fake).mean()
        case "hinge":
            return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    raise ValueError(f"loss must be logistic or hinge, got {kind!r}")


def generator_loss(fake: Tensor, kind: Loss) -> Tensor:
    """Mean loss of the generator on its images' logits ``[N, L]``: non-saturating where logistic, or hinge."""
    match kind:
        case "logistic":
            return F.softplus(-fake).mean()
        case "hinge":
            return -fake.mean()
    raise ValueError(f"loss must be logistic or hinge, got {kind!r}")


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Squared norm of the gradient on real images (or codes), ``[N]`` (Mescheder et al. 2018, equation 9)."""
    real = real.detach().requires_grad_(True)
    logits = discriminator(real)
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def path_lengths(images: Tensor, ws: Tensor) -> Tensor:
    """How far images move for a small step in W, in random directions of image space (Karras et al. 2020, equation 4).

    Args:
        images: ``[N, C, H, W]``, made from ``ws`` with a graph.
        ws: ``[N, num_ws, w_dim]``.

    Returns:
        ``[N]``, twice differentiable: root of the mean over rows of the squared norm of the Jacobian's product with an
        image of noise, whose size does not depend on the number of pixels.
    """
    noise = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def auto_r1_gamma(resolution: int, batch_size: int) -> float:
    """A weight of the R1 penalty for a new set of images: 0.0002 R^2 / B (Karras et al. 2020b, appendix C, ``auto``).

    Example:
        >>> auto_r1_gamma(256, 32)
        0.4096
    """
    return 0.0002 * resolution**2 / batch_size


LARGEST_GRADIENT = 1e5


def sanitise_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace NaN by 0 and infinities by 1e5 in the gradients: half precision overflows now and then.

    A value that stays broken shows in the losses, which are not touched.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.nan_to_num_(nan=0.0, posinf=LARGEST_GRADIENT, neginf=-LARGEST_GRADIENT)
