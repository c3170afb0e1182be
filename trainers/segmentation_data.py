"""Labelled images as native-resolution features: cached once, drawn again where they are augmented, never upsampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from networks.checkpoints.classes import IGNORE
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.protocol import Features, Generator
from networks.segmentation import Head, render_maps
from networks.segmentation.geometry import Window
from trainers.segmentation_loop import SegmentationSettings

RENDER_BATCH = 4            # images rendered at once while the cache is filled: bounds what lives beside the cache ...
RENDER_PIXELS = 4 * 256**2  # ... and fewer of them where they are large


@dataclass(frozen=True)
class Labels:
    """The labelled examples of a run, checked.

    Args:
        latents: codes of the images.
        masks: uint8 class ids ``[N, H, W]``, 255 = ignore.
        class_names: name of each id.
        names: of the images, for sentences; their numbers if left out.

    Raises:
        GanvasError: if there is no image, masks and latents differ in number, or an id lies outside the classes.
    """

    latents: Latent
    masks: Tensor
    class_names: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.masks) == 0:
            raise GanvasError("There are no labelled images: give at least one image with its mask.")
        if len(self.masks) != len(self.latents):
            counts = f"{len(self.latents)} images but {len(self.masks)} masks"
            raise GanvasError(f"There are {counts}: give one mask an image.")
        require_labels(self.masks, len(self.class_names))

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: Sequence[int]) -> Labels:
        picked = torch.as_tensor(index)
        return Labels(self.latents[picked], self.masks[picked], self.class_names, self.called(index))

    def called(self, index: Sequence[int]) -> tuple[str, ...]:
        """The names of these images."""
        return tuple(self.names[i] if self.names else str(i) for i in index)

    def counts(self) -> Tensor:
        """Labelled pixels of each class, ``[K]``."""
        return torch.bincount(self.masks.flatten().long(), minlength=256)[: len(self.class_names)]

    def absent(self) -> tuple[str, ...]:
        """Classes that never occur; they keep their place in the head."""
        return tuple(name for name, count in zip(self.class_names, self.counts().tolist(), strict=True) if count == 0)


def require_labels(masks: Tensor, classes: int) -> None:
    """Refuse masks that nothing can be learned from.

    Raises:
        GanvasError: if an id lies outside the classes, or every pixel is to be ignored.
    """
    outside = sorted(set(masks.unique().tolist()) - {*range(classes), IGNORE})
    if outside:
        raise GanvasError(
            f"The masks hold class id {outside[0]}, but there are {classes} classes: "
            "correct the mask, or add the class to the list."
        )
    if bool((masks == IGNORE).all()):
        raise GanvasError("Every pixel of the masks is marked to be ignored (255): label at least one pixel.")


def without_small_classes(masks: Tensor, minimum: int) -> Tensor:
    """Masks in which a class with fewer than ``minimum`` pixels in an image becomes background (id 0), as in EditGAN.

    The original's 30 pixels were set for 512x512; scaled with area they are less than one at 64x64.
    """
    masks = masks.clone()
    for mask in masks:
        ids, counts = mask.unique(return_counts=True)
        for i in ids[(counts < minimum) & (ids != IGNORE)].tolist():
            mask[mask == i] = 0
    return masks


def class_weights(counts: Tensor, power: float) -> Tensor:
    """Weight of each class in the loss, ``[K]``: frequency to ``-power``, so that an average pixel weighs 1.

    A class without pixels gets weight 0: nothing asks for it.

    Example:
        >>> class_weights(torch.tensor([90, 10, 0]), 1.0).tolist()
        [0.5555555820465088, 5.0, 0.0]
    """
    share = counts.double() / counts.sum()
    weight = torch.where(counts > 0, share.clamp(min=1e-12) ** -power, 0.0)
    return (weight / (share * weight).sum()).float()


def stream(seed: int, *place: int) -> torch.Generator:
    """A generator for one place of a run (a purpose and a step): a resumed run draws the same numbers."""
    mixed = seed
    for number in place:
        # splitmix64's constants: neighbouring places must not give neighbouring states.
        mixed = ((mixed ^ (number + 0x9E3779B97F4A7C15)) * 0xBF58476D1CE4E5B9 + (mixed >> 31)) & (2**63 - 1)
    return torch.Generator().manual_seed(mixed)


@dataclass(frozen=True)
class Augmentation:
    """How the labelled latents are varied; the masks stay valid because the changes are small or leave shapes alone.

    Args:
        jitter: Gaussian noise on the codes, in standard deviations of the generator's own codes.
        noise: fresh noise maps in the synthesis network, shared by all images of a rendering.
    """

    jitter: float = 0.0
    noise: bool = False

    @property
    def active(self) -> bool:
        """Whether a second rendering would differ from the first."""
        return self.jitter > 0 or self.noise

    def apply(self, latent: Latent, spread: dict[str, Tensor], rng: torch.Generator) -> Latent:
        """A varied copy of ``latent``; ``spread`` is the codes' standard deviation by tensor name."""
        own = {} if self.noise else latent.noise  # fresh maps take the place of the latent's own
        tensors = {
            name: t + self.jitter * spread[name].to(t) * torch.randn(t.shape, generator=rng).to(t)
            for name, t in latent.with_noise({}).tensors.items()
        }
        seed = int(torch.randint(2**31, (), generator=rng)) if self.noise else latent.noise_seed
        return replace(latent, tensors=tensors, noise_seed=seed).with_noise(own)


