"""A latent code of any generator, in any of its spaces: what samplers, inversion and edits pass around."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

NOISE = "noise."  # before the path of a layer: its noise maps among a latent's tensors
HIDDEN = "hidden"  # beside a sampled layout's tensors: the code that it comes from, [N, hidden_dim]
Space = Literal["z", "w", "w+", "s", "layout"]


@dataclass(frozen=True)
class Latent:
    """A batch of latent codes.

    Args:
        space: which space ``tensors`` live in.
        tensors: batch first. ``z``: ``{"z": [N, z_dim]}``; ``w``: ``{"w": [N, w_dim]}``; ``w+``:
            ``{"ws": [N, num_ws, w_dim]}``; ``s``: one ``[N, C]`` for each affine path. Beside these in any space, for
            layers whose noise belongs to the image: ``noise.<layer>``: ``[N, R, R]``.
        label: class label ``[N, c_dim]`` of a conditional generator.
        generator_hash: the generator these codes belong to.
        noise_seed: seed of the noise of all other layers, the same maps for every item; None: the generator's stored
            maps.

    Raises:
        ValueError: if the tensors disagree on the batch size.
    """

    space: Space
    tensors: dict[str, Tensor] = field(repr=False)
    label: Tensor | None = field(default=None, repr=False)
    generator_hash: str | None = None
    noise_seed: int | None = None

    def __post_init__(self) -> None:
        sizes = {name: len(t) for name, t in self.tensors.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"latent tensors must share their batch size, got {sizes}")

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    @property
    def noise(self) -> dict[str, Tensor]:
        """The noise maps that belong to these codes, layer path -> ``[N, R, R]``; mostly there are none."""
        return {name.removeprefix(NOISE): t for name, t in self.tensors.items() if name.startswith(NOISE)}

    def with_noise(self, maps: Mapping[str, Tensor]) -> Latent:
        """The same codes with these noise maps, layer path -> ``[N, R, R]``, and no others."""
        codes = {name: t for name, t in self.tensors.items() if not name.startswith(NOISE)}
        return replace(self, tensors={**codes, **{NOISE + layer: t for layer, t in maps.items()}})

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Latent:
        if isinstance(index, int):
            index = slice(index, index + 1) if index != -1 else slice(index, None)
        pick = {name: t[index] for name, t in self.tensors.items()}
        return replace(self, tensors=pick, label=None if self.label is None else self.label[index])

    def split(self, size: int) -> Iterator[Latent]:
        """Consecutive pieces of at most ``size`` items."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def to(self, device: torch.device | str) -> Latent:
        """The same codes on another device."""
        moved = {name: t.to(device) for name, t in self.tensors.items()}
        return replace(self, tensors=moved, label=None if self.label is None else self.label.to(device))

    def replace(self, **tensors: Tensor) -> Latent:
        """The same latent with some tensors exchanged, e.g. ``latent.replace(ws=ws + delta)``."""
        unknown = tensors.keys() - self.tensors.keys()
        if unknown:
            raise ValueError(f"a {self.space} latent has {sorted(self.tensors)}, not {sorted(unknown)}")
        return replace(self, tensors={**self.tensors, **tensors})

    @staticmethod
    def cat(latents: Sequence[Latent]) -> Latent:
        """Join batches of one space, one generator and one noise.

        Raises:
            ValueError: if there is nothing to join, or the spaces, generators, noise seeds or names of tensors differ.
        """
        if not latents:
            raise ValueError("nothing to join: the list of latents is empty")
        first = latents[0]
        for other in latents[1:]:
            if _kind(other) != _kind(first):
                raise ValueError("latents of different spaces, generators or noise cannot be joined")
        tensors = {name: torch.cat([item.tensors[name] for item in latents]) for name in first.tensors}
        labels = [item.label for item in latents if item.label is not None]
        return replace(first, tensors=tensors, label=torch.cat(labels) if labels else None)


def _kind(latent: Latent) -> tuple[str, str | None, int | None, frozenset[str]]:
    """What the items of a batch have in common."""
    return latent.space, latent.generator_hash, latent.noise_seed, frozenset(latent.tensors)


def item_names(count: int, names: Sequence[str] = ()) -> tuple[str, ...]:
    """What the codes of a file, and the pictures of them, are called: ``names``, or where there are none by number.

    Example:
        >>> item_names(2)
        ('0000', '0001')
    """
    return tuple(names) or tuple(f"{i:04d}" for i in range(count))


def item_rng(seed: int, index: int) -> torch.Generator:
    """An independent stream for each item.

    PyTorch's CPU generator keeps only 32 bits of a seed, so the pair is mixed by odd constants that are spread over
    those: items of one seed never share a stream, and items of neighbouring seeds do not in practice.
    """
    return torch.Generator().manual_seed((seed * 0x7F4A7C15 + (index + 1) * 0x1CE4E5B9) & 0xFFFFFFFF)
