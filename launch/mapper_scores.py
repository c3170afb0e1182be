"""What mappers do to codes that they did not learn on: figures by strength, and a contact sheet."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from launch.reports.pictures import panels
from networks.clip import clip_distance
from networks.grids import to_uint8
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.mapper import Mapper, MapperEdit, MixtureMapper
from networks.mapper.network import codes_of
from networks.mapper.sources import clip_features, features, remembered
from networks.mapper.wish import Wish
from networks.metrics.mappers import diversity
from trainers.mapper import Judges

STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
SHOWN, LETTERS = 8, 16   # sources on a sheet; letters above a column
ENOUGH = 0.5             # share of the largest gain in similarity that the weakest recommended strength has
OWN_CLIP = "similarity with the text, by the CLIP that it was fitted to, on held-out codes"


class Recommended(NamedTuple):
    """Strengths to use an edit at."""

    strengths: tuple[float, float] | None   # from, to; None: at none
    by: str                                 # what says so

    def __str__(self) -> str:
        return "none" if self.strengths is None else "{:g} to {:g}".format(*self.strengths)


@dataclass(frozen=True)
class Scores:
    """Means over the held-out codes.

    Args:
        before: similarity of the sources with the text.
        by_strength: strength -> figure -> value.
    """

    before: float
    by_strength: dict[float, dict[str, float]]

    @property
    def whole(self) -> dict[str, float]:
        """At strength 1."""
        return self.by_strength[1.0]

    @property
    def recommended(self) -> Recommended:
        """From the strength that has half of the largest gain in similarity to the one that has all of it.

        For want of a judge: the similarity is that with which the edit was fitted.
        """
        gains = {strength: found["clip"] - self.before for strength, found in self.by_strength.items()}
        most = max(gains, key=lambda strength: gains[strength])
        least = next((s for s, gain in gains.items() if gain >= ENOUGH * gains[most]), most)
        return Recommended((min(least, most), most), OWN_CLIP)


class Heldout:
    """Held-out codes, rendered and looked at once, as they are trained on."""

    def __init__(self, latent: Latent, judges: Judges, up_to: int, batch: int = 32) -> None:
        self.latent, self.judges, self.up_to, self.batch = latent, judges, up_to, batch
        parts = list(remembered(judges.generator, latent, judges.mix, judges.preserved, up_to, batch))
        self.kept = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    @torch.no_grad()
    def scores(
        self, edit: LatentEdit, wish: Wish, number: int = 0, strengths: Sequence[float] = STRENGTHS
    ) -> Scores:  # fmt: skip
        """How an edit follows a text and what it changes.

        Args:
            edit: of the space of the codes.
            wish: of the text alone.
            number: of the text among those that the terms of preservation know.
            strengths: at which it is measured; 1 among them.
        """
        sources = clip_features(self.kept)
        before = self._similarity(sources, wish).mean().item()
        return Scores(before, {strength: self._at(edit, wish, number, strength) for strength in strengths})

    def _at(self, edit: LatentEdit, wish: Wish, number: int, strength: float) -> dict[str, float]:
        generator, mix, _, preserved = self.judges
        sums: dict[str, float] = {}
        for first in range(0, len(self.latent), self.batch):
            part = self.latent[first : first + self.batch].to(generator.device)
            kept = {name: x[first : first + self.batch].to(generator.device) for name, x in self.kept.items()}
            seen = preserved.render(generator, edit.apply(part, strength), self.up_to)
            found = features(mix, seen)
            first_text = torch.zeros(len(part), dtype=torch.long, device=generator.device)
            terms = {"clip": self._similarity(found, wish), **preserved(seen, kept, first_text + number)}
            terms["directional"] = 1 - wish.turned(found, clip_features(kept), first_text)
            for name, x in terms.items():
                sums[name] = sums.get(name, 0.0) + float(x.sum())
        return {name: value / len(self.latent) for name, value in sums.items()}

    def _similarity(self, found: Sequence[Tensor], wish: Wish) -> Tensor:
        triples = zip(wish.weights, found, wish.targets, strict=True)
        return sum(weight * (1 - clip_distance(x, t[0].to(x))) for weight, x, t in triples)  # type: ignore[return-value]

    @torch.no_grad()
    def diversity(self, edits: Sequence[LatentEdit]) -> float:
        """How far the steps of these edits differ on the same codes, see ``networks/metrics/mappers.py``."""
        before = codes_of(self.latent, edits[0].space)
        steps = []
        for edit in edits:
            after = edit.apply(self.latent).tensors
            steps.append(torch.cat([(after[name] - x).flatten(1) for name, x in before.items()], dim=1))
        return diversity(torch.stack(steps))

    @torch.no_grad()
    def sheet(self, edits: Mapping[str, LatentEdit], strength: float = 1.0) -> Image.Image:
        """The first sources beside what each edit makes of them."""
        part = self.latent[:SHOWN].to(self.judges.generator.device)
        columns = {"source": part}
        for name, edit in edits.items():
            short = caption(name)
            columns[f"{short} {len(columns)}" if short in columns else short] = edit.apply(part, strength)
        render = self.judges.generator.render
        pictures = {name: to_uint8(render(codes).float().clamp(-1, 1).cpu()) for name, codes in columns.items()}
        return panels(pictures, across=1 if len(columns) > 3 else 2)


def caption(text: str) -> str:
    """As many of the last words of a text as stand above a column of a sheet.

    Example:
        >>> caption("a person wearing glasses")
        'wearing glasses'
    """
    words = text.split()
    while len(" ".join(words)) > LETTERS and len(words) > 1:
        words.pop(0)
    return " ".join(words)[:LETTERS]


def edit_of(
    mapper: Mapper | MixtureMapper, judges: Judges, name: str, region: tuple[str, ...], condition: Tensor | None = None
) -> LatentEdit:
    """A copy of a mapper, which may be trained on, as an edit of its generator's codes."""
    mapper, condition = mapper.answering(condition)   # before it is copied
    module = MapperEdit.by(copy.deepcopy(mapper), condition)
    return LatentEdit(mapper.space, {}, judges.generator.hash or None, region, name, module)
