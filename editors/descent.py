"""Gradient descent on the codes of several images at once, each as if it were alone; the best codes met are kept.

Adam works element by element, so a sum over images of a loss of each is as many separate optimisations that share their
arithmetic. The schedule is that of Karras et al. 2020 (arXiv 1912.04958, appendix D).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from networks.checkpoints.errors import GanvasError


@dataclass(frozen=True)
class Schedule:
    """How long, how fast, and when to stop early."""

    steps: int                       # at most
    rate: float                      # largest step, in the unit of what is optimised
    ramp_up: float                   # share of the steps in which the rate rises
    ramp_down: float                 # share of the steps in which it falls (cosine)
    patience: int | None = None      # stop an image after as many steps without gain; None: never
    tolerance: float = 0.0           # share of the lowest loss that counts as a gain

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: up linearly, down with a cosine."""
        t = (step + 0.5) / self.steps  # the middle of the step, so that none has rate 0
        up = min(1.0, t / self.ramp_up) if self.ramp_up > 0 else 1.0
        down = min(1.0, (1 - t) / self.ramp_down) if self.ramp_down > 0 else 1.0
        return self.rate * up * (0.5 - 0.5 * math.cos(math.pi * down))


def descend(
    free: Sequence[Tensor],                    # [N, ...] each, leaves that require gradients; changed in place
    loss: Callable[[], Tensor],                # the loss of each image for `free` as it is, [N]
    schedule: Schedule,
    what: str,                                 # for sentences: "the inversion"
    names: Sequence[str],                      # of the images, for sentences
    bar: tqdm | None = None,                   # counts steps times images
    after_step: Callable[[], None] | None = None,   # a constraint that each step may have left
    rates: Sequence[float] = (),               # factors of the rate, one for each of `free`; (): 1 for all
) -> list[Tensor]:  # fmt: skip
    """Minimise; returns ``free`` as it was at each image's lowest loss.

    An image that has stopped early keeps what it has; all stop when the last does.

    Raises:
        GanvasError: if a loss is not finite.
    """
    rates = rates or [1.0] * len(free)
    optimiser = torch.optim.Adam([{"params": [value]} for value in free])
    best = [value.detach().clone() for value in free]
    lowest = torch.full([len(free[0])], math.inf, device=free[0].device)
    idle = torch.zeros_like(lowest)            # steps since the last gain that counts
    for step in range(schedule.steps):
        for group, factor in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = factor * schedule.rate_at(step)
        value = loss()
        _require_finite(value, step, what, names, schedule.rate)
        now = value.detach()
        going = torch.ones_like(idle, dtype=torch.bool) if schedule.patience is None else idle < schedule.patience
        better = going & (now < lowest)
        # `where` makes a new tensor: keeping the leaf itself would keep whatever Adam turns it into.
        best = [
            torch.where(better.view(-1, *[1] * (v.ndim - 1)), v.detach(), b) for v, b in zip(free, best, strict=True)
        ]
        gained = now < lowest * (1 - schedule.tolerance)
        idle = torch.where(gained, 0, idle + 1)
        lowest = torch.where(better, now, lowest)
        for leaf, gradient in zip(free, torch.autograd.grad(value.sum(), free), strict=True):
            leaf.grad = gradient
        optimiser.step()
        if after_step is not None:
            after_step()
        if bar is not None:
            bar.update(len(now))
        if schedule.patience is not None and bool((idle >= schedule.patience).all()):
            if bar is not None:
                bar.update(len(now) * (schedule.steps - step - 1))
            break
    return best


def _require_finite(loss: Tensor, step: int, what: str, names: Sequence[str], rate: float) -> None:
    bad = (~torch.isfinite(loss)).nonzero().flatten().tolist()
    if bad:
        raise GanvasError(
            f"{what} of {names[bad[0]]} diverged at step {step} (its loss is NaN or infinite);"
            f" lower the rate (now {rate:g}) or take the image out"
        )
