"""Random draws that follow from the clock alone, so that a resumed run draws what an uninterrupted one does."""

from __future__ import annotations

import torch


def seed_draws(seed: int, images_seen: int) -> None:
    """Seed PyTorch for one step of a run that counts images seen.

    An odd factor spreads the seeds over the 32 bits that PyTorch's CPU generator keeps.
    """
    seed_step((seed * 0x9E3779B1 + images_seen) & 0xFFFFFFFF)


def seed_step(seed: int) -> None:
    """Seed PyTorch at a step, on the devices that are in use.

    ``torch.manual_seed`` does the same for every kind of accelerator that there might be, and for each that was not
    started it walks and keeps the whole stack: on a machine without a GPU that takes 1 to 2 ms, at every step.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
