"""How a layout network uses its blobs: figures that show blobs which die, pile up or never move."""

from __future__ import annotations

import torch
from torch import Tensor

from networks.blobgan.layout import Layout

ALIVE = 0.01  # least share of the image that a blob must cover to be of use


def blob_usage(layout: Layout, weights: Tensor) -> dict[str, float]:
    """Figures of a batch of scenes.

    Args:
        layout: the blobs.
        weights: of background and blobs in each pixel, ``[N, K + 1, R, R]``.

    Returns:
        ``coverage``: share of the image that blobs cover, not the background. ``entropy``: of a pixel's weights over
        the greatest possible, 0 where each pixel is one blob's. ``dead_blobs``: share of the K blobs that cover less
        than 1 % in every scene. ``blobs_in_use``: blobs that cover more than that, in the mean over scenes.
        ``spread``: root mean square distance of the centres from their mean, in widths of the image.

    Example:
        >>> one = torch.ones(1, 1)
        >>> blob = Layout(torch.full((1, 1, 2), 0.5), one, one, one[..., None].expand(1, 1, 2), *torch.ones(2, 1, 2, 1))
        >>> blob_usage(blob, torch.tensor([0.25, 0.75]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4))["coverage"]
        0.75
    """
    share = weights[:, 1:].mean(dim=(2, 3))  # [N, K]
    entropy = torch.special.entr(weights.clamp(0, 1)).sum(dim=1).mean()
    centres = layout.centre.flatten(0, 1)
    return {
        "coverage": float(share.sum(dim=1).mean()),
        "entropy": float(entropy / torch.tensor(float(weights.shape[1])).log()),
        "dead_blobs": float((share.amax(dim=0) < ALIVE).float().mean()),
        "blobs_in_use": float((share >= ALIVE).sum(dim=1).float().mean()),
        "spread": float((centres - centres.mean(dim=0)).square().sum(dim=1).mean().sqrt()),
    }
