"""Codes moved towards given ones: a collage that covers the whole picture in all layers, as an edit of latents.

On the class-conditional GAN the label moves, on StyleGAN2 the codes in W+. Gains and biases are linear in the label,
and styles affine in the codes; so this draws what painting the whole picture draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from networks.latent import Latent, Space
from networks.levels import Strength, number


@dataclass(frozen=True, eq=False)
class Towards:
    """An edit that goes a share of the way to each of its goals, one after another.

    Args:
        space: ``z``, where a goal is a label ``[classes]``, or ``w+``, where it is codes ``[num_ws, w_dim]``.
        goals: ``[K, ...]``.
        shares: of the way to each, at strength 1.

    Raises:
        ValueError: if there is not one share for each goal, a number is not finite, or the space is another.
    """

    kind: ClassVar[str] = "towards"

    space: Space
    goals: Tensor = field(repr=False)
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.space not in ("z", "w+") or self.goals.ndim != {"z": 2, "w+": 3}[self.space]:
            raise ValueError(f"goals are labels [K, classes] in z or codes [K, num_ws, w_dim] in w+, got "
                             f"{list(self.goals.shape)} in {self.space}")  # fmt: skip
        if not len(self.goals) or len(self.goals) != len(self.shares) or not torch.isfinite(self.goals).all():
            raise ValueError(f"there must be a share for each of at least one finite goal, got {len(self.goals)} goals "
                             f"and {len(self.shares)} shares")  # fmt: skip

    def apply(self, latent: Latent, strength: Strength) -> Latent:
        """The latent, a share of the way at each goal; strength 1 is the whole edit.

        Raises:
            ValueError: if the strength is not one number, or the codes have no such label.
        """
        value = latent.label if self.space == "z" else latent.tensors["ws"]
        if value is None or value.shape[1:] != self.goals.shape[1:]:
            raise ValueError(f"this edit moves {list(self.goals.shape[1:])}, and the codes have "
                             f"{None if value is None else list(value.shape[1:])}")  # fmt: skip
        for goal, share in zip(self.goals.to(value), self.shares, strict=True):
            value = value + number(strength) * share * (goal - value)
        return replace(latent, label=value) if self.space == "z" else latent.replace(ws=value)

    def then(self, other: Towards) -> Towards:
        """This edit and then another.

        Raises:
            ValueError: if the two are of different spaces.
        """
        if (self.space, self.goals.shape[1:]) != (other.space, other.goals.shape[1:]):
            raise ValueError("edits towards codes of different generators do not go together")
        return Towards(self.space, torch.cat([self.goals, other.goals.to(self.goals)]), self.shares + other.shares)

    def beside(self, other: Towards) -> Towards:
        """Ways to different goals are taken one after another, and do not add.

        Raises:
            ValueError: always.
        """
        raise ValueError("edits towards other codes are taken one after another, with +")

    def scaled(self, factor: float) -> Towards:
        """A share of the way."""
        return replace(self, shares=tuple(factor * share for share in self.shares))

    def config(self) -> dict[str, Any]:
        """Plain data that, with :meth:`tensors`, gives the edit again."""
        return {"space": self.space, "shares": list(self.shares)}

    def tensors(self) -> dict[str, Tensor]:
        """The goals."""
        return {"goals": self.goals}

    @classmethod
    def of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Towards:
        """The edit of :meth:`config` and :meth:`tensors`.

        Raises:
            ValueError: if they are not those of such an edit.
        """
        try:
            return cls(config["space"], tensors["goals"], tuple(float(share) for share in config["shares"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"an edit towards codes has a space, shares and goals: {error}") from error
