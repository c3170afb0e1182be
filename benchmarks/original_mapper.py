"""A step of a mapper's training as StyleCLIP's program takes it: what ours is compared with.

Patashnik et al. 2021 (arXiv 2103.17249, section 5), written from the semantics of the released program. The source is
rendered anew at each step, and both images at full size; CLIP sees the edited one enlarged seven times by repetition
and averaged down, without its mean and deviation; the text is encoded at each step; the face network looks at both
images; no network is frozen, so that all their weights get gradients, which nothing ever clears; each term is waited
for to be logged. A checkpoint holds the generator beside the mapper.

The mapper itself is ours with the original's recipe, which gives the original's steps (``tests/networks/
test_mapper.py``), and so are generator, CLIP and optimiser: the same on both sides, and no slower than the original's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.clip import ClipModel, clip_distance
from networks.latent import Latent
from networks.mapper import STYLECLIP, Mapper, mapper_for
from networks.protocol import Generator
from trainers.ranger import Ranger

CLIP, LENGTH, IDENTITY = 1.0, 0.8, 0.1   # weights
RATE = 0.5
INPUT, TIMES = 224, 7                    # pixels a side of what its CLIP takes; how often a pixel is repeated before


@dataclass
class OriginalMapper:
    """One text's training, on the generator's device.

    Args:
        generator: whose codes are moved; a module.
        clip: of which the towers are used.
        identity: images to unit vectors.
        text: as it is, without templates.
        latent: codes in W+, of which a batch is drawn at each step.
        batch: how many; the original has 2.
        cached: encode the text once instead, as a favour.
        asleep: freeze all networks but the mapper, as a favour.
    """

    generator: Generator
    clip: ClipModel
    identity: nn.Module
    text: str
    latent: Latent
    batch: int = 2
    cached: bool = False
    asleep: bool = False
    mapper: Mapper = field(init=False)
    losses: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.mapper = mapper_for(self.generator, "levels", STYLECLIP, measured=False)
        self.optimizer = Ranger(self.mapper.parameters(), lr=RATE)
        self.order = torch.Generator().manual_seed(0)
        self.said = self.clip.text_tower.encode([self.text]).detach() if self.cached else None

    def step(self) -> None:
        """Train on one batch."""
        chosen = torch.randint(len(self.latent), [self.batch], generator=self.order)
        with awake([] if self.asleep else self.networks()):
            self.optimizer.zero_grad()
            self.loss(self.latent.tensors["ws"][chosen]).backward()
            self.optimizer.step()

    def networks(self) -> Sequence[nn.Module]:
        """Those that the original leaves trainable and does not train."""
        return [m for m in (self.generator, self.clip, self.clip.text_tower, self.identity) if isinstance(m, nn.Module)]

    def loss(self, ws: Tensor) -> Tensor:
        """Of codes ``[N, rows, width]``."""
        with torch.no_grad():
            before = self.generator.render(Latent("w+", {"ws": ws}))
        moved = ws + self.mapper({"ws": ws})["ws"]
        after = self.generator.render(Latent("w+", {"ws": moved}))
        terms = {
            "identity": IDENTITY * self.strange(after, before), "clip": CLIP * self.unlike(after).mean(),
            "length": LENGTH * F.mse_loss(moved, ws),
        }  # fmt: skip
        self.losses = {name: float(term.detach()) for name, term in terms.items()}
        return sum(terms.values(), torch.zeros((), device=ws.device))

    def strange(self, after: Tensor, before: Tensor) -> Tensor:
        """``1 - <R(after), R(before)>``, the mean."""
        wanted = self.identity(_rgb(before)).detach()
        return 1 - (self.identity(_rgb(after)) * wanted).sum(1).mean()

    def unlike(self, images: Tensor) -> Tensor:
        """``1 - cos`` between images and the text, ``[N]``."""
        x = _rgb(images)
        if self.clip.resolution == INPUT:   # the original knows no other size; others see the image as it is
            x = F.avg_pool2d(F.interpolate(x, scale_factor=TIMES, mode="nearest"), images.shape[-1] * TIMES // INPUT)
        text = self.clip.text_tower.encode([self.text]) if self.said is None else self.said
        return clip_distance(self.clip.image_tower(x), text.to(x)[0])

    def save(self, path: Path) -> None:
        """A checkpoint as the original writes it."""
        save(path, self.mapper, self.generator, {"description": self.text})


def save(path: Path, mapper: Mapper, generator: Generator, opts: dict[str, Any]) -> None:
    """Mapper, generator and arguments in one file."""
    tensors = {f"mapper.{name}": x for name, x in mapper.state_dict().items()}
    tensors |= {f"decoder.{name}": x for name, x in generator.state_dict().items()}  # type: ignore[attr-defined]
    torch.save({"state_dict": tensors, "opts": opts}, path)


@contextmanager
def awake(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Within it these networks' weights get gradients, which stay; they are frozen again afterwards."""
    for network in networks:
        network.requires_grad_(True)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(False)


def _rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)
