"""Latent optimisation by text: codes whose images show what a text says, found for each image by descent.

StyleCLIP (Patashnik et al. 2021, arXiv 2103.17249, section 4, eq. 1): the CLIP distance to the text, the length of the
step, and the identity. Three things are ours. Steps and lengths are measured in standard deviations of the codes, so
that one rate fits every generator (``units="raw"`` is the original). Images and texts are optimised together, each pair
as if it were alone. And the best codes met are kept, not the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor
from tqdm import tqdm

from editors.descent import Schedule, descend
from editors.ownership import require_owner
from networks.channel_statistics import channel_statistics, convolution_paths, require_styles
from networks.checkpoints.errors import GanvasError
from networks.clip import ClipMix, ClipModel
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.latent_statistics import w_statistics
from networks.levels import LEVELS, level_rows, style_levels
from networks.mapper import in_space
from networks.mapper.sources import features
from networks.mapper.wish import Wish
from networks.preservation import Preserved, Seen
from networks.protocol import Generator

OptimisedSpace = Literal["w+", "s"]
Units = Literal["deviations", "raw"]
SAMPLES = 1000   # codes that the unit of a step is measured on, as in inversion


@dataclass(frozen=True)
class TextSettings:
    """How codes are optimised."""

    space: OptimisedSpace = "w+"     # s: the styles of the convolutions; those of ToRGB stay
    steps: int = 100                 # Adam steps at most
    rate: float = 0.1                # largest step, in the unit of ``units``
    ramp_up: float = 0.05            # share of the steps in which the rate rises, linearly
    ramp_down: float = 0.25          # share of the steps in which it falls, with a cosine
    patience: int = 30               # stop an image after as many steps without gain
    tolerance: float = 0.001         # share of the lowest loss that counts as a gain
    clip: float = 0.0                # weight of the CLIP distance to the text
    directional: float = 1.0         # weight of the distance between the image's change and the text's
    l2: float = 0.1                  # weight of the step's squared length
    units: Units = "deviations"      # of rate and length: of the codes' deviations, mean over them; or as they are, sum
    levels: tuple[str, ...] = LEVELS  # of the layers that may move
    resolution: int = 256            # images are rendered at most so large
    batch: int = 16                  # images and texts optimised at once

    def __post_init__(self) -> None:
        for name, known in {"space": get_args(OptimisedSpace), "units": get_args(Units)}.items():
            if getattr(self, name) not in known:
                raise GanvasError(f"optimise {name}={getattr(self, name)} must be one of {', '.join(known)}.")
        for name in ("rate", "batch", "patience", "resolution"):
            if not getattr(self, name) > 0:
                raise GanvasError(f"optimise {name}={getattr(self, name)} must be greater than 0.")
        if not self.clip + self.directional > 0:
            raise GanvasError("optimise clip=0 directional=0 leave nothing of the text: raise one of them.")
        for name in ("steps", "l2", "tolerance", "clip", "directional"):
            if not getattr(self, name) >= 0:
                raise GanvasError(f"optimise {name}={getattr(self, name)} must be at least 0.")
        if not self.levels or set(self.levels) - set(LEVELS):
            raise GanvasError(f"optimise levels=[{','.join(self.levels)}] must be some of {', '.join(LEVELS)}.")

    def schedule(self) -> Schedule:
        """Steps and rates of the descent."""
        return Schedule(self.steps, self.rate, self.ramp_up, self.ramp_down, self.patience, self.tolerance)


# optimization/run_optimization.py of the original: 0.008 is the weight of a sum over all coordinates of W+, which for
# 18 x 512 of them is 74 times their mean; its largest rate is 0.1 of W as it is.
STYLECLIP = TextSettings(steps=300, patience=300, clip=1.0, directional=0.0, l2=0.008, units="raw")


@dataclass(frozen=True)
class TextEdited:
    """Codes before and after, of each text and image, on the CPU."""

    texts: tuple[str, ...]
    before: Latent                               # [N], in the space that was optimised
    after: tuple[Latent, ...]                    # of each text [N]
    distance_before: Tensor = field(repr=False)  # [K, N], loss of the text alone, without lengths and preservation
    distance: Tensor = field(repr=False)         # [K, N], after

    def edit(self, text: int = 0, image: int | None = None, region: tuple[str, ...] = ()) -> LatentEdit:
        """The step that one image took towards a text; without ``image`` their mean, to apply to others."""
        pick = slice(None) if image is None else slice(image, image + 1)
        return LatentEdit.between(self.before[pick], self.after[text][pick], region, self.texts[text])

    def at(self, strength: float, text: int = 0) -> Latent:
        """Every image's own step at a strength, ``[N]``; 1 gives :attr:`after`."""
        end = self.after[text].tensors
        return self.before.replace(**{name: t.lerp(end[name], strength) for name, t in self.before.tensors.items()})


