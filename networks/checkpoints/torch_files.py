"""Checkpoints that ``torch.save`` wrote: which code base's they are."""

from __future__ import annotations

from pathlib import Path

from networks.checkpoints.blobgan import is_blobgan, read_blobgan
from networks.checkpoints.foreign import Found, Network
from networks.checkpoints.pickles import read_torch
from networks.checkpoints.rosinality import read_rosinality


def read_torch_file(path: Path, network: Network) -> Found:
    """One network of a ``.pt`` or ``.ckpt`` file.

    Raises:
        GanvasError: if the file is unusable, or no code base's that is known.
        NetworkMissingError: if it holds no such network.
    """
    checkpoint = read_torch(path)
    return (read_blobgan if is_blobgan(checkpoint) else read_rosinality)(path, checkpoint, network)
