"""Where inversion looks for codes: what is free there, in units of how much it varies, and what codes that makes.

W+ is that of Abdal et al. 2019 (Image2StyleGAN, arXiv 1904.03189). The class-conditional GAN has z, for a class that is
given or found (``class_codes.py``). A BlobGAN has its hidden code, and the blobs
themselves, which reach scenes that no code has: as in OCTET (Zemni et al. 2023, arXiv 2211.12380) they are moved
directly, sizes faster than the rest, since hardly any gradient comes through a blob that can hardly be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from editors.class_codes import ClassCodes
from networks.blobgan import BlobGenerator, Layout
from networks.blobgan.layout_network import normalised
from networks.checkpoints.errors import GanvasError
from networks.latent import HIDDEN, Latent, Space
from networks.latent_statistics import code_statistics, w_statistics
from networks.protocol import Generator
from networks.sngan import ConditionalGenerator

InversionSpaceName = Literal["auto", "w+", "w", "layout", "z"]


class InversionSpace(Protocol):
    """A space of one generator, in which codes are begun, optimised and held near their mean."""

    space: Space               # of the codes found
    samples: Latent            # a start is chosen from these; in units of their spread steps are measured
    rates: tuple[float, ...]   # of the free tensors, as factors of the settings' rate
    starts: int                # how many begin where the settings do not say
    groups: Tensor | None      # [S], a number for each sample: starts are of different ones; None: of any

    def of(self, latent: Latent) -> Latent:
        """Codes to start from, as this space has them.

        Raises:
            ValueError: if they are in a space that does not lead here.
        """

    def encoded(self, encoder: nn.Module, images: Tensor) -> list[Latent]:
        """What an encoder says of images ``[N, C, R, R]``, as :meth:`of`: one answer or several to choose from."""

    def mean(self, count: int) -> Latent:
        """The mean, so many times."""

    def free(self, latent: Latent) -> list[Tensor]:
        """What is optimised of codes, each ``[N, ...]``, in units of the spread, from the mean on."""

    def latent(self, free: Sequence[Tensor], begin: Latent) -> Latent:
        """The codes that free tensors are; what is not free is as in the codes that they began as."""

    def prior(self, free: Sequence[Tensor]) -> Tensor:
        """How far codes are from the mean, ``[N]``: a mean of squares; of blobs one for each kind of number, summed."""


def space_name(generator: Generator, asked: InversionSpaceName) -> InversionSpaceName:
    """The space in which images are inverted; ``auto`` is the one that reaches most.

    Raises:
        GanvasError: if this generator does not have the space that is asked for.
    """
    own = {BlobGenerator: ("layout", "w"), ConditionalGenerator: ("z",)}
    choices = own.get(type(generator), ("w+", "w"))
    if asked not in ("auto", *choices):
        raise GanvasError(f"inversion space={asked} does not fit this generator: choose of {', '.join(choices)}")
    return choices[0] if asked == "auto" else asked


def inversion_space(
    generator: Generator, name: InversionSpaceName, samples: int = 1000, seed: int = 0, size_rate: float = 1.0,
    label: str | None = None,
) -> InversionSpace:  # fmt: skip
    """The space of this name.

    Args:
        generator: whose codes are sought.
        name: see :func:`space_name`.
        samples: how many tell the spread.
        seed: of these.
        size_rate: rate of blobs' sizes, as a factor.
        label: in z, the class of all images; None: it is found.

    Raises:
        GanvasError: if the generator does not have it, or no such class.
    """
    name = space_name(generator, name)
    if isinstance(generator, ConditionalGenerator):
        return ClassCodes(generator, samples, seed, label)
    if label is not None:
        raise GanvasError(f"inversion label={label} is for a class-conditional GAN, and this generator is none: leave "
                          "it out")  # fmt: skip
    if isinstance(generator, BlobGenerator):
        drawn = (generator, samples, seed)
        return HiddenCodes(*drawn) if name == "w" else Layouts(*drawn, size_rate)
    return WPlus(generator, samples, seed, one_code=name == "w")


class WPlus:
    """W+, or where ``one_code`` is true W: one code for all layers."""

    space: Space = "w+"
    rates = (1.0,)
    starts, groups = 1, None

    def __init__(self, generator: Generator, samples: int, seed: int, one_code: bool) -> None:
        self._mean, self._std, self.samples = w_statistics(generator, samples, seed)
        self._one_code = one_code

    def of(self, latent: Latent) -> Latent:
        if latent.space not in ("w", "w+"):
            raise ValueError(f"an inversion starts in w or w+, not in {latent.space}")
        return self._wide(latent.tensors["ws" if latent.space == "w+" else "w"])

    def encoded(self, encoder: nn.Module, images: Tensor) -> list[Latent]:
        return [self._wide(encoder(images))]

    def _wide(self, codes: Tensor) -> Latent:
        ws = codes[:, None] if codes.ndim == 2 else codes
        return Latent("w+", {"ws": self._rows(ws.to(self._mean.device))})

    def mean(self, count: int) -> Latent:
        return Latent("w+", {"ws": self._mean.expand(count, -1, -1)})

    def free(self, latent: Latent) -> list[Tensor]:
        units = (latent.tensors["ws"] - self._mean) / self._std
        return [units.mean(1, keepdim=True) if self._one_code else units]

    def latent(self, free: Sequence[Tensor], begin: Latent) -> Latent:
        return Latent("w+", {"ws": self._mean + self._std * self._rows(free[0])})

    def prior(self, free: Sequence[Tensor]) -> Tensor:
        return self._rows(free[0]).square().flatten(1).mean(1)

    def _rows(self, codes: Tensor) -> Tensor:
        return codes.expand(-1, self._mean.shape[1], -1)


class HiddenCodes:
    """The hidden codes of a BlobGAN: scenes that its layout network could have drawn."""

    space: Space = "layout"
    rates = (1.0,)
    starts, groups = 1, None

    def __init__(self, generator: BlobGenerator, samples: int, seed: int) -> None:
        mean, self._std, self.samples = code_statistics(generator, samples, seed)
        self._mean, self._generator = mean[0], generator

    def of(self, latent: Latent) -> Latent:
        latent = _sampled(self._generator, latent)
        if HIDDEN not in latent.tensors:
            raise ValueError("an inversion in w starts from hidden codes, and these layouts have none")
        return latent

    def encoded(self, encoder: nn.Module, images: Tensor) -> list[Latent]:
        return [self._generator.latent_of(encoder(images).flatten(1))]

    def mean(self, count: int) -> Latent:
        return self._generator.latent_of(self._mean.expand(count, -1))

    def free(self, latent: Latent) -> list[Tensor]:
        return [(latent.tensors[HIDDEN] - self._mean) / self._std]

    def latent(self, free: Sequence[Tensor], begin: Latent) -> Latent:
        return self._generator.latent_of(self._mean + self._std * free[0])

    def prior(self, free: Sequence[Tensor]) -> Tensor:
        return free[0].square().mean(1)


class _Numbers(NamedTuple):
    """How a part of a layout is free: as numbers without bounds, and back."""

    read: Callable[[Tensor], Tensor]
    write: Callable[[Tensor], Tensor]


def _as_they_are(values: Tensor) -> Tensor:
    return values


_PLAIN = _Numbers(_as_they_are, _as_they_are)
_FREE: dict[str, _Numbers] = {  # the order of blobs (depth) is not among them: it stays the start's
    "centre": _PLAIN, "size": _PLAIN, "log_aspect": _PLAIN,
    "angle": _Numbers(_as_they_are, lambda v: F.normalize(v, dim=2)),
    "structure": _Numbers(_as_they_are, normalised), "style": _Numbers(_as_they_are, normalised),
    "opacity": _Numbers(lambda v: v.logit(1e-4), torch.sigmoid),
}  # fmt: skip


class Layouts:
    """Blobs themselves, each number for itself; the unit of a kind is its spread around the mean of each blob."""

    space: Space = "layout"
    starts, groups = 1, None

    def __init__(self, generator: BlobGenerator, samples: int, seed: int, size_rate: float) -> None:
        self._generator, self.samples = generator, generator.sample(samples, seed)
        numbers = self._numbers(self.samples)
        self._means = {name: values.mean(0) for name, values in numbers.items()}
        self._units = {name: _spread(values - self._means[name]) for name, values in numbers.items()}
        self.rates = tuple(size_rate if name == "size" else 1.0 for name in numbers)

    def of(self, latent: Latent) -> Latent:
        latent = _sampled(self._generator, latent)
        if (k := Layout.of(latent).k) != self._generator.k:
            raise ValueError(f"an inversion starts from layouts of {self._generator.k} blobs, and these have {k}")
        return Layout.of(latent).latent()

    def encoded(self, encoder: nn.Module, images: Tensor) -> list[Latent]:
        return [self._generator.latent_of(encoder(images).flatten(1))]

    def mean(self, count: int) -> Latent:
        return self._generator.sample(1, 0, truncation=0.0)[[0] * count]

    def free(self, latent: Latent) -> list[Tensor]:
        return [(v - self._means[name]) / self._units[name] for name, v in self._numbers(latent).items()]

    def latent(self, free: Sequence[Tensor], begin: Latent) -> Latent:
        tensors = {
            name: _FREE[name].write(self._means[name] + self._units[name] * value)
            for name, value in zip(self._means, free, strict=True)
        }  # fmt: skip
        return Layout.of(begin).replace(**tensors).latent()

    def prior(self, free: Sequence[Tensor]) -> Tensor:
        # Each kind counts for itself and alike: a place has two numbers, a style hundreds.
        return torch.stack([values.square().flatten(1).mean(1) for values in free]).sum(0)

    def _numbers(self, latent: Latent) -> dict[str, Tensor]:
        tensors = Layout.of(latent).tensors()
        return {name: numbers.read(tensors[name]) for name, numbers in _FREE.items() if name in tensors}


def _spread(offsets: Tensor) -> Tensor:
    return offsets.square().mean().sqrt().clamp_min(1e-3)


def _sampled(generator: BlobGenerator, latent: Latent) -> Latent:
    """Codes in w or layouts as a latent in the space layout, on the generator's device."""
    latent = latent.to(generator.device)
    if latent.space == "w":
        return generator.latent_of(latent.tensors["w"])
    if latent.space != "layout":
        raise ValueError(f"an inversion of a BlobGAN starts in w or layout, not in {latent.space}")
    return latent
