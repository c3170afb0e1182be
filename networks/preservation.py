"""What an edit by text is to leave alone: who it is, how it looks, or everything outside a region.

StyleCLIP keeps identity by ArcFace (Patashnik et al. 2021, arXiv 2103.17249, eq. 4), HairCLIP also the background
(Wei et al. 2022, arXiv 2112.05142, eq. 10). Each term remembers of a source image what it compares with, so that a
source is looked at once, however often it is edited.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.critics.lpips_distance import PerceptualCritic
from networks.critics.sizes import for_critic
from networks.latent import Latent
from networks.protocol import Features, Generator
from networks.segmentation import Head, predict_mask, render_maps

Kept = Mapping[str, Tensor]  # what is remembered of N images, each tensor [N, ...]


class Seen(NamedTuple):
    """What a generator drew."""

    images: Tensor                 # [N, C, R, R], in about [-1, 1]
    maps: Features | None = None   # what a segmentation branch reads, where a term asks for it


class Preservation(nn.Module, ABC):
    """A frozen term: no parameter requires a gradient, images do."""

    needs_maps = False  # whether it reads the generator's maps, and so the whole synthesis

    @abstractmethod
    def remember(self, seen: Seen) -> dict[str, Tensor]:
        """What is kept of source images, ``[N, ...]``."""

    @abstractmethod
    def forward(self, seen: Seen, kept: Kept, which: Tensor | None = None) -> Tensor:
        """How far edited images are from what was kept of their sources, ``[N]``; 0 for the same images.

        Args:
            seen: the edited images.
            kept: what was remembered of their sources.
            which: number of the text that each follows, ``[N]``; None: all follow the first.
        """


class IdentityPreservation(Preservation):
    """``1 - <R(edited), R(source)>`` of a network that gives unit vectors: ArcFace, or what stands for it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = _frozen(network)

    def remember(self, seen: Seen) -> dict[str, Tensor]:
        return {"vector": self.network(_rgb(seen.images)).float()}

    def forward(self, seen: Seen, kept: Kept, which: Tensor | None = None) -> Tensor:
        return 1 - (self.network(_rgb(seen.images)).float() * kept["vector"]).sum(1)


class PerceptualPreservation(Preservation):
    """A perceptual distance; of the sources half-precision features are kept."""

    def __init__(self, critic: PerceptualCritic) -> None:
        super().__init__()
        self.critic = _frozen(critic)

    def remember(self, seen: Seen) -> dict[str, Tensor]:
        maps = self.critic.features(for_critic(seen.images))
        return {str(i): x.half() for i, x in enumerate(maps)}

    def forward(self, seen: Seen, kept: Kept, which: Tensor | None = None) -> Tensor:
        maps = self.critic.features(for_critic(seen.images))
        return self.critic.distance(maps, tuple(kept[str(i)].to(x) for i, x in enumerate(maps)))


FEW = 0.002  # share of the pixels that a class counts as, if it has fewer


