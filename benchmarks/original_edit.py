"""A step of a mask edit as EditGAN's program takes it: what ours is compared with.

Ling et al. 2021 (arXiv 2111.03186, section 3.3), written from the semantics of the released recipe: all maps are
enlarged to the image's size by repetition and concatenated, the pixels of the region are taken out of that stack, ten
networks classify them, and the mean of their logits, the perceptual and the pixel distance outside the region make the
loss. The perceptual network embeds both images in each step. The step's fourth term, an encoder's opinion of the image,
is left out, in its favour.

The stack of one 512x512 image is 6.3 GB, and a step holds it three times. Where that is too much, ``parts`` times the
same operations map by map; their sum is again in its favour, since nothing has to be moved out of the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from benchmarks.clock import spent
from networks.critics.lpips_distance import PerceptualCritic
from networks.latent import Latent
from networks.protocol import Generator

PERCEPTUAL, PIXEL = 150.0, 75.0   # weights, of a cross-entropy of 1
RATE = 0.02                       # Adam's


@dataclass
class OriginalEdit:
    """One image's edit. Everything is on the generator's device."""

    generator: Generator                              # frozen
    members: Sequence[nn.Module] = field(repr=False)  # frozen, in evaluation mode: [P, D] -> [P, K]
    critic: PerceptualCritic = field(repr=False)
    latent: Latent                                    # one code in W+
    target: Tensor                                    # uint8 [R, R], the wished mask
    region: Tensor                                    # bool [R, R], Q_edit

    def __post_init__(self) -> None:
        with torch.no_grad():
            self.image = self.generator.render(self.latent)
        self.ws = self.latent.tensors["ws"].clone().requires_grad_()
        self.wish = self.target[self.region].long()   # [P]
        self.outside = (~self.region).to(self.image.dtype)
        self.optimizer = torch.optim.Adam([self.ws], lr=RATE)

    def step(self) -> Tensor:
        """One step of the descent; its loss."""
        image, features = self.render()
        stack = torch.cat([self.enlarged(x) for x in features], dim=1)
        pixels = stack[0][:, self.region].T
        loss = self.classification(pixels) + self.distance(image)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def render(self) -> tuple[Tensor, list[Tensor]]:
        """The image, and all maps."""
        image, features = self.generator.render(self.latent.replace(ws=self.ws), features=True)
        return image, list(features.values())

    def enlarged(self, x: Tensor) -> Tensor:
        """A map ``[1, C, r, r]`` by repetition, ``[1, C, R, R]``."""
        return interpolate(x, size=self.region.shape, mode="nearest")

    def logits(self, pixels: Tensor) -> Tensor:
        """The ensemble's mean logits ``[P, K]`` of pixels ``[P, D]``."""
        return torch.stack([member(pixels) for member in self.members]).mean(0)

    def classification(self, pixels: Tensor) -> Tensor:
        """Cross-entropy with the wish."""
        return cross_entropy(self.logits(pixels), self.wish)

    def distance(self, image: Tensor) -> Tensor:
        """What changed outside the region, which is painted black in both images."""
        shown, wanted = image * self.outside, self.image * self.outside
        return PERCEPTUAL * self.critic(shown, wanted).mean() + PIXEL * (shown - wanted).square().mean()

    def parts(self) -> dict[str, float]:
        """Seconds of the operations of :meth:`step`, forward and backward, each of them by itself."""
        (image, *features), rendering = self._rendered()
        pieces, enlarging = zip(*(self._gather(x) for x in features), strict=True)
        pixels = torch.cat(pieces).T.contiguous()
        return {
            "rendering": rendering, "enlarging": sum(enlarging), "perceptual": self._seconds(self.distance, image),
            "classifying": self._seconds(self.classification, pixels),
        }  # fmt: skip

    def _rendered(self) -> tuple[list[Tensor], float]:
        """The image and the maps, and the seconds of both ways through the generator."""
        device = self.generator.device
        (image, features), forward = _result_and_seconds(device, self.render)
        moving = [x for x in (image, *features) if x.requires_grad]  # the constant does not
        gradients = [torch.ones_like(x) for x in moving]
        backward = spent(device, lambda: torch.autograd.grad(moving, self.ws, gradients))
        return [x.detach() for x in (image, *features)], forward + backward

    @torch.no_grad()
    def inference(self) -> float:
        """Seconds from the maps to the logits in the region: enlarged, copied side by side, classified."""
        device, pieces, seconds = self.generator.device, [], 0.0
        for x in self.render()[1]:
            gathered, once = _result_and_seconds(device, lambda: self.enlarged(x).clone()[0][:, self.region])  # noqa: B023 -- called at once
            pieces.append(gathered)
            seconds += once
        pixels = torch.cat(pieces).T.contiguous()
        return seconds + spent(device, lambda: self.logits(pixels))

    def _gather(self, x: Tensor) -> tuple[Tensor, float]:
        """A map's pixels in the region ``[C, P]``, and the seconds that the stack costs for it."""
        device = x.device
        x = x.requires_grad_()
        # The copy is its part of the concatenation, whose backward pass only cuts.
        piece, forward = _result_and_seconds(device, lambda: self.enlarged(x).clone()[0][:, self.region])
        gradient = torch.ones_like(piece)
        return piece.detach(), forward + spent(device, lambda: torch.autograd.grad(piece, x, gradient))

    def _seconds(self, work: Callable[[Tensor], Tensor], given: Tensor) -> float:
        """Forward and backward to ``given``."""
        given = given.detach().requires_grad_()
        return spent(given.device, lambda: torch.autograd.grad(work(given), given))


def _result_and_seconds(device: torch.device, work: Callable[[], Any]) -> tuple[Any, float]:
    found: list[Any] = []
    seconds = spent(device, lambda: found.append(work()))
    return found[0], seconds
