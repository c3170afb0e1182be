"""Edits of the mask: codes whose image has a wished mask in a region, and stays as it is elsewhere.

EditGAN (Ling et al. 2021, arXiv 2111.03186, section 3.3): cross-entropy of the branch inside Q_edit, perceptual and
pixel distance outside, by descent in W+. Three things differ. The branch enlarges its maps as it was trained to (the
original trained bilinear and edited nearest). Pixels inside Q_edit are replaced by the original's in what the distances
see, instead of painted black, so that its outline is no edge. And the best codes met are kept, not the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from editors.descent import Schedule, descend
from editors.ownership import require_owner
from editors.regions import edit_region, require_partial
from editors.target import Target
from networks.checkpoints.classes import IGNORE
from networks.checkpoints.errors import GanvasError
from networks.critics import PERCEPTUAL, perceptual
from networks.critics.lpips_distance import Embedding, PerceptualCritic
from networks.critics.sizes import for_critic
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.latent_statistics import w_statistics
from networks.protocol import Generator
from networks.segmentation import Head, predict_mask
from networks.segmentation.geometry import Window
from networks.segmentation.maps import render_maps

SAMPLES = 1000   # codes that the unit of a step is measured on, as in inversion
TILE = 16        # the window that the branch computes is a multiple of this many pixels a side


@dataclass(frozen=True)
class EditSettings:
    """How a mask is edited."""

    steps: int = 60               # Adam steps at most
    rate: float = 0.1             # largest step, in standard deviations of W
    ramp_up: float = 0.05         # share of the steps in which the rate rises
    ramp_down: float = 0.25       # share of the steps in which it falls
    patience: int = 15            # stop an image after as many steps without gain
    tolerance: float = 0.005      # share of the lowest loss that counts as a gain
    margin: float = 0.02          # how far the region reaches beyond the edited classes, as a share of the side
    labels: float = 0.02          # weight of the cross-entropy inside the region
    pixel: float = 1.0            # weight of the mean squared difference outside
    perceptual: float = 0.1       # weight of the perceptual distance outside
    delta: float = 0.01           # weight of the mean squared length of the step in W+
    identity: float = 0.0         # weight of 1 - cosine of an identity network's embeddings, if one is given
    rows: tuple[int, int] | None = None   # rows of W+ that may move, from the first up to but not the second; None: all
    critic: str = "stlpips-alex"  # see networks.critics.perceptual
    batch: int = 16               # images edited at once

    def __post_init__(self) -> None:
        if self.critic not in PERCEPTUAL:
            raise GanvasError(f"edit critic must be one of {', '.join(PERCEPTUAL)}, got {self.critic!r}")
        for name in ("rate", "batch", "patience"):
            if not getattr(self, name) > 0:
                raise GanvasError(f"edit {name} must be greater than 0, got {getattr(self, name)}")
        for name in ("steps", "margin", "labels", "pixel", "perceptual", "delta", "identity", "tolerance"):
            if not getattr(self, name) >= 0:
                raise GanvasError(f"edit {name} must be at least 0, got {getattr(self, name)}")

    def schedule(self) -> Schedule:
        """Steps and rates of the descent."""
        return Schedule(self.steps, self.rate, self.ramp_up, self.ramp_down, self.patience, self.tolerance)


@dataclass(frozen=True)
class Edited:
    """Images before and after an edit, on the CPU and of the generator's size."""

    before: Latent
    after: Latent
    image_before: Tensor = field(repr=False)       # [N, C, R, R] in [-1, 1]
    image: Tensor = field(repr=False)              # [N, C, R, R] in [-1, 1]
    mask_before: Tensor = field(repr=False)        # uint8 [N, R, R], what the branch sees
    mask: Tensor = field(repr=False)               # uint8 [N, R, R]
    target: Tensor = field(repr=False)             # uint8 [N, R, R], what it was to see; 255: no wish
    region: Tensor = field(repr=False)             # bool [N, R, R], Q_edit

    @classmethod
    def of(
        cls, before: Latent, after: Latent, seen_before: tuple[Tensor, Tensor], seen: tuple[Tensor, Tensor],
        target: Tensor, region: Tensor,
    ) -> Edited:  # fmt: skip
        """From codes and what :meth:`MaskEditor.see` shows of them, on any device."""
        images, masks = ((seen_before[i].cpu(), seen[i].cpu()) for i in range(2))
        shown = [image.clamp(-1, 1) for image in images]
        return cls(before.to("cpu"), after.to("cpu"), *shown, *masks, target.cpu(), region.cpu())

    def __len__(self) -> int:
        return len(self.image)

    @property
    def agreement(self) -> Tensor:
        """Share of the wished pixels in the region that the branch now sees as wished, ``[N]``."""
        asked = self.region & (self.target != IGNORE)
        return (asked & (self.mask == self.target)).sum((1, 2)) / asked.sum((1, 2)).clamp_min(1)

    @property
    def outside(self) -> Tensor:
        """Mean absolute change outside the region, ``[N]``, of values scaled to [0, 1]."""
        return _mean_change(self.image, self.image_before, ~self.region)

    @property
    def inside(self) -> Tensor:
        """Mean absolute change inside the region, ``[N]``, of values scaled to [0, 1]."""
        return _mean_change(self.image, self.image_before, self.region)

    def vector(self, region: Sequence[str] = (), name: str = "") -> LatentEdit:
        """The mean step of these edits, to apply to other images (EditGAN's editing vector)."""
        return LatentEdit.between(self.before, self.after, tuple(region), name)

    def figures(self) -> dict[str, float]:
        """The means over the images."""
        return {name: float(getattr(self, name).mean()) for name in ("agreement", "inside", "outside")}

    def take(self, indices: Sequence[int] | Tensor) -> Edited:
        """These images, in this order."""
        return Edited(**{name: getattr(self, name)[indices] for name in self.__dataclass_fields__})

    @staticmethod
    def cat(parts: Sequence[Edited]) -> Edited:
        """All of several, one after another."""
        columns = {name: [getattr(part, name) for part in parts] for name in Edited.__dataclass_fields__}
        joined: dict[str, Any] = {
            name: Latent.cat(values) if name in ("before", "after") else torch.cat(values)
            for name, values in columns.items()
        }
        return Edited(**joined)


