"""Inversion: the code in W+ whose image is a given image, found by optimisation.

Abdal et al. 2019 (Image2StyleGAN, arXiv 1904.03189) optimise W+ under a pixel and a perceptual loss; the schedule of
the learning rate is that of Karras et al. 2020 (arXiv 1912.04958, appendix D). Two things are ours: codes are measured
in standard deviations of W around its mean, so that one learning rate fits every generator, and the search starts from
what an encoder says, or else from the most similar of many samples. Noise maps are optimised on request alone: what
hides in them is lost to every edit. They then belong to the latent, and go wherever it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from editors.descent import Schedule, descend
from editors.inversion_cache import InversionCache
from editors.noise_maps import autocorrelation, noise_of, normalise_
from editors.ownership import require_owner
from editors.target import Target
from networks.checkpoints.encoders import find_encoder
from networks.checkpoints.errors import GanvasError
from networks.critics import PERCEPTUAL, perceptual
from networks.critics.lpips_distance import Embedding, PerceptualCritic
from networks.critics.sizes import for_critic
from networks.latent import Latent
from networks.latent_statistics import w_statistics
from networks.protocol import Generator

SHORTLIST = 8             # samples nearest in pixels among which the perceptual critic chooses
THUMBNAIL = 64            # resolution of the pixel search

Start = Literal["auto", "encoder", "nearest", "mean"]  # nearest: of `samples` samples; mean: of W


@dataclass(frozen=True)
class InversionSettings:
    """What an inversion does. Everything but ``batch`` changes the result."""

    steps: int = 60                                 # Adam steps for each image; 0: the codes it starts from
    rate: float = 0.2                               # largest step, in standard deviations of W
    ramp_up: float = 0.05                           # share of the steps in which the rate rises
    ramp_down: float = 0.25                         # share of the steps in which it falls (cosine)
    perceptual: float = 0.1                         # weight of the perceptual distance
    pixel: float = 1.0                              # weight of the mean squared pixel difference
    delta: float = 1e-3                             # weight of the mean squared distance from the mean of W
    space: Literal["w+", "w"] = "w+"                # w: one code for all layers
    noise: bool = False                             # optimise noise maps too; they become part of the latent
    noise_weight: float = 1.0                       # with noise: weight of the correlations inside a map
    start: Start = "auto"                           # auto: the generator's encoder if there is one, else nearest
    samples: int = 1000                             # how many samples the start is chosen from
    seed: int = 0                                   # of the samples
    critic: str = "stlpips-alex"                    # see networks.critics.perceptual
    batch: int = field(default=16, metadata={"changes_result": False})  # images optimised at once

    def __post_init__(self) -> None:
        choices = {"space": ("w+", "w"), "start": get_args(Start), "critic": PERCEPTUAL}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise GanvasError(f"inversion {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("samples", "batch", "rate"):
            if getattr(self, name) <= 0:
                raise GanvasError(f"inversion {name} must be greater than 0, got {getattr(self, name)}")
        if self.steps < 0:
            raise GanvasError(f"inversion steps must be at least 0, got {self.steps}")

    def schedule(self) -> Schedule:
        """Steps and rates of the descent."""
        return Schedule(self.steps, self.rate, self.ramp_up, self.ramp_down)

    def of_result(self) -> dict[str, Any]:
        """The settings that change the result, as plain values."""
        idle = {"batch"} if self.noise else {"batch", "noise", "noise_weight"}
        return {name: value for name, value in asdict(self).items() if name not in idle}


@dataclass(frozen=True)
class Inversion:
    """Codes of real images, and how well they reproduce them."""

    latent: Latent                                      # in W+, [N, num_ws, w_dim], and noise maps if asked for
    target: Tensor = field(repr=False)                  # the images in the generator's form, [N, C, R, R]
    reconstruction: Tensor = field(repr=False)          # [N, C, R, R]
    psnr: Tensor                                        # [N], dB, of values scaled to [0, 1], without margins
    distance: Tensor                                    # [N], perceptual, where margins cannot differ
    settings: InversionSettings


def invert(
    generator: Generator,
    images: Tensor,                                     # [N, C, H, W], uint8 or floats in [-1, 1], see images.prepare
    settings: InversionSettings | None = None,
    critic: PerceptualCritic | None = None,             # the network that settings.critic names, if at hand
    start: Latent | None = None,                        # codes to start from, whatever settings.start says; W or W+
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
        ValueError: if there are ``windows`` of images that are not of the generator's size.
    """
    settings = settings or InversionSettings()
    problem = _Problem(generator, settings, critic or perceptual(settings.critic))
    target = Target.of(images, windows, generator).to(problem.mean.device)
    first = None if start is None else problem.expand(_ws_of(start, generator))
    keys = _keys(problem, target, first) if cache is not None else []
    found = [cache.get(key) if cache is not None else None for key in keys] or [None] * len(target)
    todo = [i for i, codes in enumerate(found) if codes is None]
    with tqdm(total=len(todo) * settings.steps, desc="invert", unit="step", disable=not (progress and todo)) as bar:
        for chunk in _chunks(todo, settings.batch):
            begin = problem.begin(target[chunk]) if first is None else first[chunk]
            labels = [names[i] if names else f"image {i}" for i in chunk]
            codes = problem.optimise(target[chunk], begin, labels, bar).tensors
            for place, i in enumerate(chunk):
                found[i] = {name: t[place] for name, t in codes.items()}
                if cache is not None:
                    cache.put(keys[i], found[i], generator.hash)
    device = target.image.device  # what the cache gave lies on the CPU
    tensors = {name: torch.stack([item[name].to(device) for item in found]) for name in found[0]}
    latent = Latent("w+", tensors, generator_hash=generator.hash or None)
    return _assess(problem, latent, target)


