"""The StyleGAN2 generator: mapping and synthesis behind the ``Generator`` protocol (Karras et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from networks.latent import NOISE, Latent, item_rng
from networks.stylegan2.mapping import MappingNetwork
from networks.stylegan2.resolutions import lean_channel_base
from networks.stylegan2.synthesis import Architecture, Noise, SynthesisNetwork, noise_of


class Generator(nn.Module):
    """``z -> w -> image``. Its constructor arguments are kept in ``config`` and rebuild it.

    Raises:
        ValueError: if the resolution, the architecture or the precision is unknown, or ``channels`` do not fit.
    """

    def __init__(
        self,
        img_resolution: int,                  # a power of two, at least 16
        img_channels: int = 3,                # channels of the image
        z_dim: int = 512,                     # width of z
        w_dim: int = 512,                     # width of w
        c_dim: int = 0,                       # width of the class label; 0 for none
        mapping_layers: int = 8,              # depth of the mapping network
        mapping_lr_mult: float = 0.01,        # learning-rate multiplier of the mapping network
        w_avg_beta: float = 0.998,            # decay of the running mean of w, for truncation
        channel_base: int = 32768,            # channels times resolution, before the bound below; 0: lean_channel_base
        channel_max: int = 512,               # largest number of channels
        architecture: Architecture = "skip",  # skip, resnet or orig
        num_fp16_res: int = 0,                # how many of the finest resolutions compute in half precision
        half_dtype: str = "float16",          # float16 or bfloat16
        conv_clamp: float | None = None,      # bound on magnitudes; 256 with float16
        channels_last: bool = False,          # memory layout of the activations
        channels: Sequence[int] | None = None,  # at 4, 8, ..., img_resolution, where base and maximum do not give them
    ) -> None:  # fmt: skip
        super().__init__()
        channel_base = channel_base or lean_channel_base(img_resolution)
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "img_channels": img_channels, "z_dim": z_dim, "w_dim": w_dim,
            "c_dim": c_dim, "mapping_layers": mapping_layers, "mapping_lr_mult": mapping_lr_mult,
            "w_avg_beta": w_avg_beta, "channel_base": channel_base, "channel_max": channel_max,
            "architecture": architecture, "num_fp16_res": num_fp16_res, "half_dtype": half_dtype,
            "conv_clamp": conv_clamp, "channels_last": channels_last,
        }  # fmt: skip
        if channels is not None:  # else left out, as in bundles from before there was this argument
            self.config["channels"] = list(channels)
        self.z_dim, self.w_dim, self.c_dim = z_dim, w_dim, c_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.synthesis = SynthesisNetwork(
            w_dim, img_resolution, img_channels, channel_base, channel_max, architecture,
            num_fp16_res, half_dtype, conv_clamp, channels_last, channels,
        )  # fmt: skip
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(
            z_dim, c_dim, w_dim, self.num_ws, mapping_layers, mapping_lr_mult, w_avg_beta
        )  # fmt: skip
        self.hash = ""  # of the file it came from; networks.checkpoints sets it
        self.label_names: tuple[str, ...] = ()  # of the classes, likewise; () where the file has none

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.w_avg.device

    @property
    def w_avg(self) -> Tensor:
        """The mean of W, ``[w_dim]``."""
        return self.mapping.w_avg

    @property
    def feature_shapes(self) -> dict[str, tuple[int, int]]:
        """Feature name -> (channels, resolution), coarse to fine."""
        return self.synthesis.feature_shapes

    @property
    def constant_features(self) -> frozenset[str]:
        """The learned 4x4 constant: the same for every image."""
        return frozenset({"b4.const"})

    def forward(
        self,
        z: Tensor,                       # [N, z_dim]
        c: Tensor | None = None,         # [N, c_dim]
        truncation: float = 1.0,         # psi
        cutoff: int | None = None,       # truncate only the first rows
        noise: Noise = "const",          # see SynthesisNetwork
    ) -> Tensor:  # [N, C, R, R] in about [-1, 1]  # fmt: skip
        return self.synthesis(self.mapping(z, c, truncation, cutoff), noise=noise)

    @torch.no_grad()
    def sample(
        self, n: int, seed: int, label: Tensor | None = None, truncation: float = 1.0, first: int = 0
    ) -> Latent:  # fmt: skip
        """Draw ``n`` codes in W+; item i depends only on ``(seed, i)``, whatever ``n`` is.

        Args:
            n: how many.
            seed: any integer from 0.
            label: ``[n, c_dim]`` for a conditional generator; its classes in turn if left out.
            truncation: psi; 1 draws from all of W, 0 gives the mean.
            first: the number of the first item, so that a long row of samples can be drawn in parts.

        Raises:
            ValueError: if the label does not fit, or ``n`` is below one.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        # One generator for each item: the draw of item i must not move when n changes.
        z = torch.stack([torch.randn(self.z_dim, generator=item_rng(seed, i)) for i in range(first, first + n)])
        if label is None and self.c_dim:
            label = torch.eye(self.c_dim)[torch.arange(first, first + n) % self.c_dim]
        label = None if label is None else label.to(self.device)
        return Latent("w+", {"ws": self.mapping(z.to(self.device), label, truncation)}, label, self.hash or None)

    def noise_maps(self) -> dict[str, Tensor]:
        """The stored noise maps ``[R, R]`` by layer, of layers whose noise shows in images; empty if none does."""
        return self.synthesis.noise_maps()

    def in_styles(self, latent: Latent) -> Latent:
        """The same images' codes in S, from z, w or w+; noise maps stay.

        Raises:
            ValueError: if the latent is in a space that StyleGAN2 does not have.
        """
        if latent.space == "s":
            return latent
        noise = {name: t for name, t in latent.tensors.items() if name.startswith(NOISE)}
        return replace(latent, space="s", tensors={**self.synthesis.styles(self._rows(latent)), **noise})

    def _rows(self, latent: Latent) -> Tensor:
        """``[N, num_ws, w_dim]`` of a latent in z, w or w+."""
        match latent.space:
            case "z":
                return self.mapping(latent.tensors["z"], latent.label)
            case "w":
                return latent.tensors["w"][:, None].expand(-1, self.num_ws, -1)
            case "w+":
                return latent.tensors["ws"]
        raise ValueError(f"StyleGAN2 renders z, w, w+ and s, not {latent.space!r}")

    def render(
        self, latent: Latent, features: bool = False, up_to: int | None = None
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Images ``[N, C, R, R]`` in about [-1, 1] for a latent in z, w, w+ or s.

        With ``up_to`` finer blocks are left out: the image that a ``skip`` network has at that resolution, to which
        they would have added theirs. It is not the whole image made smaller. Other architectures render the whole.

        A layer's noise is the latent's own for it. Other layers have the stored maps or, where the latent has a
        ``noise_seed``, such as are drawn from that; all images share these, so that none depends on its batch.

        Raises:
            ValueError: if the latent is in a space that StyleGAN2 does not have, or its noise maps do not fit.
        """
        noise = noise_of(latent, self.feature_shapes.keys() - self.constant_features)
        if latent.space == "s":
            return self.synthesis.from_styles(latent.tensors, noise, features, up_to)
        return self.synthesis(self._rows(latent), noise, features, up_to)