def _mean_change(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    change = (a - b).abs().mean(1) / 2
    return (change * where).sum((1, 2)) / where.sum((1, 2)).clamp_min(1)


class MaskEditor:
    """One generator, one branch, one set of settings: the loss of an edit, and its descent.

    Args:
        head: in evaluation mode, on the generator's device.
        generator: whose features it reads.
        settings: see :class:`EditSettings`.
        critic: the network that ``settings.critic`` names, if at hand.
        identity: images ``[N, C, R, R]`` to embeddings ``[N, D]``, frozen; needed if its weight is not zero.

    Raises:
        GanvasError: if the settings do not fit the generator, or an identity network is missing.
    """

    def __init__(
        self, head: Head, generator: Generator, settings: EditSettings | None = None,
        critic: PerceptualCritic | None = None, identity: nn.Module | None = None,
    ) -> None:  # fmt: skip
        self.settings = settings or EditSettings()
        self.head, self.generator, self.identity = head, generator, identity
        if self.settings.identity > 0 and identity is None:
            raise GanvasError("edit identity has a weight, but no identity network is given; set it to 0")
        mean, self.unit, _ = w_statistics(generator, SAMPLES)
        self.critic = (critic or perceptual(self.settings.critic)).to(mean.device)
        self.free_rows = _row_mask(self.settings.rows, mean.shape[1]).to(mean.device)

    def edit(
        self,
        latent: Latent,                                     # codes in W+, [N, num_ws, w_dim]
        target: Tensor,                                     # uint8 [N, R, R], the wished masks; 255: no wish
        classes: Sequence[int] | None = None,               # that are edited; None: see editors.regions
        start: Latent | None = None,                        # codes to begin the descent at, if not ``latent``
        region: Tensor | None = None,                       # bool [N, R, R]; None: from the masks
        steps: int | None = None,                           # instead of the settings'
        names: Sequence[str] = (),                          # of the images, for sentences
        progress: bool = False,
    ) -> Edited:  # fmt: skip
        """Find codes whose images have the wished masks; what ``latent`` shows outside the region stays.

        Raises:
            GanvasError: if the codes belong to another generator, a mask has another size or names an unknown class,
                a region is empty or the whole image, or the descent diverges.
        """
        require_owner(latent, self.generator)
        self._check(target, len(latent))
        names = names or [f"image {i}" for i in range(len(latent))]
        schedule = replace(self.settings, steps=self.settings.steps if steps is None else steps).schedule()
        size, parts = self.settings.batch, []
        with tqdm(total=len(latent) * schedule.steps, desc="edit", unit="step", disable=not progress) as bar:
            for at in range(0, len(latent), size):
                piece = slice(at, at + size)
                problem = Problem.of(
                    self, latent[piece], target[piece], names[piece], classes, None if region is None else region[piece]
                )
                begin = problem.latent if start is None else start[piece].to(self.generator.device)
                parts.append(problem.edited(problem.solve(begin, schedule, bar)))
        return Edited.cat(parts)

    @torch.no_grad()
    def see(self, latent: Latent) -> tuple[Tensor, Tensor]:
        """Images ``[N, C, R, R]`` in about [-1, 1], as rendered, and the branch's masks, uint8 ``[N, R, R]``."""
        image, features = render_maps(self.generator, latent)
        return image, predict_mask(self.head, features)

    def _check(self, target: Tensor, n: int) -> None:
        size = self.generator.img_resolution
        if target.dtype != torch.uint8 or target.ndim != 3 or len(target) != n:
            raise ValueError(f"masks must be uint8 [{n}, {size}, {size}], got {target.dtype} {list(target.shape)}")
        if tuple(target.shape[1:]) != (size, size):
            raise GanvasError(f"the wished mask has {target.shape[2]}x{target.shape[1]} pixels and the image "
                              f"{size}x{size}; resize it with nearest neighbours")  # fmt: skip
        foreign = [k for k in target.unique().tolist() if k != IGNORE and k >= self.head.num_classes]
        if foreign:
            raise GanvasError(f"the wished mask has class {foreign[0]}, and the branch knows 0 to "
                              f"{self.head.num_classes - 1}")  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """A batch of edits on the generator's device, and their loss for steps in W+ in units of its deviation."""

    editor: MaskEditor
    latent: Latent
    names: Sequence[str]
    image: Tensor              # [N, C, R, R], before, as rendered: clamped, it would differ from itself
    mask: Tensor               # uint8 [N, R, R], before
    target: Tensor             # uint8 [N, R, R]
    region: Tensor             # bool [N, R, R]
    kept: Target               # the images, whose insides are what lies outside the region
    embedding: Embedding       # of the images
    identity: Tensor | None    # of the images, [N, D]

    @classmethod
    @torch.no_grad()
    def of(
        cls, editor: MaskEditor, latent: Latent, target: Tensor, names: Sequence[str], classes: Sequence[int] | None,
        region: Tensor | None = None,
    ) -> Problem:  # fmt: skip
        """The edit of codes ``[N, num_ws, w_dim]`` towards masks ``[N, R, R]``, both anywhere.

        Raises:
            GanvasError: if a region is empty or the whole image.
        """
        device, margin = editor.generator.device, editor.settings.margin
        latent, target = latent.to(device), target.to(device)
        image, mask = editor.see(latent)
        region = edit_region(mask, target, margin, classes) if region is None else region.to(device)
        require_partial(region, names)
        windows = torch.tensor([[0, 0, *image.shape[2:]]]).repeat(len(image), 1)
        return cls(
            editor, latent, names, image, mask, target, region, Target(image, windows, ~region[:, None]),
            editor.critic.features(for_critic(image)),
            None if editor.settings.identity == 0 else editor.identity(image),
        )  # fmt: skip

    @cached_property
    def window(self) -> Window:
        """What the branch has to compute."""
        return _around(self.region)

    @cached_property
    def wish(self) -> Tensor:
        """The wished classes in the window, int64 ``[N, h, w]``; 255 outside the region."""
        return self.window.cut(torch.where(self.region, self.target, IGNORE).long())

    def solve(self, begin: Latent, schedule: Schedule, bar: tqdm | None = None) -> Latent:
        """Codes of the lowest loss met from ``begin``."""
        rows, origin = self.editor.free_rows, self.latent.tensors["ws"]
        free = ((begin.tensors["ws"] - origin) / self.editor.unit * rows).contiguous().requires_grad_()
        (best,) = descend([free], lambda: self.loss(free * rows), schedule, "the edit", self.names, bar)
        return self.latent.replace(ws=origin + self.editor.unit * best * rows)

    def edited(self, after: Latent) -> Edited:
        """The outcome, on the CPU."""
        return Edited.of(self.latent, after, (self.image, self.mask), self.editor.see(after), self.target, self.region)

    def loss(self, step: Tensor) -> Tensor:
        """Of each image, ``[N]``."""
        editor, s = self.editor, self.editor.settings
        moved = self.latent.replace(ws=self.latent.tensors["ws"] + editor.unit * step)
        image, features = render_maps(editor.generator, moved)
        framed = self.kept.framed(image)
        outside = self.kept.inside.flatten(1).float().mean(1)  # share of the image that is to stay
        pixel = (framed - self.kept.image).square().flatten(1).mean(1) / outside
        distance = editor.critic.distance(editor.critic.features(for_critic(framed)), self.embedding)
        loss = s.labels * self.cross_entropy(features) + s.pixel * pixel + s.perceptual * distance
        loss = loss + s.delta * step.square().flatten(1).mean(1)
        if self.identity is not None:
            loss = loss + s.identity * (1 - F.cosine_similarity(editor.identity(image), self.identity))
        return loss

    def cross_entropy(self, features: dict[str, Tensor]) -> Tensor:
        """Mean over the wished pixels of each image, ``[N]``, of the ensemble's mean logits."""
        logits = self.editor.head.mean_window(features, self.window)  # [N, K, h, w]
        loss = F.cross_entropy(logits, self.wish, ignore_index=IGNORE, reduction="none").flatten(1).sum(1)
        return loss / (self.wish != IGNORE).flatten(1).sum(1).clamp_min(1)


def _around(region: Tensor) -> Window:
    """The smallest window around all regions ``[N, H, W]``, in whole tiles: what the branch has to compute."""
    size = region.shape[-1]
    rows, columns = region.any(0).any(1).nonzero().flatten(), region.any(0).any(0).nonzero().flatten()
    low, high = (lambda v: int(v[0]) // TILE * TILE), (lambda v: min(-(-(int(v[-1]) + 1) // TILE) * TILE, size))
    return Window(low(rows), high(rows), low(columns), high(columns))


def _row_mask(rows: tuple[int, int] | None, num_ws: int) -> Tensor:
    """Ones for the rows that may move, ``[num_ws, 1]``."""
    first, last = rows or (0, num_ws)
    if not 0 <= first < last <= num_ws:
        raise GanvasError(f"edit rows {first} to {last} are not among the {num_ws} of this generator")
    at = torch.arange(num_ws)
    return ((at >= first) & (at < last)).float()[:, None]