class _Problem:
    """One generator, one critic, one set of settings: the loss, where to start, and the descent."""

    def __init__(self, generator: Generator, settings: InversionSettings, critic: PerceptualCritic) -> None:
        self.generator, self.settings = generator, settings
        self.mean, self.std, self.samples = w_statistics(generator, settings.samples, settings.seed)
        self.critic = critic.to(self.mean.device)
        self.encoder = encoder_for(generator, settings)
        self.maps = noise_of(generator) if settings.noise else {}
        self._thumbnails: Tensor | None = None

    def latent(self, ws: Tensor, maps: Mapping[str, Tensor]) -> Latent:
        return Latent("w+", {"ws": ws}).with_noise(maps)

    def embed(self, images: Tensor) -> Embedding:
        """Perceptual features."""
        return self.critic.features(for_critic(images))

    def expand(self, ws: Tensor) -> Tensor:
        """``[N, w_dim]`` or ``[N, num_ws, w_dim]`` to ``[N, num_ws, w_dim]``."""
        ws = ws[:, None] if ws.ndim == 2 else ws
        return ws.to(self.mean.device).expand(-1, self.mean.shape[1], -1)

    def loss(
        self, units: Tensor, target: Target, embedding: Embedding, maps: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The loss of each image, ``[N]``, for codes in standard deviations from the mean, and noise ``[N, R, R]``."""
        s = self.settings
        image = target.framed(self.generator.render(self.latent(self.mean + self.std * units, maps or {})))
        pixel = (image - target.image).square().flatten(1).mean(1)
        distance = self.critic.distance(self.embed(image), embedding)
        loss = s.pixel * pixel + s.perceptual * distance + s.delta * units.square().flatten(1).mean(1)
        return loss + s.noise_weight * autocorrelation(maps) if maps else loss

    def optimise(self, target: Target, begin: Tensor, names: Sequence[str], bar: tqdm) -> Latent:
        """The best codes (and noise maps) met on the way from ``begin``, for each image."""
        units = (begin - self.mean) / self.std
        units = (units.mean(1, keepdim=True) if self.settings.space == "w" else units).contiguous().requires_grad_()
        maps = {layer: m.repeat(len(target), 1, 1).requires_grad_() for layer, m in self.maps.items()}
        free = [units, *maps.values()]  # [N, rows, w_dim] and [N, R, R]
        with torch.no_grad():
            embedding = self.embed(target.image)
        best = descend(
            free, lambda: self.loss(units.expand(-1, self.mean.shape[1], -1), target, embedding, maps),
            self.settings.schedule(), "the inversion", names, bar, lambda: normalise_(maps.values()),
        )  # fmt: skip
        ws = self.expand(self.mean + self.std * best[0]).contiguous()
        return self.latent(ws, dict(zip(maps, best[1:], strict=True)))

    @torch.no_grad()
    def begin(self, target: Target) -> Tensor:
        """The codes to start from, ``[N, num_ws, w_dim]``."""
        if self.encoder is not None:
            return self.expand(self.encoder(target.image))
        return self.nearest(target) if self.settings.start != "mean" else self.mean.expand(len(target), -1, -1)

    def nearest(self, target: Target) -> Tensor:
        """The most similar samples: all are compared as thumbnails, and the few nearest of each by the whole loss."""
        if self._thumbnails is None:
            pieces = self.samples.split(max(self.settings.batch, 16))
            self._thumbnails = torch.cat([_thumbnail(self.generator.render(piece)) for piece in pieces])
        pixels = target.distances(self._thumbnails, _thumbnail)
        shortlist = pixels.topk(min(SHORTLIST, len(self.samples)), largest=False).indices  # [N, k]
        ws, embedding = self.samples.tensors["ws"], self.embed(target.image)
        losses = [self.loss((ws[pick] - self.mean) / self.std, target, embedding) for pick in shortlist.T]
        choice = torch.stack(losses, dim=1).argmin(1, keepdim=True)
        return ws[shortlist.gather(1, choice)[:, 0]]


@torch.no_grad()
def _assess(problem: _Problem, latent: Latent, target: Target) -> Inversion:
    """Render the codes and compare, where the pictures are."""
    images, distances = [], []
    size = problem.settings.batch
    for i, piece in enumerate(latent.split(size)):
        image, truth = problem.generator.render(piece).clamp(-1, 1), target[i * size : (i + 1) * size]
        images.append(image)
        distances.append(problem.critic.distance(problem.embed(truth.framed(image)), problem.embed(truth.image)))
    reconstruction = torch.cat(images)
    return Inversion(
        latent, target.image, reconstruction, target.psnr(reconstruction), torch.cat(distances), problem.settings
    )


def _ws_of(start: Latent, generator: Generator) -> Tensor:
    if start.space not in ("w", "w+"):
        raise ValueError(f"an inversion starts in w or w+, not in {start.space}")
    require_owner(start, generator)
    return start.tensors["ws" if start.space == "w+" else "w"]


def encoder_for(generator: Generator, settings: InversionSettings) -> nn.Module | None:
    """The encoder that ``settings.start`` wants; None where it wants none, or has none and does not insist."""
    if settings.start not in ("auto", "encoder"):
        return None
    encoder = find_encoder(generator)
    if encoder is None and settings.start == "encoder":
        raise GanvasError("inversion start=encoder, but no encoder of this generator lies beside it or in the zoo: use "
                          "start=nearest, or add the encoder's folder to GANVAS_ZOO")  # fmt: skip
    return encoder


def _keys(problem: _Problem, target: Target, start: Tensor | None) -> list[str]:
    if not problem.generator.hash:
        raise ValueError("a generator without a hash cannot be cached for: save it and load it again")
    # The encoder's name and not its codes: their last bits depend on the batch.
    settings = problem.settings.of_result() | {"encoder": problem.encoder.hash if problem.encoder is not None else None}
    size = target.image.shape[-1]
    keys = []
    for i, (image, window) in enumerate(zip(target.image, target.windows.tolist(), strict=True)):
        margin = {} if window[2:] == [size, size] else {"window": window}
        keys.append(
            InversionCache.key(problem.generator.hash, image, settings | margin, None if start is None else start[i])
        )
    return keys


def _chunks(items: Sequence[int], size: int) -> Iterator[list[int]]:
    for at in range(0, len(items), size):
        yield list(items[at : at + size])


def _thumbnail(images: Tensor) -> Tensor:
    """Flat vectors of at most 64x64 pixels."""
    factor = max(1, images.shape[-1] // THUMBNAIL)
    return (F.avg_pool2d(images, factor) if factor > 1 else images).flatten(1)
