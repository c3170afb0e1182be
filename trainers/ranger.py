"""Ranger, the optimiser of the original StyleCLIP: RAdam on centralised gradients, with lookahead.

RAdam: Liu et al. 2020, arXiv 1908.03265. Lookahead: Zhang et al. 2019, arXiv 1907.08610. Gradient centralisation: Yong
et al. 2020, arXiv 2004.01461.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

SLOW = "slow"  # in an optimiser's state: the weights that lookahead returns to


class Ranger(torch.optim.RAdam):
    """PyTorch's RAdam between the two additions; the original's constants are the defaults.

    Args:
        params: what is trained.
        lr: rate.
        every: steps between two looks ahead.
        share: how far the slow weights then go towards the fast ones.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 0.5, every: int = 6, share: float = 0.5) -> None:
        super().__init__(params, lr=lr, betas=(0.95, 0.999), eps=1e-5)
        self.every, self.share = every, share

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; ``closure`` is evaluated before it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        # The slow weights are those before the first step. RAdam takes a state that is not empty for its own.
        first = {p: p.clone() for p in moving if SLOW not in self.state[p]}
        for p in moving:
            if p.grad.ndim > 1:
                p.grad -= p.grad.mean(dim=tuple(range(1, p.grad.ndim)), keepdim=True)
        super().step()
        for p in moving:
            state = self.state[p]
            slow = state.setdefault(SLOW, first.get(p))
            if int(state["step"]) % self.every == 0:
                slow.lerp_(p, self.share)
                p.copy_(slow)
        return loss
