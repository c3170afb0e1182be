"""CLIP behind one interface: which image fits which text, whoever trained the model.

``load_clip("avatar").encode_prompt("a smiling person")`` is ``[dim]``; so is a row of ``encode_images(images)``.
"""

from __future__ import annotations

from networks.checkpoints.errors import GanvasError
from networks.clip.identity import ClipIdentity
from networks.clip.losses import clip_distance, directional_distance
from networks.clip.model import ClipMix, ClipModel, TextTower
from networks.clip.preprocess import Preprocessing, area_resize
from networks.clip.templates import TEMPLATES

__all__ = [
    "TEMPLATES", "ClipIdentity", "ClipMix", "ClipModel", "Preprocessing", "TextTower", "area_resize", "clip_distance",
    "directional_distance", "load_clip",
]  # fmt: skip

DEFAULT = "zoo/clip_avatars64.safetensors"   # what "avatar" means


def load_clip(spec: str, legacy: bool = False) -> ClipModel:
    """A frozen CLIP by its name.

    Args:
        spec: ``avatar``, the one in the zoo; the path of such a bundle; ``open_clip:MODEL:FILE`` or
            ``open_clip:MODEL:TAG``; ``transformers:FOLDER``. Only a tag, or a folder that is a name on a hub, can make
            the library download, and only where nothing of that name is on the disk.
        legacy: hand images over as the original StyleCLIP did, without mean and deviation.

    Raises:
        GanvasError: if there is no such model, or a package that it needs is missing.
    """
    provider, _, rest = spec.partition(":")
    # Imported here: each provider needs packages that the others do not.
    if provider == "open_clip" and all(rest.partition(":")):
        from networks.clip.open_clip_provider import load_open_clip

        model, _, weights = rest.partition(":")
        return load_open_clip(model, weights, legacy)
    if provider == "transformers" and rest:
        from networks.clip.transformers_provider import load_transformers_clip

        return load_transformers_clip(rest, legacy)
    if spec == "avatar" or spec.endswith(".safetensors"):
        from networks.clip.avatar import load_avatar_clip

        return load_avatar_clip(DEFAULT if spec == "avatar" else spec, legacy)
    raise GanvasError(f"there is no CLIP {spec!r}: give avatar, a bundle's path, open_clip:MODEL:FILE or "
                      "transformers:FOLDER.")  # fmt: skip
