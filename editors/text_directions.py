"""What each channel of style space does to images, in the eyes of a CLIP: measured once for a generator.

Global directions of StyleCLIP (Patashnik et al. 2021, arXiv 2103.17249, section 6). Two ways. ``exhaustive`` is theirs:
each channel is set to its mean plus and minus five deviations in a hundred images, one channel at a time, and what
changes is normalised for each image, averaged and normalised. The original wrote these values into its base codes, so
that later layers were measured on one average face; here every batch has codes of its own. ``gradient`` takes the
derivative instead: one backward pass for each dimension of the CLIP gives all channels at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from editors.shards import Shards
from networks.channel_statistics import channel_statistics, convolution_paths, require_styles
from networks.checkpoints.errors import GanvasError
from networks.clip import ClipModel
from networks.latent import Latent
from networks.protocol import Generator
from networks.relevance import STILL, Relevance

How = Literal["gradient", "exhaustive"]
TOGETHER = 32   # channels of a shard of the exhaustive way


@dataclass(frozen=True)
class RelevanceSettings:
    """How channels are measured. Everything but ``batch`` changes the result."""

    how: How = "gradient"          # see above
    images: int = 100              # samples that the channels are moved in
    step: float = 5.0              # standard deviations that a channel moves, up and down
    samples: int = 10_000          # codes that mean and deviation of the channels are taken from
    seed: int = 0                  # of both
    truncation: float = 1.0        # of both
    finest: int = 128              # channels of blocks of a higher resolution are not measured, and never move
    resolution: int = 256          # images are rendered at most so large
    batch: int = field(default=16, metadata={"changes_result": False})   # images at once

    def __post_init__(self) -> None:
        if self.how not in get_args(How):
            raise GanvasError(f"relevance how={self.how} must be {' or '.join(get_args(How))}.")
        for name, least in {"images": 1, "samples": 2, "finest": 4, "resolution": 4, "batch": 1, "seed": 0}.items():
            if not getattr(self, name) >= least:
                raise GanvasError(f"relevance {name}={getattr(self, name)} must be at least {least}.")
        if not 0 < self.step < float("inf"):
            raise GanvasError(f"relevance step={self.step} must be greater than 0.")

    def of_result(self) -> dict[str, Any]:
        """The settings that change the result, as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "batch"}


def measure_relevance(
    generator: Generator,
    clip: ClipModel,
    settings: RelevanceSettings | None = None,
    folder: Path | None = None,        # where finished parts are kept, so that a stopped measurement goes on
    progress: bool = False,            # show a progress bar
) -> Relevance:  # fmt: skip
    """Measure every channel of the generator's convolutions.

    Raises:
        GanvasError: if the generator has no style space or was never saved, or ``folder`` holds parts of another
            measurement.
    """
    settings = settings or RelevanceSettings()
    network = require_styles(generator)
    if not network.hash:
        raise GanvasError("channels belong to a generator by its hash, and this one was never saved: save it and load "
                          "it again.")  # fmt: skip
    way: _Way = (_Gradient if settings.how == "gradient" else _Exhaustive)(_Scene(network, clip, settings))
    about = {"generator": network.hash, "clip": clip.identity.to_json(), "settings": settings.of_result()}
    shards = None if folder is None else Shards(folder, "relevance_shard", about)
    parts = []
    with tqdm(total=way.total, desc="channels", unit=way.unit, disable=not progress) as bar:
        for name, size in way.tasks():
            found = None if shards is None else shards.get(name)
            if found is None:
                found = way.compute(name)
                if shards is not None:
                    shards.put(name, found)
            parts.append(found)
            bar.update(size)
    std = {path: std.cpu() for path, std in way.scene.std.items()}
    return Relevance(way.join(parts), std, network.hash, clip.identity, settings.of_result())


def channel_directions(
    generator: Generator, clip: ClipModel, settings: RelevanceSettings, channels: Sequence[tuple[str, int]],
    progress: bool = False,
) -> Tensor:  # fmt: skip
    """Some channels, by path and number, measured the exhaustive way: unit vectors ``[len(channels), D]``.

    Raises:
        GanvasError: if the generator has no style space.
    """
    way = _Exhaustive(_Scene(require_styles(generator), clip, settings))
    bar = tqdm(channels, desc="check", unit="channel", disable=not progress)
    return torch.cat([way.directions(path, torch.tensor([number])) for path, number in bar])


