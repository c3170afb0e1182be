"""Codes belong to the generator that they were made for; with another they would quietly give nonsense."""

from __future__ import annotations

from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.protocol import Generator


def require_owner(latent: Latent, generator: Generator) -> None:
    """Refuse codes of another generator. Codes or generators without a hash cannot be told apart and pass.

    Raises:
        GanvasError: naming both.
    """
    if latent.generator_hash and generator.hash and latent.generator_hash != generator.hash:
        raise GanvasError(
            f"these latents belong to generator {latent.generator_hash[:12]}, not to {generator.hash[:12]};"
            " use the generator they were made with, or invert the images again"
        )
