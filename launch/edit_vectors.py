"""The vectors of ``vector=``, at the strengths of ``strength=``, as a sequence or as one edit."""

from __future__ import annotations

from dataclasses import replace

from omegaconf import DictConfig

from editors.sequence import EditSequence
from networks.checkpoints.edits import load_edit
from networks.checkpoints.errors import GanvasError
from networks.latent_edit import LatentEdit

NAME = "edit"   # of one that is called nothing else


def check_strengths(cfg: DictConfig) -> None:
    """Refuse another number of strengths than of vectors.

    Raises:
        GanvasError: saying both.
    """
    if cfg.vector and len(cfg.strength) not in (1, len(cfg.vector)):
        raise GanvasError(f"there are {len(cfg.vector)} vectors and {len(cfg.strength)} strengths: give one for all or "
                          "one for each.")  # fmt: skip


def vectors_of(cfg: DictConfig) -> EditSequence | None:
    """The vectors at their strengths, in order; those that add are one. None if there are none.

    Raises:
        GanvasError: if a file is no vector, or they do not go together.
    """
    if not cfg.vector:
        return None
    strengths = list(cfg.strength) * (len(cfg.vector) if len(cfg.strength) == 1 else 1)
    try:
        found = EditSequence.of(
            load_edit(path) * strength for path, strength in zip(cfg.vector, strengths, strict=True)
        )
    except ValueError as error:
        raise GanvasError(f"vector=[{','.join(cfg.vector)}] with strength={strengths}: {error}.") from error
    return replace(found, region=tuple(cfg.classes)) if cfg.classes else found


def vector_of(cfg: DictConfig) -> LatentEdit | None:
    """The vectors at their strengths, as one; None if there are none.

    Raises:
        GanvasError: if a file is no vector, or they are not of one space.
    """
    found = vectors_of(cfg)
    if found is not None and len(found.edits) > 1:
        spaces = ", ".join(edit.space for edit in found.edits)
        raise GanvasError(f"vector=[{','.join(cfg.vector)}] are edits in {spaces}, which do not add: give those of one "
                          "space.")  # fmt: skip
    return None if found is None else found.edits[0]
