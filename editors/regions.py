"""Where an edit of a mask takes place: EditGAN's Q_edit (Ling et al. 2021, arXiv 2111.03186, eq. 1).

    Q_edit = { pixels whose class is edited, in the mask before or in the mask after }, dilated by a margin

Inside, the branch is to see the new mask; outside, the image is to stay as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.checkpoints.classes import IGNORE
from networks.checkpoints.errors import GanvasError

SHARE = 1 / 3  # a class is edited if as large a part of it comes or goes; of the others, only the changed pixels count


def edited_classes(before: Tensor, after: Tensor) -> list[int]:
    """The classes that one mask changes for another: those of which at least a third comes or goes.

    A mouth that grows takes a few pixels of the skin around it. The mouth is edited; the skin is not, or the whole face
    would be free to change.

    Args:
        before: uint8 ``[H, W]``; 255 counts in nothing.
        after: the same.
    """
    known = (before != IGNORE) & (after != IGNORE)
    changed = known & (before != after)
    found = []
    for k in torch.cat([before[changed], after[changed]]).unique().tolist():
        either = known & ((before == k) | (after == k))
        if (changed & either).sum() >= SHARE * either.sum():
            found.append(k)
    return found


def edit_region(
    before: Tensor,                                 # uint8 [N, H, W], the branch's masks of the images
    after: Tensor,                                  # uint8 [N, H, W], as they are or should be; 255: no wish
    margin: float,                                  # dilation, as a share of the side
    classes: Sequence[int] | None = None,           # those that are edited; None: edited_classes of each image
    changed: bool = True,                           # every other pixel whose class changes, too
) -> Tensor:  # fmt: skip
    """Q_edit of each image, bool ``[N, H, W]``: the edited classes, before and after, and what else changes.

    Raises:
        ValueError: if the masks differ in shape.
    """
    if before.shape != after.shape or before.ndim != 3:
        raise ValueError(f"masks must be [N, H, W] both, got {list(before.shape)} and {list(after.shape)}")
    region = (after != IGNORE) & (before != after) & changed
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        for k in edited_classes(old, new) if classes is None else classes:
            region[i] |= (old == k) | (new == k)
    return dilate(region, round(margin * before.shape[-1]))


def require_partial(region: Tensor, names: Sequence[str]) -> None:
    """Refuse regions ``[N, H, W]`` that are empty or leave nothing outside.

    Raises:
        GanvasError: with the name of the first such image.
    """
    for name, one in zip(names, region, strict=True):
        if not one.any():
            raise GanvasError(f"the edit of {name} changes nothing: the branch sees the wished mask there already, or "
                              "none of the edited classes; draw a change")  # fmt: skip
        if one.all():
            raise GanvasError(f"the edit of {name} covers the whole image, so nothing would be kept; name fewer "
                              "classes, or lower the margin")  # fmt: skip


def dilate(region: Tensor, radius: int) -> Tensor:
    """Grow ``region`` bool ``[N, H, W]`` by ``radius`` pixels, along the axes and the diagonals."""
    if radius < 1:
        return region
    return F.max_pool2d(region[:, None].float(), 2 * radius + 1, stride=1, padding=radius)[:, 0] > 0
