"""Random draws that follow from the clock alone, so that a resumed run draws what an uninterrupted one does."""

from __future__ import annotations

import torch


def seed_draws(seed: int, images_seen: int) -> None:
    """Seed PyTorch for one step of a run that counts images seen.

    An odd factor spreads the seeds over the 32 bits that PyTorch's CPU generator keeps.
    """
    torch.manual_seed((seed * 0x9E3779B1 + images_seen) & 0xFFFFFFFF)