class _Scene:
    """The base images, the unit of each channel, and what the CLIP sees."""

    def __init__(self, generator: Any, clip: ClipModel, settings: RelevanceSettings) -> None:
        self.generator, self.clip, self.settings = generator, clip.to(generator.device), settings
        self.paths = convolution_paths(generator, settings.finest)
        self.mean, self.std = channel_statistics(generator, settings.samples, settings.seed, settings.truncation)
        drawn = generator.sample(settings.images, settings.seed, truncation=settings.truncation)
        with torch.no_grad():
            self.base: Latent = generator.in_styles(drawn)

    def features(self, latent: Latent) -> Tensor:
        """Unit vectors ``[N, D]``."""
        return self.clip.encode_images(self.generator.render(latent, up_to=self.settings.resolution).clamp(-1, 1))


class _Way(Protocol):
    """A way of measuring, in parts that can be kept."""

    scene: _Scene
    total: int     # of what the bar counts
    unit: str

    def tasks(self) -> Iterator[tuple[str, int]]: ...               # name of a part, and how much of the total it is
    def compute(self, name: str) -> dict[str, Tensor]: ...          # by affine path
    def join(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]: ...   # affine path -> unit vectors [C, D]


class _Exhaustive:
    """One channel at a time, in every image, up and down. A part: some channels of one layer."""

    unit = "channel"

    def __init__(self, scene: _Scene) -> None:
        self.scene = scene
        self.widths = {path: len(scene.std[path]) for path in scene.paths}
        self.total = sum(self.widths.values())

    def tasks(self) -> Iterator[tuple[str, int]]:
        for path, width in self.widths.items():
            for first in range(0, width, TOGETHER):
                yield f"{path}.{first}", min(TOGETHER, width - first)

    def compute(self, name: str) -> dict[str, Tensor]:
        path, _, first = name.rpartition(".")
        channels = torch.arange(int(first), min(int(first) + TOGETHER, self.widths[path]))
        return {path: self.directions(path, channels)}

    @torch.no_grad()
    def directions(self, path: str, channels: Tensor) -> Tensor:
        """Unit vectors ``[len(channels), D]``."""
        scene, n = self.scene, len(self.scene.base)
        parts = []
        for piece in torch.arange(len(channels) * 2 * n).split(scene.settings.batch):
            image, sign = piece % n, 1 - 2 * (piece // n % 2)
            channel = channels[piece // (2 * n)].to(scene.generator.device)
            latent = scene.base[image]           # an index by a tensor copies: the base codes stay what they are
            to = scene.mean[path][channel] + sign.to(channel.device) * scene.settings.step * scene.std[path][channel]
            latent.tensors[path][torch.arange(len(piece)), channel] = to
            parts.append(scene.features(latent))
        up, down = torch.cat(parts).view(len(channels), 2, n, -1).unbind(1)
        return _unit(_unit(up - down).mean(1), 0.0).cpu()

    def join(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {path: torch.cat([part[path] for part in parts if path in part]) for path in self.widths}


class _Gradient:
    """All channels at once, to first order. A part: some images, summed up."""

    unit = "image"

    def __init__(self, scene: _Scene) -> None:
        self.scene = scene
        self.total = len(scene.base)

    def tasks(self) -> Iterator[tuple[str, int]]:
        for first in range(0, self.total, self.scene.settings.batch):
            last = min(first + self.scene.settings.batch, self.total)
            yield f"{first}-{last}", last - first

    def compute(self, name: str) -> dict[str, Tensor]:
        first, _, last = name.partition("-")
        scene, base = self.scene, self.scene.base[int(first) : int(last)]
        free = {path: base.tensors[path].clone().requires_grad_() for path in scene.paths}
        features = scene.features(base.replace(**free))   # [n, D]
        columns: dict[str, list[Tensor]] = {path: [] for path in free}
        for each in features.sum(0):   # one dimension of the CLIP; images do not see one another
            slopes = torch.autograd.grad(each, list(free.values()), retain_graph=True)
            for path, slope in zip(free, slopes, strict=True):
                columns[path].append(slope)   # [n, C]
        reach = 2 * scene.settings.step
        changes = {path: reach * scene.std[path][:, None] * torch.stack(c, -1) for path, c in columns.items()}
        return {path: _unit(change).sum(0).cpu() for path, change in changes.items()}   # [n, C, D] -> [C, D]

    def join(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {path: _unit(sum(part[path] for part in parts), 0.0) for path in self.scene.paths}


def _unit(changes: Tensor, least: float = STILL) -> Tensor:
    """Changes ``[..., D]`` at length one; what is not longer than ``least`` is no change, and zero."""
    length = changes.norm(dim=-1, keepdim=True)
    return torch.where(length > least, F.normalize(changes, dim=-1), torch.zeros_like(changes))
