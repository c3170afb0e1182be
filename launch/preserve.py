"""The terms that hold an edit by text back, as a configuration names them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from omegaconf import DictConfig

from networks.checkpoints.bundle import owner_of, read_bundle
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.heads import head_from_bundle
from networks.checkpoints.zoo import resolve
from networks.critics import perceptual
from networks.identity import load_identity
from networks.preservation import (
    IdentityPreservation,
    OutsideRegion,
    PerceptualPreservation,
    Preservation,
    Preserved,
)
from networks.protocol import Generator


def preserved_of(options: DictConfig, generator: Generator, key: str, texts: Sequence[str]) -> Preserved:
    """The terms that have a weight.

    Args:
        options: of ``launch.schema_edit.PreserveConfig``.
        generator: whose images are edited.
        key: of these options, for sentences.
        texts: that images are to follow.

    Raises:
        GanvasError: if a network is missing, or a region is not one of the branch's.
    """
    weights: dict[str, float | list[float]] = {
        name: options[name] for name in ("identity", "perceptual", "outside") if options[name]
    }
    terms: dict[str, Preservation] = {}
    if "identity" in weights:
        terms["identity"] = IdentityPreservation(load_identity(options.identity_network)[0])
    if "perceptual" in weights:
        terms["perceptual"] = PerceptualPreservation(perceptual(options.critic))
    if "outside" in weights:
        terms["outside"] = _outside(options, generator, key, texts)
        weights["outside"] = [_own_weight(options, key, text) for text in texts]
    elif options.region:
        raise GanvasError(f"{key}.region=[{','.join(options.region)}] says what may change, and "
                          f"{key}.outside=0 that nothing holds the rest: give it a weight.")  # fmt: skip
    return Preserved(terms, weights)


def regions_of(options: DictConfig, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Names of the classes that each text may change; none where nothing holds the rest."""
    own = options.get("regions") or ()  # of a mapper's options
    return [own_words(own, text, options.region) if options.outside else () for text in texts]


def own_words(entries: Sequence[Sequence[Any]], text: str | None, common: Sequence[Any]) -> tuple[Any, ...]:
    """What ``entries`` ``[[text, word, ...], ...]`` have for a text, or else what is common to all."""
    return tuple({entry[0]: entry[1:] for entry in entries if entry}.get(text, common))


def _own_weight(options: DictConfig, key: str, text: str) -> float:
    """How firmly what is outside of a text's region is held."""
    own = options.get("text_outside") or ()  # of a mapper's options
    words = own_words(own, text, (options.outside,))
    with suppress(TypeError, ValueError):
        (weight,) = map(float, words)
        if 0 <= weight < math.inf:
            return weight
    if not any(entry and entry[0] == text for entry in own):
        raise GanvasError(f"{key}.outside={options.outside} must be a number of at least 0.")
    raise GanvasError(f"{key}.text_outside has {' '.join(map(str, words)) or 'nothing'} for {text!r}: give a number of "
                      f"at least 0, [[{text},3]].")  # fmt: skip


def _outside(options: DictConfig, generator: Generator, key: str, texts: Sequence[str]) -> OutsideRegion:
    regions = regions_of(options, texts)
    if not options.segmentation or not all(regions):
        raise GanvasError(f"{key}.outside needs {key}.segmentation=FILE, the bundle of a branch, and "
                          f"{key}.region=[CLASS], what may change.")  # fmt: skip
    bundle = read_bundle(resolve(options.segmentation))
    head, owner = head_from_bundle(bundle), owner_of(bundle.manifest)
    if owner != generator.hash:
        raise GanvasError(f"{bundle.path} belongs to another generator: give the branch of {generator.hash[:12]}.")
    classes = ClassList.from_json(bundle.manifest["classes"])
    return OutsideRegion(head, [[classes.id_of(name) for name in region] for region in regions], options.margin)
