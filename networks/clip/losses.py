"""What texts ask of images, as distances between unit vectors of a CLIP.

``clip_distance`` is the loss of StyleCLIP (Patashnik et al. 2021, arXiv 2103.17249, section 4),
``directional_distance`` that of StyleGAN-NADA (Gal et al. 2022, arXiv 2108.00946, eq. 3).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def clip_distance(image_features: Tensor, text: Tensor) -> Tensor:
    """``1 - cos(image, text)`` of each image, ``[N]``.

    Args:
        image_features: ``[N, D]``.
        text: ``[D]``, or one for each image ``[N, D]``.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> clip_distance(torch.eye(2), torch.tensor([1.0, 0.0]))
        tensor([0., 1.])
    """
    _check(image_features, text)
    return 1 - F.cosine_similarity(image_features.float(), text.float().expand_as(image_features), dim=1)


def directional_distance(
    edited: Tensor, source: Tensor, target: Tensor, neutral: Tensor, least: float = 0.0
) -> Tensor:  # fmt: skip
    """``1 - cos(edited - source, target - neutral)`` of each image, ``[N]``.

    An image that did not move has no direction; its distance is 1. As a loss it needs ``least``: without it the
    gradient where an edit begins is the direction of what rounding left, however small.

    Args:
        edited: features of edited images ``[N, D]``.
        source: of the same images before, ``[N, D]``.
        target: features of the text, ``[D]`` or ``[N, D]``.
        neutral: features of a text that says what the images are anyway, ``[D]`` or ``[N, D]``.
        least: lengths of ``edited - source`` count as ``sqrt(length^2 + least^2)``, so that the distance falls evenly
            as an image begins to move; features are of length 1.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> import torch
        >>> here, text = torch.tensor([[1.0, 0.0]]), torch.tensor([0.0, 1.0])
        >>> directional_distance(here + 0.1 * text, here, text, 0 * text, least=0.1)
        tensor([0.2929])
    """
    _check(edited, source)
    if least == 0:
        return clip_distance(edited - source, target - neutral)
    _check(edited, target - neutral)
    step, unit = (edited - source).float(), F.normalize((target - neutral).float(), dim=-1)
    return 1 - (step * unit).sum(1) / (step.square().sum(1) + least**2).sqrt()


def _check(first: Tensor, second: Tensor) -> None:
    fits = first.ndim == 2 and (second.shape == first.shape or second.shape == first.shape[1:])
    if not fits:
        raise ValueError(f"features must be [N, D] and [D] or [N, D], got {list(first.shape)} and {list(second.shape)}")
