"""The seam of an edit: none where nothing changed, and as much as its outline shows."""

from __future__ import annotations

import math

import pytest
import torch

from networks.metrics.seams import seam_ratio


def ramp() -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures that rise by 0.1 a pixel from left to right, and a square in each."""
    images = (torch.arange(8) * 0.1).expand(2, 3, 8, 8)
    region = torch.zeros(2, 8, 8, dtype=torch.bool)
    region[:, 2:5, 2:5] = True
    return images, region


def test_what_is_outlined_by_an_edit_is_measured_against_what_was_there() -> None:
    images, region = ramp()
    assert seam_ratio(images, images, region) == 1.0
    lifted = images + 0.3 * region[:, None]        # left 0.1 -> 0.4, right 0.1 -> 0.2, above and below 0 -> 0.3
    assert seam_ratio(images, lifted, region) == pytest.approx((3 * 0.4 + 3 * 0.2 + 6 * 0.3) / (6 * 0.1))
    inner = images.clone()
    inner[:, :, 3, 3] = 1.0                         # within the region: no seam
    assert seam_ratio(images, inner, region) == pytest.approx(1.0)


def test_without_an_outline_or_anything_beside_it_there_is_no_ratio() -> None:
    images, region = ramp()
    assert math.isnan(seam_ratio(images, images, torch.ones_like(region)))
    flat = torch.zeros_like(images)
    assert math.isinf(seam_ratio(flat, images + region[:, None], region))
    with pytest.raises(ValueError, match="of one shape"):
        seam_ratio(images, images, region[:1])
