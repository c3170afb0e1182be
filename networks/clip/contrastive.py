"""The loss that a CLIP is trained by: InfoNCE where it is known which texts are false of which images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(
    images: Tensor, own: Tensor, contrasts: Tensor, own_false: Tensor, contrast_false: Tensor, scale: Tensor
) -> Tensor:
    """Each image is to find its own text, each text its own image (Radford et al. 2021, figure 3).

    In a batch, "a smiling person" is true of many images. Only a text that is false of an image counts against it, so
    short texts can be learned from. Contrasts, the own text with one thing changed, are further texts to be told from.

    Args:
        images: unit vectors ``[B, D]``.
        own: of a text of each image ``[B, D]``.
        contrasts: of the same texts, changed so that they are false, ``[B, D]``.
        own_false: bool ``[B, B]``: whether the text of column j is false of the image of row i.
        contrast_false: the same of the contrasts.
        scale: what cosines are multiplied by.

    Raises:
        ValueError: if the shapes do not fit.
    """
    n = len(images)
    if not images.shape == own.shape == contrasts.shape or not own_false.shape == contrast_false.shape == (n, n):
        shapes = [list(x.shape) for x in (images, own, contrasts, own_false, contrast_false)]
        raise ValueError(f"vectors must be [B, D] and tables [B, B], got {shapes}")
    answers = torch.arange(n, device=images.device)
    counts = own_false | torch.eye(n, dtype=torch.bool, device=images.device)
    logits = scale * images @ torch.cat([own, contrasts]).T   # [B, 2 B]
    to_text = logits.masked_fill(~torch.cat([counts, contrast_false], 1), -torch.inf)
    to_image = logits[:, :n].masked_fill(~counts, -torch.inf).T
    return (F.cross_entropy(to_text, answers) + F.cross_entropy(to_image, answers)) / 2
