"""How much of an outline an edit leaves in a picture."""

from __future__ import annotations

from torch import Tensor


def seam_ratio(before: Tensor, after: Tensor, region: Tensor) -> float:
    """Mean difference of neighbours that a region's outline parts, after an edit, by that before it.

    It is 1 where the edit leaves no seam, and above where it does. The means are over the outlines of all pictures,
    since a picture that is flat there has none of its own; NaN if there is no outline, infinite if all are flat before.

    Args:
        before: images, ``[N, C, H, W]``.
        after: the same, edited.
        region: where the edit is, bool ``[N, H, W]``.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if before.shape != after.shape or region.shape != before[:, 0].shape:
        raise ValueError(f"images must be [N, C, H, W] of one shape and the region [N, H, W], got "
                         f"{list(before.shape)}, {list(after.shape)} and {list(region.shape)}")  # fmt: skip
    steps = [_across(images, region) for images in (after, before)]
    return float(steps[0] / steps[1])


def _across(images: Tensor, region: Tensor) -> Tensor:
    """Summed absolute differences of neighbours of which one is inside."""
    right = (images[..., 1:] - images[..., :-1]).abs().sum(1) * (region[..., 1:] != region[..., :-1])
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().sum(1) * (region[:, 1:] != region[:, :-1])
    return right.double().sum() + down.double().sum()
