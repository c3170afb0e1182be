"""What a collage is given, brought to one form and checked: masks, codes, styles, and that regions lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from editors.class_names import class_label
from editors.ownership import require_owner
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.masks import read_soft_mask
from networks.collage import Paint, Paste
from networks.collage.program import Step, layer_weights
from networks.latent import Latent
from networks.protocol import Generator
from networks.stylegan2 import Generator as StyleGAN2

MaskLike = str | Path | np.ndarray | Tensor | None   # a file, or [R, R] or [N, R, R] from 0 to 1; None: all of it
ROUNDING = 1e-3                                      # by how much masks may add up to more than 1


def mask_of(mask: MaskLike, size: int, name: str) -> Tensor | None:
    """A mask as ``[1 or N, size, size]``; None stays None.

    Args:
        mask: in any form.
        size: pixels a side of the generator's images.
        name: of what comes into it, for sentences.

    Raises:
        GanvasError: if it cannot be read, has another size, is empty, or covers everything.
    """
    if mask is None:
        return None
    if isinstance(mask, str | Path):
        mask = read_soft_mask(mask)
    mask = torch.as_tensor(np.array(mask) if isinstance(mask, np.ndarray) else mask).float().cpu()
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or mask.shape[1:] != (size, size):
        has = "x".join(map(str, mask.shape[-2:]))
        raise GanvasError(f"the mask of {name} is {has}, and this generator draws {size}x{size}: give one of that "
                          "size")  # fmt: skip
    if not (mask.amax(dim=(1, 2)) > 0).any():
        raise GanvasError(f"the mask of {name} is empty: paint where something is to change")
    if (mask == 1).all():
        raise GanvasError(f"the mask of {name} covers everything, so nothing would be kept: leave the mask out to "
                          "change the whole picture")  # fmt: skip
    return mask


def samples_of_class(generator: Generator, name: str, n: int = 1, seed: int = 0) -> Latent:
    """Samples of one class; for the same seed they have the same z in every class.

    Raises:
        GanvasError: if there is no such class.
    """
    return generator.sample(n, seed, class_label(generator, name).cpu().repeat(n, 1))


def style_of(what: str | Latent | Tensor, generator: Generator) -> Tensor:
    """What a region is painted with: weights of classes ``[N, classes]``, or on StyleGAN2 codes ``[N, num_ws, w_dim]``.

    Args:
        what: a class by its name, codes, or such numbers.
        generator: that draws it.

    Raises:
        GanvasError: if there is no such class, or codes or numbers do not fit.
    """
    if isinstance(what, str):
        what = samples_of_class(generator, what)
    if isinstance(what, Latent):
        require_codes(what, generator, "the codes to paint with")
        key = what.tensors.get("ws") if isinstance(generator, StyleGAN2) else what.label
        if key is None:
            raise GanvasError(f"regions are painted with codes in w+, and these are in {what.space}")
        return key
    if what.ndim == 1:
        what = what[None]
    own = generator.sample(1, seed=0)
    wanted = (own.tensors["ws"] if isinstance(generator, StyleGAN2) else own.label).shape[1:]
    if what.shape[1:] != wanted or not torch.isfinite(what).all():
        raise GanvasError(f"a region is painted with finite numbers {list(wanted)}, got {list(what.shape[1:])}")
    return what


def require_codes(latent: Latent, generator: Generator, what: str) -> None:
    """Refuse codes that this generator does not draw.

    Raises:
        GanvasError: saying why not.
    """
    require_owner(latent, generator)
    own = generator.sample(1, seed=0)
    known = ("z", "w", "w+", "s") if isinstance(generator, StyleGAN2) else ("z",)
    if latent.space not in known:
        raise GanvasError(f"{what} are codes in {latent.space}, and this generator draws {', '.join(known)}")
    if own.label is not None and latent.space == "z" and (
        latent.label is None or latent.label.shape[1:] != own.label.shape[1:]
    ):
        raise GanvasError(f"{what} must have labels of {own.label.shape[1]} classes; sample or invert them again")
    for name, value in own.tensors.items():
        if latent.space == own.space and latent.tensors[name].shape[1:] != value.shape[1:]:
            raise GanvasError(f"{what} have {name} {list(latent.tensors[name].shape[1:])}, and this generator's "
                              f"are {list(value.shape[1:])}: they are another's")  # fmt: skip


def require_apart(steps: Sequence[Paint | Paste], known: Sequence[str]) -> None:
    """Refuse two regions that share a pixel and a layer.

    Raises:
        GanvasError: naming them.
    """
    for one, other in combinations(steps, 2):
        if not _heeded(one, known) & _heeded(other, known):
            continue
        mine, theirs = (torch.ones(1, 1, 1) if step.mask is None else step.mask for step in (one, other))
        if 1 not in (len(mine), len(theirs)) and len(mine) != len(theirs):
            raise GanvasError(f"{one.name} has {len(mine)} masks and {other.name} {len(theirs)}: give each one, or one "
                              "for each picture")  # fmt: skip
        if shared := int((mine + theirs > 1 + ROUNDING).sum()):
            raise GanvasError(f"the regions of {one.name} and {other.name} overlap in {shared} pixels: draw them "
                              "apart, or give them different layers")  # fmt: skip


def _heeded(step: Step, known: Sequence[str]) -> set[str]:
    return {layer for layer, weight in layer_weights(step.layers, known).items() if weight > 0}
