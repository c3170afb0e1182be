"""The BlobGAN generator: layout network and decoder behind the ``Generator`` protocol (Epstein et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from networks.blobgan.layout import Layout
from networks.blobgan.layout_network import Covariance, Depth, LayoutNetwork
from networks.blobgan.synthesis import BlobSynthesis
from networks.latent import HIDDEN, Latent, item_rng
from networks.stylegan2.synthesis import Noise, noise_of


class BlobGenerator(nn.Module):
    """``z -> hidden -> layout -> image``. Its constructor arguments are kept in ``config`` and rebuild it.

    Raises:
        ValueError: if an argument makes no sense, or ``channels`` do not fit the resolutions.
    """

    def __init__(
        self,
        img_resolution: int,                # a power of two
        k: int = 10,                        # blobs of a scene
        channels: Sequence[int] | None = None,  # at smallest, ..., img_resolution; None: the release's, by c_model
        c_model: int = 96,                  # width of the release's rule for channels
        img_channels: int = 3,              # channels of the image
        z_dim: int = 512,                   # width of z
        hidden_dim: int = 1024,             # width of the layout network
        layers: int = 8,                    # its depth
        lr_mult: float = 0.01,              # its learning-rate multiplier
        structure_dim: int = 768,           # width of what is in a blob
        style_dim: int = 512,               # width of how it looks
        smallest: int = 16,                 # resolution at which blobs enter
        area: float = 0.02,                 # geometric mean of a blob's variances
        offset: float = 0.0,                # where in a pixel a blob is sampled
        covariance: Covariance = "learned",  # or frozen
        own_opacity: bool = False,          # a bound of the opacity beside the size
        depth: Depth = "index",             # or learned
        aspect_bound: float | None = None,  # bound on |log_aspect|
        num_fp16_res: int = 0,              # how many of the finest resolutions compute in half precision
        half_dtype: str = "bfloat16",       # float16 or bfloat16
        channels_last: bool = False,        # memory layout of the activations
    ) -> None:  # fmt: skip
        super().__init__()
        channels = list(channels) if channels is not None else released_channels(c_model, smallest, img_resolution)
        self.config: dict[str, Any] = {
            "img_resolution": img_resolution, "k": k, "channels": channels, "img_channels": img_channels,
            "z_dim": z_dim, "hidden_dim": hidden_dim, "layers": layers, "lr_mult": lr_mult,
            "structure_dim": structure_dim, "style_dim": style_dim, "smallest": smallest, "area": area,
            "offset": offset, "covariance": covariance, "own_opacity": own_opacity, "depth": depth,
            "aspect_bound": aspect_bound, "num_fp16_res": num_fp16_res, "half_dtype": half_dtype,
            "channels_last": channels_last,
        }  # fmt: skip
        self.img_resolution, self.img_channels, self.z_dim, self.k = img_resolution, img_channels, z_dim, k
        self.c_dim = 0
        self.layout_network = LayoutNetwork(
            k, z_dim, hidden_dim, layers, structure_dim, style_dim, lr_mult, covariance, own_opacity, depth,
            aspect_bound,
        )  # fmt: skip
        self.synthesis = BlobSynthesis(
            img_resolution, channels, structure_dim, style_dim, img_channels, smallest, area, offset, num_fp16_res,
            half_dtype, channels_last,
        )  # fmt: skip
        self.hash = ""  # of the file it came from; networks.checkpoints sets it

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.layout_network.hidden_avg.device

    @property
    def feature_shapes(self) -> dict[str, tuple[int, int]]:
        """Feature name -> (channels, resolution), coarse to fine."""
        return self.synthesis.feature_shapes

    @property
    def constant_features(self) -> frozenset[str]:
        """None: there is no constant."""
        return frozenset()

    def forward(self, z: Tensor, truncation: float = 1.0, noise: Noise = "const") -> Tensor:
        """Z ``[N, z_dim]`` to images ``[N, C, R, R]`` in about [-1, 1]."""
        return self.synthesis(self.layout_network(z, truncation), noise)

    @torch.no_grad()
    def sample(
        self, n: int, seed: int, label: Tensor | None = None, truncation: float = 1.0, first: int = 0
    ) -> Latent:  # fmt: skip
        """Draw ``n`` layouts; item i depends only on ``(seed, i)``, whatever ``n`` is.

        Beside a layout's own tensors there is ``hidden``, the code before the last layer, which mappers move.

        Args:
            n: how many.
            seed: any integer from 0.
            label: None; there are no classes.
            truncation: 1 draws from all of the hidden codes, 0 gives their mean.
            first: the number of the first item, so that a long row of samples can be drawn in parts.

        Raises:
            ValueError: if there is a label, or ``n`` is below one.
        """
        if n < 1 or label is not None:
            raise ValueError(f"n must be at least 1 and BlobGAN takes no label, got n={n}, label={label}")
        z = torch.stack([torch.randn(self.z_dim, generator=item_rng(seed, i)) for i in range(first, first + n)])
        network = self.layout_network
        hidden = network.truncated(network.hidden(z.to(self.device)), truncation)
        return self.latent_of(hidden)

    def latent_of(self, hidden: Tensor) -> Latent:
        """The layouts of hidden codes ``[N, hidden_dim]``, with the codes beside them, as samples have them.

        Raises:
            ValueError: if the codes have another width.
        """
        tensors = self.layout_network.layout(hidden).tensors()
        return Latent("layout", {**tensors, HIDDEN: hidden}, None, self.hash or None)

    def layout_of(self, latent: Latent) -> Layout:
        """The blobs of a latent in z (``z``), w (``w``: the hidden code) or layout.

        Raises:
            ValueError: if the latent is in another space, or is no whole layout.
        """
        match latent.space:
            case "z":
                return self.layout_network(latent.tensors["z"])
            case "w":
                return self.layout_network.layout(latent.tensors["w"])
            case "layout":
                return Layout.of(latent)
        raise ValueError(f"BlobGAN renders z, w (the hidden code) and layout, not {latent.space!r}")

    def noise_maps(self) -> dict[str, Tensor]:
        """The stored noise maps ``[R, R]`` by layer, of layers whose noise shows in images; empty if none does."""
        return self.synthesis.noise_maps()

    def render(
        self, latent: Latent, features: bool = False, up_to: int | None = None
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Images ``[N, C, R, R]`` in about [-1, 1] for a latent in z, w or layout, without jitter.

        With ``up_to`` finer blocks are left out: the image that the network has at that resolution.

        A layer's noise is the latent's own for it. Other layers have the stored maps or, where the latent has a
        ``noise_seed``, such as are drawn from that; all images share these, so that none depends on its batch.

        Raises:
            ValueError: if the latent is in a space that BlobGAN does not have, or its noise maps do not fit.
        """
        noise = noise_of(latent, self.feature_shapes.keys())
        return self.synthesis(self.layout_of(latent), noise, features, up_to)


def released_channels(c_model: int, smallest: int, largest: int) -> list[int]:
    """The release's rule: 8 widths up to 64x64, then half as many at each doubling.

    Example:
        >>> released_channels(96, 16, 256)
        [768, 768, 768, 384, 192]
    """
    resolutions = [2**i for i in range(smallest.bit_length() - 1, largest.bit_length())]
    return [max(1, min(8 * c_model, 512 * c_model // r)) for r in resolutions]
