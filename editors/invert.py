"""Inversion: the codes whose image is a given image, found by optimisation.

Abdal et al. 2019 (Image2StyleGAN, arXiv 1904.03189) optimise W+ under a pixel and a perceptual loss; the schedule of
the learning rate is that of Karras et al. 2020 (arXiv 1912.04958, appendix D). Two things are ours: codes are measured
in standard deviations around their mean, so that one learning rate fits every generator, and the search starts from
what an encoder says, or else from the most similar of many samples. What is searched depends on the generator
(``inversion_spaces.py``): W+ and W, a BlobGAN's blobs and its hidden code, or z of a class. Noise maps are optimised on
request alone: what hides in them is lost to every edit. They then belong to the latent, and go wherever it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from editors.descent import Schedule, descend
from editors.inversion_cache import InversionCache
from editors.inversion_spaces import InversionSpaceName, inversion_space, space_name
from editors.likeness import Likeness, Seen, Weights, discriminator_for
from editors.noise_maps import autocorrelation, noise_of, normalise_
from editors.ownership import require_owner
from editors.target import Target
from networks.checkpoints.encoders import find_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latents import LABEL
from networks.critics import PERCEPTUAL, perceptual
from networks.critics.lpips_distance import PerceptualCritic
from networks.critics.sizes import for_critic
from networks.latent import Latent
from networks.protocol import Generator

SHORTLIST = 8             # samples nearest in pixels among which the perceptual critic chooses
THUMBNAIL = 64            # resolution of the pixel search

Start = Literal["auto", "encoder", "nearest", "mean"]  # nearest: of `samples` samples; mean: of the codes


@dataclass(frozen=True)
class InversionSettings:
    """What an inversion does. Everything but ``batch`` changes the result."""

    steps: int = 60                                 # Adam steps for each image; 0: the codes it starts from
    rate: float = 0.2                               # largest step, in standard deviations of the codes
    ramp_up: float = 0.05                           # share of the steps in which the rate rises
    ramp_down: float = 0.25                         # share of the steps in which it falls (cosine)
    perceptual: float = 0.1                         # weight of the perceptual distance
    pixel: float = 1.0                              # weight of the mean squared pixel difference
    features: float = 0.0                           # in z: weight of 1 - cosine of the discriminator's features ...
    feature_layers: tuple[str, ...] = ()            # ... in these blocks of it; (): the last; all: every one
    delta: float = 1e-3                             # weight of the mean squared distance from the mean of the codes
    space: InversionSpaceName = "auto"              # auto: w+, layout, or z; w: one code for all of it
    size_rate: float = 2.0                          # in layout: rate of blobs' sizes, as a factor
    noise: bool = False                             # optimise noise maps too; they become part of the latent
    noise_weight: float = 1.0                       # with noise: weight of the correlations inside a map
    start: Start = "auto"                           # auto: the generator's encoder if there is one, else nearest
    samples: int = 1000                             # how many samples the start is chosen from
    starts: int | None = None                       # how many of them begin; the best ending is kept. None: 1, in z 4
    label: str | None = None                        # in z: the class of the images; None: the one that fits best
    seed: int = 0                                   # of the samples
    critic: str = "stlpips-alex"                    # see networks.critics.perceptual
    batch: int = field(default=16, metadata={"changes_result": False})  # images, times their starts, optimised at once

    def __post_init__(self) -> None:
        object.__setattr__(self, "feature_layers", tuple(self.feature_layers))  # a list in files
        choices = {"space": get_args(InversionSpaceName), "start": get_args(Start), "critic": PERCEPTUAL}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise GanvasError(f"inversion {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("samples", "batch", "rate", "size_rate"):
            if getattr(self, name) <= 0:
                raise GanvasError(f"inversion {name} must be greater than 0, got {getattr(self, name)}")
        if self.starts is not None and self.starts < 1:
            raise GanvasError(f"inversion starts must be at least 1, got {self.starts}")
        if self.steps < 0:
            raise GanvasError(f"inversion steps must be at least 0, got {self.steps}")

    def schedule(self) -> Schedule:
        """Steps and rates of the descent."""
        return Schedule(self.steps, self.rate, self.ramp_up, self.ramp_down)

    def of_result(self) -> dict[str, Any]:
        """The settings that change the result, as plain values."""
        idle = {"batch"} if self.noise else {"batch", "noise", "noise_weight"}
        idle |= set() if self.space == "layout" else {"size_rate"}
        idle |= set() if self.space == "z" else {"label"}
        idle |= {"starts"} if self.starts is None else set()
        idle |= set() if self.features else {"features", "feature_layers"}
        return {name: value for name, value in asdict(self).items() if name not in idle}


@dataclass(frozen=True)
class Inversion:
    """Codes of real images, and how well they reproduce them."""

    latent: Latent                                      # in W+, layout or z; with noise maps if asked for
    target: Tensor = field(repr=False)                  # the images in the generator's form, [N, C, R, R]
    reconstruction: Tensor = field(repr=False)          # [N, C, R, R]
    psnr: Tensor                                        # [N], dB, of values scaled to [0, 1], without margins
    distance: Tensor                                    # [N], perceptual, where margins cannot differ
    settings: InversionSettings                         # with the space that was searched


def invert(
    generator: Generator,
    images: Tensor,                                     # [N, C, H, W], uint8 or floats in [-1, 1], see images.prepare
    settings: InversionSettings | None = None,
    critic: PerceptualCritic | None = None,             # the network that settings.critic names, if at hand
    start: Latent | None = None,                        # codes to start from, whatever settings.start says
    cache: InversionCache | None = None,
    names: Sequence[str] = (),                          # of the images, for sentences
    progress: bool = False,                             # show a progress bar
    windows: Tensor | None = None,                      # int64 [N, 4], where the pictures lie in images already squared
) -> Inversion:
    """Find the codes of ``images``. The margin of an image that was not square counts in nothing.

    An image's result depends on nothing but the image (up to rounding): the loss is a sum over images and Adam works
    element by element, so a batch is as many separate optimisations that share their arithmetic.

    Raises:
        GanvasError: if the images do not fit the generator, ``settings`` ask for an encoder that is nowhere or for
            noise that the generator does not have, or the optimisation diverges.
        ValueError: if there are ``windows`` of images that are not of the generator's size, or ``start`` is in a space
            that does not lead to the one searched.
    """
    settings = settings or InversionSettings()
    settings = replace(settings, space=space_name(generator, settings.space))
    problem = _Problem(generator, settings, critic or perceptual(settings.critic))
    target = Target.of(images, windows, generator).to(generator.device)
    first = None if start is None else problem.start_at(start)
    keys = _keys(problem, target, first) if cache is not None else []
    found = [cache.get(key) if cache is not None else None for key in keys] or [None] * len(target)
    todo = [i for i, codes in enumerate(found) if codes is None]
    starts = problem.starts if first is None else 1
    total = len(todo) * settings.steps * starts
    with tqdm(total=total, desc="invert", unit="step", disable=not (progress and todo)) as bar:
        for chunk in _chunks(todo, max(settings.batch // starts, 1)):
            begins = problem.begins(target[chunk]) if first is None else [first[chunk]]
            called = [names[i] if names else f"image {i}" for i in chunk]
            codes = _with_label(problem.best(target[chunk], begins, called, bar))
            for place, i in enumerate(chunk):
                found[i] = {name: t[place] for name, t in codes.items()}
                if cache is not None:
                    cache.put(keys[i], found[i], generator.hash)
    device = target.image.device  # what the cache gave lies on the CPU
    tensors = {name: torch.stack([item[name].to(device) for item in found]) for name in found[0]}
    label = tensors.pop(LABEL, None)
    latent = Latent(problem.space.space, tensors, label, generator.hash or None)
    return _assess(problem, latent, target)


class _Problem:
    """One generator, one critic, one set of settings: the loss, where to start, and the descent."""

    def __init__(self, generator: Generator, settings: InversionSettings, critic: PerceptualCritic) -> None:
        self.generator, self.settings = generator, settings
        self.space = inversion_space(
            generator, settings.space, settings.samples, settings.seed, settings.size_rate, settings.label
        )
        self.critic = critic.to(generator.device)
        self.discriminator = discriminator_for(generator) if settings.features else None
        weights = Weights(settings.pixel, settings.perceptual, settings.features)
        self.likeness = Likeness(weights, self.critic, self.discriminator, settings.feature_layers)
        self.encoder = encoder_for(generator, settings)
        self.maps = noise_of(generator) if settings.noise else {}
        self._thumbnails: Tensor | None = None

    @property
    def starts(self) -> int:
        """How many codes an image begins from: the mean is one, and what an encoder says of a class is one."""
        if self.settings.start == "mean" or (self.encoder is not None and self.space.groups is None):
            return 1
        return min(self.settings.starts or self.space.starts, self._different())

    def start_at(self, start: Latent) -> Latent:
        """Given codes as the space has them."""
        require_owner(start, self.generator)
        return self.space.of(start)

    def loss(
        self, free: Sequence[Tensor], begin: Latent, target: Target, seen: Seen,
        maps: Mapping[str, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """The loss of each image, ``[N]``, for what is free of codes (see ``InversionSpace``), and noise."""
        s = self.settings
        latent = self.space.latent(free, begin).with_noise(maps or {})
        image = target.framed(self.generator.render(latent))
        loss = self.likeness.loss(image, target.image, seen) + s.delta * self.space.prior(free)
        return loss + s.noise_weight * autocorrelation(maps) if maps else loss

    def optimise(self, target: Target, begin: Latent, names: Sequence[str], bar: tqdm) -> Latent:
        """The best codes (and noise maps) met on the way from ``begin``, for each image."""
        codes = [value.detach().clone().requires_grad_() for value in self.space.free(begin)]
        maps = {layer: m.repeat(len(target), 1, 1).requires_grad_() for layer, m in self.maps.items()}
        with torch.no_grad():
            seen = self.likeness.see(target.image)
        best = descend(
            [*codes, *maps.values()], lambda: self.loss(codes, begin, target, seen, maps),
            self.settings.schedule(), "the inversion", names, bar, lambda: normalise_(maps.values()),
            [*self.space.rates, *[1.0] * len(maps)],
        )  # fmt: skip
        latent = self.space.latent(best[: len(codes)], begin)
        return latent.with_noise(dict(zip(maps, best[len(codes) :], strict=True)))

    def best(self, target: Target, begins: Sequence[Latent], names: Sequence[str], bar: tqdm) -> Latent:
        """Of each image the codes of the lowest loss that any of its beginnings leads to; all begin at once."""
        if len(begins) == 1:
            return self.optimise(target, begins[0], names, bar)
        rows = list(range(len(target))) * len(begins)
        every = target[rows]
        found = self.optimise(every, Latent.cat(begins), [names[i] for i in rows], bar)
        with torch.no_grad():
            losses = self.loss(self.space.free(found), found, every, self.likeness.see(every.image), found.noise)
        choice = losses.view(len(begins), -1).argmin(0)
        return found[choice * len(target) + torch.arange(len(target), device=choice.device)]

    @torch.no_grad()
    def begins(self, target: Target) -> list[Latent]:
        """The codes to start from, one or more for each image."""
        if self.encoder is not None:
            return self._lowest(target, self.space.encoded(self.encoder, target.image))
        return self.nearest(target, self.starts) if self.settings.start != "mean" else [self.space.mean(len(target))]

    def nearest(self, target: Target, count: int = 1) -> list[Latent]:
        """The most similar samples: all are compared as thumbnails, and the few nearest of each by the whole loss.

        Where samples are in groups, as classes are, those of an image are of different ones.
        """
        samples = self.space.samples
        if self._thumbnails is None:
            pieces = samples.split(max(self.settings.batch, 16))
            self._thumbnails = torch.cat([_thumbnail(self.generator.render(piece)) for piece in pieces])
        pixels = target.distances(self._thumbnails, _thumbnail)
        if self.space.groups is not None:
            pixels = _nearest_of_each(pixels, self.space.groups)
        shortlist = pixels.topk(min(max(SHORTLIST, count), self._different()), largest=False).indices  # [N, k]
        seen = self.likeness.see(target.image)
        losses = [self.loss(self.space.free(samples[pick]), samples[pick], target, seen) for pick in shortlist.T]
        choice = torch.stack(losses, dim=1).topk(count, largest=False).indices  # [N, count]
        return [samples[each] for each in shortlist.gather(1, choice).T]

    def _lowest(self, target: Target, candidates: Sequence[Latent]) -> list[Latent]:
        """Of candidates for each image as many as begin, those of the lowest loss."""
        if len(candidates) <= self.starts:
            return list(candidates)
        seen = self.likeness.see(target.image)
        losses = torch.stack([self.loss(self.space.free(each), each, target, seen) for each in candidates])
        ranks = losses.topk(self.starts, dim=0, largest=False).indices.tolist()  # [starts, N]
        return [Latent.cat([candidates[k][i] for i, k in enumerate(row)]) for row in ranks]

    def _different(self) -> int:
        """How many starts there can be."""
        groups = self.space.groups
        return len(self.space.samples) if groups is None else len(groups.unique())


@torch.no_grad()
def _assess(problem: _Problem, latent: Latent, target: Target) -> Inversion:
    """Render the codes and compare, where the pictures are."""
    images, distances = [], []
    size = problem.settings.batch
    for i, piece in enumerate(latent.split(size)):
        image, truth = problem.generator.render(piece).clamp(-1, 1), target[i * size : (i + 1) * size]
        images.append(image)
        distances.append(problem.critic(for_critic(truth.framed(image)), for_critic(truth.image)))
    reconstruction = torch.cat(images)
    return Inversion(
        latent, target.image, reconstruction, target.psnr(reconstruction), torch.cat(distances), problem.settings
    )


def encoder_for(generator: Generator, settings: InversionSettings) -> nn.Module | None:
    """The encoder that ``settings.start`` wants; None where it wants none, or has none and does not insist."""
    if settings.start not in ("auto", "encoder"):
        return None
    encoder = find_encoder(generator)
    if encoder is None and settings.start == "encoder":
        raise GanvasError("inversion start=encoder, but no encoder of this generator lies beside it or in the zoo: use "
                          "start=nearest, or add the encoder's folder to GANVAS_ZOO")  # fmt: skip
    return None if encoder is None else encoder.to(generator.device)


def _keys(problem: _Problem, target: Target, start: Latent | None) -> list[str]:
    if not problem.generator.hash:
        raise ValueError("a generator without a hash cannot be cached for: save it and load it again")
    # The encoder's name and not its codes: their last bits depend on the batch.
    settings = problem.settings.of_result() | {"encoder": problem.encoder.hash if problem.encoder is not None else None}
    if problem.discriminator is not None:
        settings["discriminator"] = problem.discriminator.hash
    size = target.image.shape[-1]
    keys = []
    for i, (image, window) in enumerate(zip(target.image, target.windows.tolist(), strict=True)):
        margin = {} if window[2:] == [size, size] else {"window": window}
        at = None if start is None else {name: tensor[i] for name, tensor in _with_label(start).items()}
        keys.append(InversionCache.key(problem.generator.hash, image, settings | margin, at))
    return keys


def _with_label(latent: Latent) -> dict[str, Tensor]:
    """The tensors of codes, their label among them where they have one."""
    return latent.tensors if latent.label is None else {**latent.tensors, LABEL: latent.label}


def _nearest_of_each(distances: Tensor, groups: Tensor) -> Tensor:
    """Distances ``[N, S]`` with all but the smallest of each group infinite."""
    kept = torch.full_like(distances, torch.inf)
    for group in groups.unique():
        at = (groups == group).nonzero().flatten()
        best = at[distances[:, at].argmin(1)][:, None]  # [N, 1]
        kept.scatter_(1, best, distances.gather(1, best))
    return kept


def _chunks(items: Sequence[int], size: int) -> Iterator[list[int]]:
    for at in range(0, len(items), size):
        yield list(items[at : at + size])


def _thumbnail(images: Tensor) -> Tensor:
    """Flat vectors of at most 64x64 pixels."""
    factor = max(1, images.shape[-1] // THUMBNAIL)
    return (F.avg_pool2d(images, factor) if factor > 1 else images).flatten(1)