class TextOptimiser:
    """One generator, one CLIP, one set of settings.

    Args:
        generator: of StyleGAN2.
        clip: one model, or a weighted mix.
        settings: see :class:`TextSettings`.
        preserved: what is to stay, beside the length of the step; None: nothing.

    Raises:
        GanvasError: if the generator has no such space.
    """

    def __init__(
        self, generator: Generator, clip: ClipModel | ClipMix, settings: TextSettings | None = None,
        preserved: Preserved | None = None,
    ) -> None:  # fmt: skip
        self.generator, self.settings = require_styles(generator), settings or TextSettings()
        self.mix = (clip if isinstance(clip, ClipMix) else ClipMix([clip])).to(generator.device)
        self.preserved = (preserved or Preserved()).to(generator.device)
        self.moves = _moves(self.generator, self.settings)

    def edit(
        self,
        latent: Latent,               # codes of the images, in z, w, w+ or (for the space s) s
        texts: Sequence[str],
        neutral: str = "a person",    # what the images show anyway
        names: Sequence[str] = (),    # of the images, for sentences
        progress: bool = False,       # show a progress bar
    ) -> TextEdited:
        """Find codes for every image and text.

        Raises:
            GanvasError: if the codes belong to another generator, a text cannot be encoded, or the descent diverges.
        """
        require_owner(latent, self.generator)
        s, n = self.settings, len(latent)
        if not texts:
            raise GanvasError("there is no text: say what the images are to show.")
        wish = Wish.of(self.mix, texts, neutral)
        before = in_space(self.generator, latent.to(self.generator.device), s.space)
        names = names or [f"image {i}" for i in range(n)]
        pairs = torch.arange(n * len(texts))
        found: list[Latent] = []
        distances: list[Tensor] = []
        with tqdm(total=len(pairs) * s.steps, desc="optimise", unit="step", disable=not progress) as bar:
            for part in pairs.split(s.batch):
                # Texts one after another, so that a batch holds few of them and each image's name is its own.
                labels = [f"{names[i % n]} ({texts[i // n]})" for i in part.tolist()]
                problem = _Problem(self, wish, before[part % n], (part // n).to(self.generator.device), labels)
                moved, change = problem.solve(bar)
                found.append(moved.to("cpu"))
                distances.append(change.cpu())
        after, distance = Latent.cat(found), torch.cat(distances, 1).view(2, len(texts), n)
        each = tuple(after[i * n : (i + 1) * n] for i in range(len(texts)))
        return TextEdited(tuple(texts), before.to("cpu"), each, distance[0], distance[1])


@dataclass(frozen=True)
class _Move:
    """One tensor of the latent that is free."""

    name: str
    unit: Tensor   # broadcasts against [N, ...]: what a step of 1 is; 0 where nothing moves


class _Problem:
    """A batch of pairs of an image and a text on the generator's device."""

    def __init__(
        self, editor: TextOptimiser, wish: Wish, latent: Latent, which: Tensor, names: Sequence[str]
    ) -> None:  # fmt: skip
        self.editor, self.wish, self.latent, self.which, self.names = editor, wish, latent, which, names
        with torch.no_grad():
            seen = self.render(latent)
            self.source, self.kept = features(editor.mix, seen), editor.preserved.remember(seen)

    def render(self, latent: Latent) -> Seen:
        return self.editor.preserved.render(self.editor.generator, latent, self.editor.settings.resolution)

    def moved(self, free: Sequence[Tensor]) -> Latent:
        """The codes after steps in the unit of each."""
        steps = zip(self.editor.moves, free, strict=True)
        return self.latent.replace(**{m.name: self.latent.tensors[m.name] + m.unit * step for m, step in steps})

    def loss(self, free: Sequence[Tensor]) -> Tensor:
        """Of each pair, ``[N]``."""
        preserved, seen = self.editor.preserved, self.render(self.moved(free))
        loss = self.of_text(features(self.editor.mix, seen)) + self.editor.settings.l2 * self.length(free)
        changed: Mapping[str, Tensor] = preserved(seen, self.kept)
        weights = preserved.weights()
        return loss + sum(weights[name] * term for name, term in changed.items())

    def of_text(self, seen: Sequence[Tensor]) -> Tensor:
        """How far images are from their texts, ``[N]``; ``seen`` are their features, model by model."""
        s, terms = self.editor.settings, self.wish.distances(seen, self.source, self.which)
        return s.clip * terms["clip"] + s.directional * terms["directional"]

    def length(self, free: Sequence[Tensor]) -> Tensor:
        """Squared length of each step, ``[N]``: mean over the coordinates that move, or sum of them as they are."""
        live = [(m.unit != 0).expand_as(step[0]) for m, step in zip(self.editor.moves, free, strict=True)]
        squares = [
            ((m.unit != 0) * step).square().flatten(1).sum(1) for m, step in zip(self.editor.moves, free, strict=True)
        ]
        total = torch.stack(squares).sum(0)
        return total if self.editor.settings.units == "raw" else total / sum(int(part.sum()) for part in live)

    def solve(self, bar: tqdm) -> tuple[Latent, Tensor]:
        """Codes of the lowest loss met, and the text's loss before and after, ``[2, N]``."""
        free = [torch.zeros_like(self.latent.tensors[m.name]).requires_grad_() for m in self.editor.moves]
        schedule = self.editor.settings.schedule()
        best = descend(free, lambda: self.loss(free), schedule, "the optimisation", self.names, bar)
        with torch.no_grad():
            moved = self.moved(best)
            after = self.of_text(features(self.editor.mix, self.render(moved)))
            return moved, torch.stack([self.of_text(self.source), after])


def _moves(generator: Generator, settings: TextSettings) -> tuple[_Move, ...]:
    """What may move, and the unit of a step."""
    raw = settings.units == "raw"
    if settings.space == "w+":
        spread = w_statistics(generator, SAMPLES)
        num_ws = spread.mean.shape[1]
        rows = torch.zeros(num_ws, 1, device=spread.mean.device)
        for name in settings.levels:
            rows[list(level_rows(num_ws)[name])] = 1
        return (_Move("ws", rows * (1.0 if raw else spread.std)),)
    std = channel_statistics(generator, SAMPLES).std
    at = style_levels(std)
    paths = [path for path in convolution_paths(generator) if at[path] in settings.levels]
    return tuple(_Move(path, torch.ones_like(std[path]) if raw else std[path]) for path in paths)
