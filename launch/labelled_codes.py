"""The codes that a branch learns from: known ones out of a file of latents, or those that inversion finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from datamodules.masks import LabelledImages
from editors.images import inside, prepare, to_tensor
from editors.invert import InversionSettings
from editors.ownership import require_owner
from launch.segmentation_scores import invert_images
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latents import load_latent
from networks.latent import Latent
from networks.metrics import psnr
from networks.protocol import Generator
from networks.rendering import render_batches

LEAST_PSNR = 15.0  # dB; below, a code is not its image's. Two samples of the avatar generator have 12 dB in the median


@dataclass(frozen=True)
class Codes:
    """Codes of labelled images, and how well the generator makes the images from them."""

    latent: Latent
    target: Tensor            # the images, [N, C, R, R] in [-1, 1]
    rendered: Tensor          # what the generator makes of the codes, [N, C, R, R] in [-1, 1]
    psnr: Tensor              # of each image, [N], dB
    known: str | None = None  # the file that they come from; None: they were found by inversion

    @property
    def caption(self) -> str:
        """What a picture of ``rendered`` is called."""
        return "rendered" if self.known else "inverted"

    @property
    def protocol(self) -> str:
        """How the generator came by the images, said beside figures on them."""
        return "rendered from known codes" if self.known else "inverted"


def inverted_codes(generator: Generator, labelled: LabelledImages, settings: InversionSettings) -> Codes:
    """The codes that inversion finds."""
    found = invert_images(generator, labelled, settings, "labelled")
    return Codes(found.latent, found.target.cpu(), found.reconstruction.cpu(), found.psnr.cpu())


def known_codes(path: str, generator: Generator, labelled: LabelledImages) -> Codes:
    """The codes that ``path`` holds under the images' names, as they are.

    Names alone could mislead, since ``ganvas sample`` always begins with 0000: each code must render to its image.

    Raises:
        GanvasError: if the file is unusable, has no names, belongs to another generator, lacks a labelled image, or
            holds other images' codes.
    """
    latent, names = load_latent(path)
    if not names:
        raise GanvasError(f"{path} does not say which image each code belongs to: write it again with `ganvas sample` "
                          "or `ganvas invert`, or leave latents= out.")  # fmt: skip
    try:
        require_owner(latent, generator)
    except GanvasError as error:
        raise GanvasError(f"{path} does not fit: {error}.") from error
    place = {name: i for i, name in enumerate(names)}
    for name in labelled.names:
        if name not in place:
            raise GanvasError(f"{path} holds no code named {name!r}, which is a labelled image: take its mask away, "
                              "name it as the code, or leave latents= out to invert all images.")  # fmt: skip
    latent = latent[[place[name] for name in labelled.names]]
    try:
        rendered = torch.cat(list(render_batches(generator, latent.to(generator.device)))).clamp(-1, 1)
    except (KeyError, ValueError) as error:
        raise GanvasError(f"the codes in {path} are not such as this generator takes ({error}).") from error
    images = to_tensor(torch.as_tensor(labelled.images))
    target = prepare(images, generator.img_channels, generator.img_resolution).images
    shown = rendered
    if labelled.valid is not None:  # a picture's margin is judged nowhere
        shown = torch.where(inside(torch.as_tensor(labelled.valid), target.shape[-1]), rendered, target)
    found = psnr(shown, target)
    for name, quality in zip(labelled.names, found.tolist(), strict=True):
        if not quality >= LEAST_PSNR:  # true of NaN as well
            raise GanvasError(f"the code {name!r} in {Path(path)} renders to another image than the labelled one (PSNR "
                              f"{quality:.1f} dB): give the file that was written with these images.")  # fmt: skip
    print(f"the codes of {len(labelled)} labelled images are known; images without a mask are left out")
    return Codes(latent, target, rendered, found, path)