class OutsideRegion(Preservation):
    """Mean absolute difference of the pixels that show none of some classes, before and after: "change only hair".

    Absolute, since what reads the images is misled by many small changes rather than by a few large ones; and the mean
    over the source's classes of the mean over each one's pixels: a change of the eyes is one, however small they are.

    Args:
        head: the segmentation branch of the generator that draws.
        regions: ids of the classes that may change, for each text; one for all if there is but one.
        margin: how far around them may change, too, as a share of the side.

    Raises:
        ValueError: if there is no class, or the branch does not know one.
    """

    needs_maps = True

    def __init__(self, head: Head, regions: Sequence[Sequence[int]], margin: float = 0.02) -> None:
        super().__init__()
        if not regions or not all(regions) or not all(0 <= k < head.num_classes for ids in regions for k in ids):
            raise ValueError(f"a region needs ids of classes below {head.num_classes}, got {list(map(list, regions))}")
        self.head, self.margin = _frozen(head), margin
        may = torch.zeros(len(regions), head.num_classes, dtype=torch.bool)
        for row, ids in zip(may, regions, strict=True):
            row[list(ids)] = True
        self.register_buffer("may", may, persistent=False)  # [texts, classes]

    def remember(self, seen: Seen) -> dict[str, Tensor]:
        return {"image": seen.images.half(), "classes": self._classes(seen)}

    def forward(self, seen: Seen, kept: Kept, which: Tensor | None = None) -> Tensor:
        may = self.may[:1] if which is None or len(self.may) == 1 else self.may[which]
        may = may.expand(len(seen.images), -1)
        inside = self._inside(may, kept["classes"]) | self._inside(may, self._classes(seen))
        reach = round(self.margin * seen.images.shape[-1])
        inside = F.max_pool2d(inside.float()[:, None], 2 * reach + 1, stride=1, padding=reach)  # [N, 1, R, R]
        difference = (seen.images - kept["image"].to(seen.images)).abs().mean(1, keepdim=True)
        outside, classes = (1 - inside).flatten(1), kept["classes"].long().flatten(1)
        none = torch.zeros(len(classes), self.head.num_classes, device=outside.device)
        counts = none.scatter_add(1, classes, outside)
        sums = none.scatter_add(1, classes, difference.float().flatten(1) * outside)
        means = sums / counts.clamp_min(FEW * outside.shape[1])  # [N, classes]
        return means.sum(1) / (counts > 0).sum(1).clamp_min(1)

    def _classes(self, seen: Seen) -> Tensor:
        if seen.maps is None:
            raise ValueError("a region is found in the generator's maps, and there are none")
        return predict_mask(self.head, {name: x.detach().float() for name, x in seen.maps.items()})  # uint8 [N, R, R]

    def _inside(self, may: Tensor, classes: Tensor) -> Tensor:
        """Which pixels may change, bool ``[N, R, R]``, of rows ``[N, classes]`` of the table."""
        return may.gather(1, classes.long().flatten(1)).view(classes.shape)


class Preserved(nn.Module):
    """Terms by name, each with its weight, or one for each text; none is a choice, too."""

    def __init__(
        self, terms: Mapping[str, Preservation] | None = None,
        weights: Mapping[str, float | Sequence[float]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.terms = nn.ModuleDict(terms or {})
        self._weights = dict(weights or {})
        if self._weights.keys() != self.terms.keys():
            raise ValueError(f"each term has a weight, got {list(self.terms)} and {list(self._weights)}")

    @property
    def needs_maps(self) -> bool:
        """Whether a term reads the generator's maps."""
        return any(term.needs_maps for term in self.terms.values())

    def render(self, generator: Generator, latent: Latent, up_to: int | None = None) -> Seen:
        """Draw codes as the terms have to see them: with maps the whole image, whatever ``up_to`` says."""
        if self.needs_maps:
            return Seen(*render_maps(generator, latent))
        return Seen(generator.render(latent, up_to=up_to))

    def weights(self, which: Tensor | None = None) -> dict[str, float | Tensor]:
        """Each term's weight, a number or ``[N]``, for ``which`` text each of N images follows; None: the first."""
        found: dict[str, float | Tensor] = {}
        for name, weight in self._weights.items():
            if isinstance(weight, Sequence):
                found[name] = weight[0] if which is None else torch.tensor(weight, device=which.device)[which]
            else:
                found[name] = weight
        return found

    @torch.no_grad()
    def remember(self, seen: Seen) -> dict[str, Tensor]:
        """What all terms keep of source images, ``<term>.<name>``."""
        return {
            f"{name}.{key}": x for name, term in self.terms.items() for key, x in term.remember(seen).items()
        }  # fmt: skip

    def forward(self, seen: Seen, kept: Kept, which: Tensor | None = None) -> dict[str, Tensor]:
        """Each term's distance, ``[N]``, unweighted; ``which`` text each image follows, as terms have it."""
        found = {}
        for name, term in self.terms.items():
            own = {key.removeprefix(f"{name}."): x for key, x in kept.items() if key.startswith(f"{name}.")}
            found[name] = term(seen, own, which)
        return found


def _frozen(network: nn.Module) -> nn.Module:
    return network.eval().requires_grad_(False)


def _rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)
