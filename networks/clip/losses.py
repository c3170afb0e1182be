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


def directional_distance(edited: Tensor, source: Tensor, target: Tensor, neutral: Tensor) -> Tensor:
    """``1 - cos(edited - source, target - neutral)`` of each image, ``[N]``.

    An image that did not move has no direction; its distance is 1.

    Args:
        edited: features of edited images ``[N, D]``.
        source: of the same images before, ``[N, D]``.
        target: features of the text, ``[D]`` or ``[N, D]``.
        neutral: features of a text that says what the images are anyway, ``[D]`` or ``[N, D]``.

    Raises:
        ValueError: if the shapes do not fit.
    """
    _check(edited, source)
    return clip_distance(edited - source, target - neutral)


def _check(first: Tensor, second: Tensor) -> None:
    fits = first.ndim == 2 and (second.shape == first.shape or second.shape == first.shape[1:])
    if not fits:
        raise ValueError(f"features must be [N, D] and [D] or [N, D], got {list(first.shape)} and {list(second.shape)}")
