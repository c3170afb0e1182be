"""InterFaceGAN's edit (Shen et al. 2020, arXiv 1907.10786, section 3): the normal of a linear boundary in W.

Samples are labelled by a classifier; a linear support vector machine tells those that show an attribute from those that
do not, and its normal is the direction in which the attribute changes. It knows nothing of masks: what it needs instead
is a classifier, and so labels of attributes in number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.latent_edit import LatentEdit
from networks.protocol import Generator
from networks.rendering import render_batches

CONFIDENT = 0.9   # probability from which a sample counts as showing the attribute, or not
LEAST = 20        # samples that are needed on each side
HELDOUT = 4       # every fourth sample tests the boundary
REACH = 3.0       # how far the original's tool moves codes of Z, whose numbers have variance 1
WEIGHT = 1.0      # C of the support vector machine, over the number of samples


class Boundary(NamedTuple):
    """A direction in W, and how well its boundary tells samples that it was not fitted to."""

    edit: LatentEdit   # strength 1 is REACH standard deviations of a number of a code
    accuracy: float    # on held-out samples, where chance gives 1/2
    samples: int       # that it was fitted to, half of them on each side


@torch.no_grad()
def boundary_edit(
    generator: Generator,
    probability: Callable[[Tensor], Tensor],   # images [N, C, R, R] in [-1, 1] -> of the attribute, [N]
    samples: int = 4000,                       # codes drawn
    seed: int = 0,                             # of them
    name: str = "",
    region: tuple[str, ...] = (),
) -> Boundary:  # fmt: skip
    """Fit a boundary to samples that a classifier is sure of, as many on each side.

    Raises:
        GanvasError: if the generator does not sample in W+, or too few samples show the attribute, or do not.
    """
    latent = generator.sample(samples, seed)
    if latent.space != "w+":
        raise GanvasError(f"a boundary is sought in W, and this generator samples in {latent.space}")
    shown = torch.cat([probability(images.clamp(-1, 1)).cpu() for images in render_batches(generator, latent)])
    codes = latent.tensors["ws"].cpu().double()
    ws = codes[:, 0]   # a sample has the same code in each row
    order = shown.argsort()
    count = min(int((shown >= CONFIDENT).sum()), int((shown <= 1 - CONFIDENT).sum()))
    if count < LEAST:
        raise GanvasError(f"of {samples} samples the classifier is sure of only {count} with {name or 'the value'}, or "
                          f"without: at least {LEAST} are needed on each side; draw more samples.")  # fmt: skip
    without, those = ws[order[:count]], ws[order[-count:]]   # the surest
    train = torch.arange(count) % HELDOUT != 0
    normal, offset = linear_boundary(without[train], those[train])
    test = [without[~train] @ normal < offset, those[~train] @ normal > offset]
    delta = (REACH * ws.var(0).mean().sqrt() * normal).float().expand(codes.shape[1], -1).contiguous()
    edit = LatentEdit("w+", {"ws": delta}, generator.hash, region, name)
    return Boundary(edit, float(torch.cat(test).double().mean()), 2 * int(train.sum()))


def linear_boundary(without: Tensor, those: Tensor) -> tuple[Tensor, float]:
    """A linear support vector machine with squared hinge loss.

    Args:
        without: codes on the one side, ``[N, D]``.
        those: codes on the other, ``[M, D]``.

    Returns:
        The unit normal ``[D]``, towards ``those``, and the offset: ``x @ normal > offset`` on their side.

    Raises:
        ValueError: if the widths differ.
    """
    if without.ndim != 2 or without.shape[1:] != those.shape[1:]:
        raise ValueError(f"codes must be [N, D] and [M, D], got {list(without.shape)} and {list(those.shape)}")
    x = torch.cat([without, those]).double().numpy()
    mean, scale = x.mean(0), x.std(0).mean() + 1e-12   # one scale for all: directions keep their meaning
    x = (x - mean) / scale
    sign = np.concatenate([-np.ones(len(without)), np.ones(len(those))])

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = parameters[:-1], parameters[-1]
        slack = np.maximum(0, 1 - sign * (x @ w + b))
        pull = -2 * WEIGHT / len(x) * sign * slack
        value = 0.5 * w @ w / len(x) + WEIGHT / len(x) * slack @ slack
        return value, np.append(w / len(x) + pull @ x, pull.sum())

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    w, b = found[:-1], found[-1]
    length = np.linalg.norm(w)
    normal = w / length
    return torch.from_numpy(normal), float(mean @ normal - b * scale / length)