class Batch(NamedTuple):
    """What one step sees."""

    features: Features     # name -> [B, C, r, r]
    masks: Tensor          # int64 [B, H, W]
    window: Window         # the part of the masks that counts
    images: list[int]      # which labelled images these are


class FeatureStore:
    """Features of the labelled images at native resolution, and which part of them each step sees.

    Everything is a function of ``(seed, step)``: the order of images and windows in each pass, and the augmentation of
    each round of ``refresh`` passes. The first round is rendered without augmentation.
    """

    def __init__(
        self,
        generator: Generator,                         # frozen
        labels: Labels,                               # latents and masks
        names: Sequence[str],                         # maps to keep
        seed: int = 0,                                # of order and augmentation
        images_per_step: int = 1,                     # images in a batch
        augmentation: Augmentation = Augmentation(),
        refresh: int = 1,                             # passes between two renderings
        windows: int = 1,                             # a side: each step sees one of windows x windows parts
        half: bool = False,                           # keep the maps as float16: half the memory
        device: torch.device | str = "cpu",           # where the maps live
    ) -> None:  # fmt: skip
        self.generator, self.labels, self.names, self.seed = generator, labels, tuple(names), seed
        self.images_per_step = min(images_per_step, len(labels))
        self.augmentation, self.refresh = augmentation, refresh
        self.dtype, self.device = torch.float16 if half else None, torch.device(device)
        self.masks = labels.masks.to(self.device)
        size = labels.masks.shape[-1]
        self.windows = Window.whole(size).tiles(-(-size // windows))
        self.maps: Features = {}
        self._round = -1
        self._spread: dict[str, Tensor] = {}

    @classmethod
    def of(
        cls, head: Head, generator: Generator, labels: Labels, settings: SegmentationSettings,
        device: torch.device | str = "cpu",
    ) -> Self:  # fmt: skip
        """The store that trains ``head`` by ``settings``."""
        original = settings.recipe == "original"  # it does not vary its examples
        augmentation = Augmentation() if original else Augmentation(settings.jitter, settings.noise)
        return cls(
            generator, labels, head.feature_names, settings.seed, settings.images_per_step, augmentation,
            settings.refresh, settings.windows, settings.half, device,
        )  # fmt: skip

    @property
    def steps_per_pass(self) -> int:
        """Steps in which every labelled pixel is seen once."""
        return -(-len(self.labels) // self.images_per_step) * len(self.windows)

    def batch(self, step: int) -> Batch:
        """What step number ``step`` sees, whatever was asked before."""
        number, place = divmod(step, self.steps_per_pass)
        self.fill(number // self.refresh if self.augmentation.active else 0)
        order = torch.randperm(self.steps_per_pass, generator=stream(self.seed, 1, number))
        group, window = divmod(int(order[place]), len(self.windows))
        # Each window has its own groups of images, so that the same images do not always meet.
        shuffled = torch.randperm(len(self.labels), generator=stream(self.seed, 6, number, window))
        images = shuffled[group * self.images_per_step : (group + 1) * self.images_per_step]
        # One image is a view: a step sees a part of it, and a copy of the whole would cost as much again.
        picked = slice(int(images), int(images) + 1) if len(images) == 1 else images.to(self.device)
        features = {name: x[picked] for name, x in self.maps.items()}
        return Batch(features, self.masks[picked].long(), self.windows[window], images.tolist())

    def fill(self, number: int) -> None:
        """Render the maps of a round, over those of the round before."""
        if number == self._round:
            return
        latents = self.labels.latents
        if number > 0:
            self._spread = self._spread or self._measure_spread()
            latents = self.augmentation.apply(latents, self._spread, stream(self.seed, 2, number))
        for start, features in self._render(latents):
            for name in self.names:
                x = features[name]
                if name not in self.maps:
                    self.maps[name] = x.new_empty(len(latents), *x.shape[1:], dtype=self.dtype)
                self.maps[name][start : start + len(x)] = x
        self._round = number

    @torch.no_grad()
    def _render(self, latents: Latent) -> Iterator[tuple[int, Features]]:
        batch = max(1, min(RENDER_BATCH, RENDER_PIXELS // self.generator.img_resolution**2))
        for i, part in enumerate(latents.split(batch)):
            yield i * batch, render_maps(self.generator, part.to(self.device))[1]

    def _measure_spread(self) -> dict[str, Tensor]:
        codes = self.generator.sample(256, seed=self.seed)
        if codes.space != self.labels.latents.space:
            raise GanvasError(
                f"Latent augmentation needs codes in the generator's own space {codes.space!r}, "
                f"got {self.labels.latents.space!r}: set jitter to 0."
            )
        return {name: t.std(dim=0, keepdim=True) for name, t in codes.tensors.items()}
