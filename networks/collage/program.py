"""A collage as a record: what is painted and pasted where, as plain data and tensors, that draws the same again.

A collage differs from pixel to pixel, and no code of one image says that; so it is no step in a latent space, and is
kept as what was done. Where it says the same for every pixel it is an edit of codes (``networks/collage/towards.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from networks.collage.regions import Region, feathered
from networks.collage.render import Collage, Pasted, Repainted, Stages
from networks.collage.transforms import Transform
from networks.latent import Latent, Space

ALL, FIRST, REST = "all", "first", "all but the first"
Layers = str | Mapping[str, float]   # one of the three, or a weight from 0 to 1 for each layer that is named


def layer_weights(layers: Layers, known: Sequence[str]) -> dict[str, float]:
    """The weight of each layer that heeds a region at all.

    Args:
        layers: see :data:`Layers`. A name may stand for all layers below it: ``b8`` for ``b8.conv0`` and the like.
        known: all there are, coarse to fine.

    Raises:
        ValueError: if there is no such layer, or none is left.

    Example:
        >>> layer_weights({"b8": 0.5}, ["b4.conv1", "b8.conv0", "b8.conv1"])
        {'b8.conv0': 0.5, 'b8.conv1': 0.5}
    """
    if isinstance(layers, str):
        if layers not in (ALL, FIRST, REST):
            raise ValueError(f"layers={layers} must be {ALL}, {FIRST}, {REST}, or names of layers")
        chosen = {ALL: known, FIRST: known[:1], REST: known[1:]}[layers]
        return dict.fromkeys(chosen, 1.0)
    found: dict[str, float] = {}
    for name, weight in layers.items():
        named = [layer for layer in known if layer == name or layer.startswith(f"{name}.")]
        if not named:
            raise ValueError(f"there is no layer {name}; the layers are {', '.join(known)}")
        found |= dict.fromkeys(named, float(weight))
    if not any(found.values()):
        raise ValueError("a region that no layer heeds changes nothing; name a layer, or raise a weight")
    return found


@dataclass(frozen=True, eq=False)
class Step:
    """A region of one picture, or of each.

    Args:
        mask: ``[1 or N, R, R]`` from 0 to 1; None: the whole picture.
        name: of what comes into it, for people.
        strength: from 0 to 1.
        feather: standard deviation of its soft edge, in widths of the image.
        layers: which heed it.
    """

    mask: Tensor | None = field(default=None, repr=False)
    name: str = ""
    strength: float = 1.0
    feather: float = 0.0
    layers: Layers = ALL

    def region(self, known: Sequence[str], count: int, size: int, like: Tensor) -> Region:
        """As a region of ``count`` pictures of ``size`` pixels, of the type of ``like``.

        Raises:
            ValueError: if a number is not from 0 to 1, the mask does not fit, or a layer is unknown.
        """
        mask = torch.ones(1, size, size) if self.mask is None else self.mask
        if mask.shape[1:] != (size, size) or len(mask) not in (1, count):
            raise ValueError(f"the mask of {self.name} is {list(mask.shape)}, and there are {count} pictures of {size} "
                             "pixels a side")  # fmt: skip
        soft = feathered(mask.to(like), self.feather).expand(count, -1, -1)
        return Region(soft, self.strength, layer_weights(self.layers, known), others=0.0)

    def data(self) -> dict[str, Any]:
        """Plain values of what is no tensor."""
        layers = self.layers if isinstance(self.layers, str) else dict(self.layers)
        return {"name": self.name, "strength": self.strength, "feather": self.feather, "layers": layers}

    def tensors(self) -> dict[str, Tensor]:
        """The others."""
        return {} if self.mask is None else {"mask": self.mask}

    def rows(self, piece: slice) -> Step:
        """The step for some of the pictures."""
        return replace(self, mask=_rows(self.mask, piece))


@dataclass(frozen=True, eq=False, kw_only=True)
class Paint(Step):
    """A region drawn as another class or in another style, see :class:`networks.collage.render.Repainted`.

    Args:
        style: weights of the classes ``[1 or N, classes]``, or codes in W+ ``[1 or N, num_ws, w_dim]``.
    """

    style: Tensor = field(repr=False)

    def repainted(self, stages: Stages, count: int, size: int, like: Tensor) -> Repainted:
        """For ``count`` pictures."""
        region = self.region(list(stages.layers), count, size, like)
        return Repainted(region, self.style.to(like).expand(count, *self.style.shape[1:]))

    def tensors(self) -> dict[str, Tensor]:
        return {**super().tensors(), "style": self.style}

    def rows(self, piece: slice) -> Paint:
        return replace(self, mask=_rows(self.mask, piece), style=_rows(self.style, piece))


@dataclass(frozen=True, eq=False, kw_only=True)
class Paste(Step):
    """A region that takes features of another picture, see :class:`networks.collage.render.Pasted`.

    Args:
        latent: the other picture's codes, one or N.
        transform: where its features go. The mask says where they may arrive.
        painted: what of the other picture is repainted first.
    """

    latent: Latent
    transform: Transform = Transform()
    painted: tuple[Paint, ...] = ()

    def pasted(self, stages: Stages, count: int, size: int, like: Tensor) -> Pasted:
        """For ``count`` pictures."""
        region, latent = self.region(stages.blends, count, size, like), self.latent.to(like.device)
        painted = [paint.repainted(stages, len(latent), size, like) for paint in self.painted]
        return Pasted(region, latent, painted, self.transform)

    def data(self) -> dict[str, Any]:
        t = self.transform
        return {
            **super().data(), "right": t.right, "down": t.down, "scale": t.scale, "mirror": t.mirror,
            "space": self.latent.space, "noise_seed": self.latent.noise_seed,
            "painted": [paint.data() for paint in self.painted],
        }  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        codes = {f"latent.{name}": t for name, t in self.latent.tensors.items()}
        label = {} if self.latent.label is None else {"label": self.latent.label}
        painted = {
            f"painted.{i}.{name}": t for i, paint in enumerate(self.painted) for name, t in paint.tensors().items()
        }
        return {**super().tensors(), **codes, **label, **painted}

    def rows(self, piece: slice) -> Paste:
        latent = self.latent if len(self.latent) == 1 else self.latent[piece]
        painted = tuple(paint.rows(piece) for paint in self.painted)
        return replace(self, mask=_rows(self.mask, piece), latent=latent, painted=painted)


@dataclass(frozen=True, eq=False)
class CollageProgram:
    """What is done to pictures; the order of the steps means nothing.

    Args:
        steps: what is painted and pasted.
        preserve_variance: see :class:`networks.collage.render.Collage`.
        generator_hash: whose codes the steps hold.

    Raises:
        ValueError: if there is no step.
    """

    steps: tuple[Paint | Paste, ...]
    preserve_variance: bool = False
    generator_hash: str | None = None

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a collage needs a step: something that is painted or pasted")

    def require_count(self, count: int) -> None:
        """Refuse masks, styles and codes that are neither one nor one for each picture.

        Raises:
            ValueError: saying how many there are.
        """
        for step in self.steps:
            has = {"masks": step.mask, "codes": step.style if isinstance(step, Paint) else step.latent}
            for what, each in has.items():
                if each is not None and len(each) not in (1, count):
                    raise ValueError(f"{step.name} has {len(each)} {what} for {count} pictures: give one, or as many")

    def collage(self, stages: Stages, count: int, size: int, like: Tensor) -> Collage:
        """As :func:`networks.collage.render.render_collage` takes it.

        Args:
            stages: of the generator.
            count: pictures.
            size: pixels a side.
            like: of the type and on the device of the codes.

        Raises:
            ValueError: if a step does not fit the pictures or the generator.
        """
        given = stages, count, size, like
        return Collage(
            [step.repainted(*given) for step in self.steps if isinstance(step, Paint)],
            [step.pasted(*given) for step in self.steps if isinstance(step, Paste)],
            self.preserve_variance,
        )

    def scaled(self, factor: float) -> CollageProgram:
        """With every step's strength multiplied."""
        return replace(self, steps=tuple(replace(step, strength=step.strength * factor) for step in self.steps))

    def rows(self, piece: slice) -> CollageProgram:
        """The program for some of the pictures."""
        return replace(self, steps=tuple(step.rows(piece) for step in self.steps))

    def config(self) -> dict[str, Any]:
        """Plain data that, with :meth:`tensors`, gives the program again."""
        kinds = {Paint: "paint", Paste: "paste"}
        steps = [{"do": kinds[type(step)], **step.data()} for step in self.steps]
        return {"steps": steps, "preserve_variance": self.preserve_variance}

    def tensors(self) -> dict[str, Tensor]:
        """Masks, styles and codes, ``<number of the step>.<name>``."""
        return {
            f"{i}.{name}": t.contiguous() for i, step in enumerate(self.steps) for name, t in step.tensors().items()
        }

    @classmethod
    def of(
        cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor], generator_hash: str | None
    ) -> CollageProgram:  # fmt: skip
        """The program of :meth:`config` and :meth:`tensors`.

        Raises:
            KeyError, TypeError, ValueError: if they are not those of a program.
        """
        made = {"paint": _paint, "paste": _paste}
        steps = [
            made[data["do"]](data, _below(tensors, f"{i}."), generator_hash) for i, data in enumerate(config["steps"])
        ]
        return cls(tuple(steps), bool(config["preserve_variance"]), generator_hash)


def _rows(tensor: Tensor | None, piece: slice) -> Tensor | None:
    return tensor if tensor is None or len(tensor) == 1 else tensor[piece]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _common(data: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[Any, ...]:
    return tensors.get("mask"), data["name"], float(data["strength"]), float(data["feather"]), data["layers"]


def _paint(data: Mapping[str, Any], tensors: Mapping[str, Tensor], _: str | None) -> Paint:
    return Paint(*_common(data, tensors), style=tensors["style"])


def _paste(data: Mapping[str, Any], tensors: Mapping[str, Tensor], owner: str | None) -> Paste:
    space: Space = data["space"]
    latent = Latent(space, _below(tensors, "latent."), tensors.get("label"), owner, data["noise_seed"])
    transform = Transform(*(float(data[key]) for key in ("right", "down", "scale")), bool(data["mirror"]))
    painted = [_paint(each, _below(tensors, f"painted.{i}."), owner) for i, each in enumerate(data["painted"])]
    return Paste(*_common(data, tensors), latent=latent, transform=transform, painted=tuple(painted))
