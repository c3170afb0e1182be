"""Autocomplete: scenes that have some blobs of given ones, and else are new (Epstein et al. 2022, section 4).

A hidden code is sought, near that of a fresh sample, whose layout has the kept blobs where they are. What the network
puts around them then fits, as it would not if blobs of two scenes were mixed. The edit leads there from the given
scenes, and leaves the kept blobs exactly as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from editors.descent import Schedule, descend
from networks.blobgan import BlobGenerator, BlobProgram, Layout
from networks.blobgan.steps import BlobStep
from networks.checkpoints.errors import GanvasError
from networks.latent import HIDDEN, Latent
from networks.latent_edit import LatentEdit

POOL, POOL_SEED = 1000, 0   # samples that say how much codes and blobs vary
COMPLETED = "completed"      # what the scenes that are put around kept blobs are called in their edit
FRESH = 10**6               # number of the first fresh sample: a scene sampled by the same seed is not met again


@dataclass(frozen=True)
class CompletionSettings:
    """How the hidden code is sought."""

    steps: int = 200             # Adam steps
    rate: float = 0.2            # largest step, in standard deviations of the hidden code
    ramp_up: float = 0.05        # share of the steps in which the rate rises
    ramp_down: float = 0.5       # share of the steps in which it falls
    content: bool = True         # keep what is in the blobs and how they look, too, not only where and how they lie
    prior: float = 0.01          # weight of the mean squared distance from the sample, in standard deviations

    def schedule(self) -> Schedule:
        """The descent's."""
        return Schedule(self.steps, self.rate, self.ramp_up, self.ramp_down)


@dataclass(frozen=True)
class Completed:
    """Scenes with kept blobs."""

    latent: Latent                        # layouts, the kept blobs exactly as they were
    code: Latent                          # the hidden codes found (space w): their blobs are nearly those
    distance: Tensor = field(repr=False)  # [N], how nearly: root mean square, in standard deviations of samples
    edit: LatentEdit = field(repr=False)  # what leads from the given scenes to these, at any strength


def complete(
    generator: BlobGenerator,
    latent: Latent,                              # layouts, [N]
    keep: Sequence[int],                         # numbers of the blobs that stay
    seed: int = 0,                               # of the samples that the rest comes from
    settings: CompletionSettings | None = None,
    start: Latent | None = None,                 # samples with their hidden codes, [N], instead of fresh ones
) -> Completed:  # fmt: skip
    """Scenes with the blobs ``keep`` of given layouts; the others, and the background, are of new scenes.

    Raises:
        GanvasError: if there are no such blobs, ``start`` does not fit, or the search diverges.
    """
    settings, device = settings or CompletionSettings(), generator.device
    target, blobs = Layout.of(latent.to(device)), sorted(set(keep))
    if not blobs or not 0 <= blobs[0] <= blobs[-1] < min(generator.k, target.k):
        raise GanvasError(f"blobs {list(keep)} cannot be kept; give some of 0 to {min(generator.k, target.k) - 1}")
    start = generator.sample(len(target), seed, first=FRESH) if start is None else start.to(device)
    if HIDDEN not in start.tensors or len(start) != len(target):
        raise GanvasError(f"to start from, as many samples with their hidden codes are needed, {len(target)}; edited "
                          "layouts have none")  # fmt: skip
    begin, pool = start.tensors[HIDDEN], generator.sample(POOL, POOL_SEED)
    unit, goal = pool.tensors[HIDDEN].std(dim=0), _numbers(target, blobs, settings.content)
    scale = [each.std(dim=(0, 1)).clamp(min=1e-3) for each in _numbers(Layout.of(pool), blobs, settings.content)]
    free = torch.zeros_like(begin).requires_grad_()

    def distance(offset: Tensor) -> Tensor:
        found = _numbers(generator.layout_network.layout(begin + unit * offset), blobs, settings.content)
        parts = [((a - b) / s).square().flatten(1).mean(1) for a, b, s in zip(found, goal, scale, strict=True)]
        return torch.stack(parts).mean(dim=0)  # a number of a place counts as much as all numbers of a style

    (best,) = descend(
        [free], lambda: distance(free) + settings.prior * free.square().mean(dim=1), settings.schedule(),
        "the completion", [f"scene {i}" for i in range(len(target))],
    )  # fmt: skip
    with torch.no_grad():
        code = begin + unit * best
        edit = _around(blobs, generator.layout_network.layout(code), generator.hash or None)
        return Completed(
            edit.apply(latent.to(device)), Latent("w", {"w": code}, None, edit.generator_hash),
            distance(best).sqrt().cpu(), edit,
        )  # fmt: skip


def _numbers(layout: Layout, blobs: Sequence[int], content: bool) -> list[Tensor]:
    """What of the blobs is to stay, each ``[N, blobs, D]``.

    An angle counts by twice itself, since an ellipse turned by half a circle is the same.
    """
    c, s = layout.angle[:, blobs].unbind(-1)
    found = [
        layout.centre[:, blobs], layout.size[:, blobs, None], layout.log_aspect[:, blobs, None],
        torch.stack([c * c - s * s, 2 * s * c], dim=2),
    ]  # fmt: skip
    rows = [blob + 1 for blob in blobs]
    return [*found, layout.structure[:, rows], layout.style[:, rows]] if content else found


def _around(blobs: Sequence[int], layout: Layout, owner: str | None) -> LatentEdit:
    """The edit that puts these layouts around the blobs; as many scenes as there are layouts."""
    step = BlobStep("surround", {"blobs": tuple(blobs), "scene": COMPLETED})
    return LatentEdit("layout", {}, owner, (), COMPLETED, BlobProgram((step,), {COMPLETED: layout}))
