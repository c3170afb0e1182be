"""Conditioned mappers in and out of bundles, and the edit that such a mapper makes of a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.nn import functional as F

from networks.checkpoints.bundle import Manifest, owner_of, save_bundle
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.modules import load_module
from networks.clip import TEMPLATES, ClipIdentity, ClipModel
from networks.latent_edit import LatentEdit
from networks.mapper import Mapper, MapperEdit, MixtureMapper, build_mapper

KIND = "conditioned_mapper"


def save_conditioned(
    path: str | Path, mapper: Mapper | MixtureMapper, generator_hash: str, clip: ClipIdentity, neutral: str,
    templates: tuple[str, ...], extra: Mapping[str, Any],
) -> Path:  # fmt: skip
    """Write a mapper that takes the direction of a text.

    Args:
        path: the ``.safetensors`` file to write.
        mapper: with a condition as wide as the CLIP's vectors.
        generator_hash: whose codes it moves.
        clip: that gives directions.
        neutral: the text that they begin at.
        templates: that texts are averaged over.
        extra: further manifest entries.

    Raises:
        GanvasError: if the file cannot be written.
        ValueError: if the mapper takes no condition.
    """
    if not mapper.recipe.condition:
        raise ValueError("this mapper takes no condition: it is an edit as it is")
    return save_bundle(path, mapper.state_dict(), {
        **extra, "kind": KIND, "config": mapper.config, "generator": {"hash": generator_hash},
        "clip": clip.to_json(), "neutral": neutral, "templates": list(templates),
    })  # fmt: skip


def load_conditioned(path: str | Path) -> tuple[Mapper | MixtureMapper, Manifest]:
    """Read such a mapper, frozen, and its manifest; ``zoo/NAME`` is also looked for in the zoo.

    Raises:
        GanvasError: if the bundle is unusable or of another kind.
    """
    return load_module(path, KIND, lambda manifest: build_mapper(manifest["config"]))


def text_edit(path: str | Path, text: str, clip: ClipModel) -> LatentEdit:
    """The edit that a conditioned mapper makes of a text, also of one that it was not trained on.

    Args:
        path: the mapper's bundle.
        text: what images are to show.
        clip: the model that the mapper was trained with.

    Raises:
        GanvasError: if the bundle is unusable, was trained with another CLIP, or the text says nothing to it.
    """
    mapper, manifest = load_conditioned(path)
    trained = ClipIdentity.from_json(manifest.get("clip") or {})
    if trained != clip.identity:
        raise GanvasError(f"{path} was trained with {trained}, and the CLIP given is {clip.identity}: give that one.")
    templates = tuple(manifest.get("templates") or TEMPLATES)
    target = clip.encode_prompt(text, templates)
    neutral = clip.encode_neutral(manifest["neutral"], templates)
    condition = F.normalize(target - neutral, dim=0).cpu()
    owner = owner_of(manifest)
    return LatentEdit(mapper.space, {}, owner, name=text, module=MapperEdit.by(mapper, condition))
