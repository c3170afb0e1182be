"""What heads may read of a generator: its feature maps, and the image with its local contrast."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from networks.latent import Latent
from networks.protocol import Features, Generator

IMAGE, CONTRAST = "image", "contrast"
REACH = 16      # contrast is against the mean of a square that reaches a sixteenth of the image's side to each side


def map_shapes(generator: Generator, image: bool) -> dict[str, tuple[int, int]]:
    """Name -> (channels, resolution) of the generator's own maps, coarse to fine, then of those of its ``image``."""
    shape = generator.img_channels, generator.img_resolution
    return {**generator.feature_shapes, **(dict.fromkeys((IMAGE, CONTRAST), shape) if image else {})}


def render_maps(generator: Generator, latent: Latent) -> tuple[Tensor, Features]:
    """Images ``[N, C, R, R]`` in about [-1, 1], and all maps that ``map_shapes`` names.

    The last layer of a GAN mixes channels to colours by weights that depend on the code. A head, whose weights are the
    same for every image, cannot find the colours in the channels; they are handed to it.
    """
    image, features = generator.render(latent, features=True)
    contrast = image - local_mean(image, image.shape[-1] // REACH)
    return image, {**features, IMAGE: image, CONTRAST: contrast}


def local_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over the square of ``2 radius + 1`` pixels a side around each pixel, the border's pixels repeated.

    Args:
        x: ``[N, C, H, W]``.
        radius: in pixels; the time does not depend on it.
    """
    width = 2 * radius + 1
    for edges in ((0, 0, radius + 1, radius), (radius + 1, radius, 0, 0)):
        dim = 2 if edges[2] else 3
        sums = pad(x, edges, mode="replicate").cumsum(dim)  # one more pixel before, to subtract
        x = (sums.narrow(dim, width, x.shape[dim]) - sums.narrow(dim, 0, x.shape[dim])) / width
    return x
