"""Statistics of a batch normalisation outside training, taken anew from samples (Brock et al. 2019, section 4.1)."""

from __future__ import annotations

import torch
from torch import nn

from networks.sngan.batch_norm import MOMENTUM, ConditionalBatchNorm
from networks.sngan.generator import ConditionalGenerator

Norm = ConditionalBatchNorm | nn.BatchNorm2d


@torch.no_grad()
def take_standing_statistics(generator: ConditionalGenerator, samples: int, batch: int = 64, seed: int = 0) -> None:
    """Replace the running statistics by means over ``samples`` samples of all classes, in place.

    Averaged weights have statistics of their own, which those of the trained weights are not: a batch's means and
    variances are averaged over batches, each layer seeing what the batch's own statistics make of the layers before.

    Args:
        generator: whose ``training`` is as before afterwards.
        samples: how many, rounded down to whole batches but for one.
        batch: samples of which the statistics are taken together.
        seed: of the samples.
    """
    norms: list[Norm] = [m for m in generator.modules() if isinstance(m, Norm)]
    totals = [(torch.zeros_like(norm.running_mean), torch.zeros_like(norm.running_var)) for norm in norms]
    was_training, batches = generator.training, max(1, samples // batch)
    generator.train()
    for i in range(batches):
        for norm in norms:
            norm.running_mean.zero_()
            norm.running_var.zero_()
        generator.render(generator.sample(batch, seed, first=i * batch))
        for norm, (mean, var) in zip(norms, totals, strict=True):
            mean += norm.running_mean
            var += norm.running_var
    for norm, (mean, var) in zip(norms, totals, strict=True):
        share = batches * MOMENTUM  # a running value that began at 0 holds so much of one batch's
        norm.running_mean.copy_(mean / share)
        norm.running_var.copy_(var / share)
    generator.train(was_training)

