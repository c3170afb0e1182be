"""What all segmentation heads share: which maps they read, and the two ways to ask them for logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from networks.protocol import Features
from networks.segmentation.geometry import Window


class Head(nn.Module, ABC):
    """Native-resolution feature maps in, logits of an ensemble out.

    Ensemble members are one batched computation: each weight carries the members as its first dimension.

    Raises:
        ValueError: if no map is left to read, or a size is below one.
    """

    kind: ClassVar[str]          # name in the registry
    upsampling: str              # how projected maps reach the output's size, for the manifest
    reads_image: ClassVar[bool] = False  # whether it also reads the maps that are made of the image

    def __init__(
        self,
        feature_shapes: Mapping[str, tuple[int, int]],  # name -> (channels, resolution), coarse to fine
        num_classes: int,                               # K
        out_resolution: int,                            # pixels a side of the logits
        members: int,                                   # M, size of the ensemble
        left_out: Iterable[str] = (),                   # maps not to read, e.g. the generator's constant
    ) -> None:  # fmt: skip
        super().__init__()
        left_out = sorted(left_out)
        self.shapes = {name: tuple(shape) for name, shape in feature_shapes.items() if name not in left_out}
        if not self.shapes:
            raise ValueError("a segmentation head needs at least one feature map")
        if min(num_classes, out_resolution, members) < 1:
            sizes = f"{num_classes}, {out_resolution}, {members}"
            raise ValueError(f"classes, resolution and members must be at least 1, got {sizes}")
        self.num_classes, self.out_resolution, self.members = num_classes, out_resolution, members
        self.arguments: dict[str, Any] = {
            "feature_shapes": {name: list(shape) for name, shape in feature_shapes.items()},
            "num_classes": num_classes, "out_resolution": out_resolution, "members": members, "left_out": left_out,
        }  # fmt: skip

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The maps that the head reads, coarse to fine."""
        return tuple(self.shapes)

    @property
    def width_in(self) -> int:
        """D: channels of all maps together."""
        return sum(channels for channels, _ in self.shapes.values())

    def columns(self) -> dict[str, slice]:
        """Which of the D input channels each map supplies."""
        found, start = {}, 0
        for name, (channels, _) in self.shapes.items():
            found[name] = slice(start, start + channels)
            start += channels
        return found

    def manifest(self) -> dict[str, Any]:
        """What rebuilds this head (see ``build_head``), as plain data for a bundle's header."""
        return {"head": self.kind, "arguments": self.arguments, "upsampling": self.upsampling}

    @abstractmethod
    def window(self, features: Features, window: Window) -> Tensor:
        """Logits ``[M, N, K, h, w]`` of one part of the output: the same numbers as that part of the whole."""

    def mean_window(self, features: Features, window: Window) -> Tensor:
        """The mean of the members' logits over a window, ``[N, K, h, w]``: what masks are made of.

        Heads whose last layer is linear take the mean of that layer instead, so that no member's logits are made.
        """
        return self.window(features, window).mean(dim=0)

    def forward(self, features: Features) -> Tensor:
        """Logits of every member.

        Args:
            features: name -> map ``[N, C, r, r]``; maps that the head does not read may be there too.

        Returns:
            ``[M, N, K, H, W]``.

        Raises:
            ValueError: if a map is missing or has other channels.
        """
        self._check(features)
        return self.window(features, Window.whole(self.out_resolution))

    def _check(self, features: Features) -> None:
        for name, (channels, resolution) in self.shapes.items():
            if name not in features:
                raise ValueError(f"the head reads the feature map {name!r}, which is missing")
            shape = [channels, resolution, resolution]
            if list(features[name].shape[1:]) != shape:
                raise ValueError(f"{name} must be [N, {', '.join(map(str, shape))}], got {list(features[name].shape)}")
