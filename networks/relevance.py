"""Which channels of style space a text is about: StyleCLIP's global directions, from measurement to edit.

Patashnik et al. 2021 (StyleCLIP, arXiv 2103.17249, section 6): each channel has a direction in CLIP's space, in which
images move when the channel does; a text has one too, from a neutral text to itself. Channels whose direction agrees
with the text's make the edit. How the channels' directions are found is ``editors/text_directions.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError
from networks.clip import ClipIdentity, ClipModel
from networks.latent_edit import LatentEdit

STILL = 1e-6   # a shorter change of a unit vector is rounding: single precision has 1e-7


@dataclass(frozen=True)
class Relevance:
    """What each channel does to images, in the eyes of one CLIP; of one generator.

    Args:
        direction: affine path -> ``[C, D]``, unit vectors; zeros for a channel that changes nothing.
        std: affine path -> ``[C]``, of every path of the generator, those without a direction too.
        generator_hash: whose channels they are.
        clip: whose space the directions are in.
        settings: how they were measured, plain JSON values.
    """

    direction: dict[str, Tensor] = field(repr=False)
    std: dict[str, Tensor] = field(repr=False)
    generator_hash: str
    clip: ClipIdentity
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        for path, direction in self.direction.items():
            if path not in self.std or direction.ndim != 2 or self.std[path].shape != direction.shape[:1]:
                raise ValueError(f"the channels of {path} have directions {list(direction.shape)} and no deviations to "
                                 "go with them")  # fmt: skip

    @property
    def channels(self) -> int:
        """That have been measured."""
        return sum(map(len, self.direction.values()))

    def scores(self, text: Tensor) -> dict[str, Tensor]:
        """Cosine of each channel's direction with the text's, affine path -> ``[C]``.

        Args:
            text: ``[D]``, of any length.

        Raises:
            ValueError: if it is of another space.
        """
        widths = {direction.shape[1] for direction in self.direction.values()}
        if widths != {len(text)}:
            raise ValueError(f"directions are of {sorted(widths)} dimensions, and the text has {len(text)}")
        unit = F.normalize(text.float().cpu(), dim=0)
        return {path: direction.float().cpu() @ unit for path, direction in self.direction.items()}


class Direction(NamedTuple):
    """A text's step in style space, and how it was chosen."""

    edit: LatentEdit
    channels: int      # that it moves
    beta: float        # the least |relevance| among them
    strongest: float   # the greatest


def text_direction(clip: ClipModel, text: str, neutral: str) -> Tensor:
    """From the neutral text to the text, unit ``[D]``: normalised means over the templates, and their difference.

    Raises:
        GanvasError: if a text cannot be encoded, or both are the same.
    """
    step = clip.encode_prompt(text) - clip.encode_neutral(neutral)
    if step.norm() < STILL:
        raise GanvasError(f"text={text} and neutral={neutral} are the same to this CLIP: say what is to change, and "
                          "what the images show anyway.")  # fmt: skip
    return F.normalize(step, dim=0)


def global_direction(
    relevance: Relevance,
    text: Tensor,                    # [D], see text_direction
    alpha: float = 3.0,              # standard deviations that the most relevant channel moves at strength 1
    beta: float | None = None,       # channels of a lower |relevance| stay ...
    channels: int | None = None,     # ... or: so many of the most relevant move
    name: str = "",                  # for people
    region: tuple[str, ...] = (),    # names of the classes that it is meant to change
) -> Direction:  # fmt: skip
    r"""The edit of a text (StyleCLIP, section 6): ``alpha R_c / max|R| sigma_c`` of each channel with \|R_c\| >= beta.

    Raises:
        GanvasError: if both ``beta`` and ``channels`` are given or neither, or no channel is left.
    """
    scores = relevance.scores(text)
    flat = torch.cat(list(scores.values()))
    strongest = float(flat.abs().max())
    if (beta is None) == (channels is None):
        raise GanvasError("give one of beta= (the least relevance) and channels= (how many move).")
    if not math.isfinite(alpha) or alpha == 0:
        raise GanvasError(f"alpha={alpha} must be a number that is not 0: deviations that the strongest channel moves.")
    if channels is not None:
        if not 1 <= channels <= len(flat):
            raise GanvasError(f"channels={channels} must be from 1 to {len(flat)}, which is how many were measured.")
        beta = float(flat.abs().topk(channels).values[-1])
    kept = flat.abs() >= beta
    if beta < 0 or not kept.any() or strongest == 0:
        raise GanvasError(f"beta={beta:g} leaves no channel: the most relevant of {len(flat)} has {strongest:.3f}; "
                          "give less, or channels=20.")  # fmt: skip
    delta = {path: torch.zeros_like(std, device="cpu") for path, std in relevance.std.items()}
    for path, score in scores.items():
        step = torch.where(score.abs() >= beta, score, 0) * (alpha / strongest)
        delta[path] = step * relevance.std[path].cpu()
    edit = LatentEdit("s", delta, relevance.generator_hash or None, region, name)
    return Direction(edit, int(kept.sum()), float(beta), strongest)
