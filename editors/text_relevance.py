"""The relevance that a generator and a CLIP go with: from a file, from the zoo, or measured and kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from editors.text_directions import RelevanceSettings, measure_relevance
from networks.checkpoints.cache_dir import cache_dir
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.relevance import find_relevance, load_relevance, save_relevance
from networks.clip import ClipModel
from networks.protocol import Generator
from networks.relevance import Relevance


def relevance_of(
    generator: Generator,
    clip: ClipModel,
    path: str | Path | None = None,                # its bundle; None: see below
    settings: RelevanceSettings | None = None,     # how it is measured, if it is
    progress: bool = False,
) -> Relevance:  # fmt: skip
    """A bundle's; or the zoo's for this pair; or measured, which is kept in the cache.

    Raises:
        GanvasError: if the bundle belongs to another generator or another CLIP.
    """
    found = Path(path) if path is not None else None if settings else find_relevance(generator.hash, clip.identity)
    if found is None:
        return _measured(generator, clip, settings or RelevanceSettings(), progress)
    relevance = load_relevance(found)
    if relevance.generator_hash != generator.hash:
        raise GanvasError(f"{found} belongs to generator {relevance.generator_hash[:12]}, and the one given is "
                          f"{generator.hash[:12]}: channels of one mean nothing to another.")  # fmt: skip
    if relevance.clip != clip.identity:
        raise GanvasError(f"{found} was measured with {relevance.clip}, and the one given is {clip.identity}: give "
                          "the same, or measure again.")  # fmt: skip
    return relevance


def _measured(generator: Generator, clip: ClipModel, settings: RelevanceSettings, progress: bool) -> Relevance:
    about = [generator.hash, clip.identity.to_json(), settings.of_result()]
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    folder = cache_dir() / "relevance" / key
    kept = folder / "relevance.safetensors"
    if kept.is_file():
        try:
            return load_relevance(kept)
        except GanvasError:   # damaged: it is measured and written again
            pass
    relevance = measure_relevance(generator, clip, settings, folder / "parts", progress)
    save_relevance(kept, relevance)
    return relevance
