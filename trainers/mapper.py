"""Training of latent mappers, one for each text, on codes whose images are rendered and looked at once.

    L = sum_k  clip * (1 - cos(E(x_k), t_k)) + directional * (1 - cos(E(x_k) - E(x), t_k - t_0))
               + contrast * -log p(t_k | x_k) + unsaid * sum_g KL(p_g(x) | p_g(x_k))
               + length * |M_k(w)|^2 + sum_i preserve_ik * P_i(x_k, x),      x_k = G(w + M_k(w))

after StyleCLIP (Patashnik et al. 2021, arXiv 2103.17249, eq. 5), the second term after StyleGAN-NADA (Gal et al. 2022,
arXiv 2108.00946, eq. 3), those of the second line by statements in groups ``g`` (``networks/mapper/statements.py``).
Mappers share no weight, so that those of several texts are trained together as if alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from networks.checkpoints.errors import GanvasError
from networks.clip import ClipMix
from networks.latent import Latent
from networks.mapper import Mapper, MixtureMapper
from networks.mapper.sources import clip_features, features
from networks.mapper.wish import Wish
from networks.preservation import Preserved, Seen
from networks.protocol import Generator
from trainers.diverged import stop_if_not_a_number
from trainers.draws import seed_draws
from trainers.figures import as_floats
from trainers.ranger import Ranger
from trainers.schedule import warm_up_then_cosine
from trainers.views import alike

RAMP = 0.1  # the average's half-life is at most this share of the images seen, so that it leaves its start behind


class Batch(Protocol):
    """A batch as ``datamodules.latents.SourceBatch`` is one."""

    images: Tensor             # uint8 [B, C, r, r]
    codes: dict[str, Tensor]   # [B, ...]
    kept: dict[str, Tensor]    # what was remembered of the images


class Judges(NamedTuple):
    """The frozen networks that a mapper is trained by; they are no part of a trainer's state."""

    generator: Generator
    mix: ClipMix
    wish: Wish
    preserved: Preserved


class MapperTrainer(pl.LightningModule):
    """A bank of mappers; every random draw follows from ``(seed, images_seen)``, so that a resumed run goes on exactly.

    Raises:
        GanvasError: if the optimiser or the schedule is unknown.
        DivergedError: in training, when a loss is not finite.
    """

    def __init__(
        self,
        bank: Sequence[Mapper | MixtureMapper],   # one for each text
        judges: Judges,                # frozen
        total_images: int,             # length of the run, in source images seen
        seed: int = 0,                 # of every draw
        optimizer: str = "adamw",      # adamw, or ranger, the original's
        lr: float = 1e-3,              # peak rate
        weight_decay: float = 0.0,     # AdamW's decay
        schedule: str = "cosine",      # cosine, after a warm-up; or constant, as in the original
        ema_halflife: float = 1000.0,  # images over which the average forgets half; 0 for no average
        clip_gradient: float = 1.0,    # largest norm of a mapper's gradient; 0 for no bound
        clip: float = 0.0,             # weight of the distance between image and text
        directional: float = 1.0,      # weight of the distance between their changes
        contrast: float = 0.0,         # weight of the text against what contradicts it
        unsaid: float = 0.0,           # weight of what the text says nothing of, and changes
        jitter: float = 0.0,           # CLIP sees random views, moved so far (trainers/views.py); 0: images as they are
        length: float = 0.05,          # weight of the mean squared step, in units of the codes
        up_to: int = 256,              # pixels a side that are rendered at most
        together: int = 64,            # edited images that are held at once
        pretrained: int = 0,           # images that a conditioned mapper first sees in pairs, without texts
    ) -> None:  # fmt: skip
        super().__init__()
        if optimizer not in ("adamw", "ranger") or schedule not in ("cosine", "constant"):
            raise GanvasError(f"mappers are trained by adamw or ranger, with a cosine or constant rate, not by "
                              f"{optimizer} with {schedule}.")  # fmt: skip
        self.automatic_optimization = False
        self.bank = nn.ModuleList(bank)
        self.average = copy.deepcopy(self.bank).requires_grad_(False) if ema_halflife else None
        self._judges = judges
        self.total_images, self.seed, self.optimizer_name = total_images, seed, optimizer
        self.lr, self.weight_decay, self.schedule, self.ema_halflife = lr, weight_decay, schedule, ema_halflife
        self.clip_gradient, self.up_to, self.together = clip_gradient, up_to, together
        self.pretrained = pretrained
        self.weights = {"clip": clip, "directional": directional, "length": length, "contrast": contrast,
                        "unsaid": unsaid}  # fmt: skip
        self.jitter, self.view = jitter, 0   # the view's seed, drawn at each step
        self.figures: dict[str, float] = {}  # of the last step
        self.register_buffer("clock", torch.zeros([], dtype=torch.int64))  # images seen; saved with the weights

    @property
    def images_seen(self) -> int:
        """Source images seen so far; each is edited once for each text."""
        return int(self.clock)

    @property
    def mappers(self) -> list[Mapper | MixtureMapper]:
        """The result: the average where there is one."""
        return list(self.bank if self.average is None else self.average)

    def finish(self, codes: Mapping[str, Tensor]) -> None:
        """What is done to the result when training is over; ``codes`` are some that were learned on, ``[N, ...]``."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.optimizer_name == "ranger":
            return Ranger(self.bank.parameters(), lr=self.lr)
        return torch.optim.AdamW(self.bank.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def training_step(self, batch: Batch, *_: Any) -> None:
        seen = len(batch.images)
        seed_draws(self.seed, self.images_seen)
        if self.jitter:
            self.view = int(torch.randint(2**31, ()))   # one for all texts, so that each is trained as if alone
        optimizer = self.optimizers(use_pl_optimizer=False)
        if self.schedule == "cosine":
            share = warm_up_then_cosine(self.phase_seen // seen, max(self.phase_images // seen, 1))
            for group in optimizer.param_groups:
                group["lr"] = self.lr * share
        optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for terms, which in self.terms(batch):
            weights = self.weights | self._judges.preserved.weights(which)
            total = sum((weights.get(name, 1.0) * x).sum() for name, x in terms.items()) / seen
            self.manual_backward(total)
            for name, x in [*terms.items(), ("loss", total * seen)]:
                sums[name] = sums.get(name, 0.0) + x.detach().sum() / (seen * self.share)
        self.figures = as_floats(sums)
        stop_if_not_a_number(self.figures, f"after {self.images_seen} images")
        for mapper, part in self.alone(seen) if self.clip_gradient else ():
            nn.utils.clip_grad_norm_(mapper.parameters(), part * self.clip_gradient)
        optimizer.step()
        self._follow(seen)
        self.clock += seen

    @property
    def phase_seen(self) -> int:
        """Images seen in this phase of the training, which has one."""
        return self.images_seen

    @property
    def phase_images(self) -> int:
        """Length of this phase."""
        return self.total_images

    @property
    def is_judged(self) -> bool:
        """Whether texts have been learned from by now."""
        return True

    def alone(self, seen: int) -> list[tuple[nn.Module, float]]:
        """Networks that share no weight, each bounded by itself, and the part of ``seen`` that its gradient is from."""
        return [(mapper, 1.0) for mapper in self.bank]

    @property
    def share(self) -> int:
        """Edited images for each source image."""
        return len(self.bank)

    def terms(self, batch: Batch) -> Iterator[tuple[dict[str, Tensor], Tensor | None]]:
        """The loss's terms of every edited image, unweighted, ``[n]`` each, and which text each follows, ``[n]``.

        Some mappers at a time.
        """
        seen, parallel = len(batch.images), max(1, self.together // len(batch.images))
        for first in range(0, len(self.bank), parallel):
            numbers = range(first, min(first + parallel, len(self.bank)))
            steps = [self.bank[k](batch.codes) for k in numbers]
            which = torch.arange(numbers.start, numbers.stop, device=self.device).repeat_interleave(seen)
            lengths = torch.cat([self.bank[k].lengths(step) for k, step in zip(numbers, steps, strict=True)])
            yield {**self.judged(batch, steps, which), "length": lengths}, which

    def judged(self, batch: Batch, steps: Sequence[Mapping[str, Tensor]], which: Tensor) -> dict[str, Tensor]:
        """What the frozen networks say of the edited images.

        Args:
            batch: B sources.
            steps: of their codes, once or several times.
            which: number of the text that each edited image is to follow, ``[len(steps) * B]``.
        """
        generator, mix, wish, preserved = self._judges
        codes = {
            name: torch.cat([x + step[name].to(x) if name in step else x for step in steps])
            for name, x in batch.codes.items()
        }  # fmt: skip
        # Not by `cat`, which half-precision values do not pass under autocast on a CPU.
        kept = {name: x.repeat(len(steps), *[1] * (x.ndim - 1)) for name, x in batch.kept.items()}
        seen = preserved.render(generator, Latent(self.bank[0].space, codes), self.up_to)
        if self.jitter:
            now, then = self._through_views(batch, seen, len(steps))
        else:
            now, then = features(mix, seen), clip_features(kept)
        return {**wish.distances(now, then, which), **preserved(seen, kept, which)}

    def _through_views(self, batch: Batch, seen: Seen, count: int) -> tuple[list[Tensor], list[Tensor]]:
        """CLIP features of edited images, ``count`` of each source, and of their sources, in the same random views."""
        sources, edited = batch.images.float() / 127.5 - 1, seen.images.float()
        then, *now = alike([sources, *edited.chunk(count)], self.view, self.jitter)
        before = [x.repeat(count, 1) for x in features(self._judges.mix, Seen(then))]
        return features(self._judges.mix, Seen(torch.cat(now))), before

    @torch.no_grad()
    def _follow(self, seen: int) -> None:
        """Move the average, with a short half-life at first."""
        if self.average is None:
            return
        halflife = max(min(self.ema_halflife, RAMP * (self.phase_seen + seen)), 1e-8)
        share = 1 - 0.5 ** (seen / halflife)
        pairs = zip(self.average.parameters(), self.bank.parameters(), strict=True)
        moved = [(mean, p) for mean, p in pairs if p.grad is not None]   # a part that no longer learns keeps its mean
        torch._foreach_lerp_([mean for mean, _ in moved], [p.detach() for _, p in moved], share)


class ConditionedTrainer(MapperTrainer):
    """One mapper for all texts, which is told where a text leads from the neutral one.

    Its general part learns first, for ``pretrained`` images. No text is needed for that, and no image is rendered: it
    is told which text would ask for the change from one source's CLIP features to another's, and learns how their codes
    differ, after the idea of DeltaEdit (Lyu et al. 2023, arXiv 2303.06285). Then each image follows one of the texts,
    whose expert learns from it. Each phase has the whole schedule.
    """

    @property
    def share(self) -> int:
        return 1

    @property
    def mixture(self) -> MixtureMapper:
        """What is trained."""
        return self.bank[0]  # type: ignore[return-value]

    @property
    def phase_seen(self) -> int:
        return self.images_seen - (0 if self.images_seen < self.pretrained else self.pretrained)

    @property
    def phase_images(self) -> int:
        return self.pretrained if self.images_seen < self.pretrained else self.total_images - self.pretrained

    @property
    def is_judged(self) -> bool:
        return self.images_seen > self.pretrained

    def alone(self, seen: int) -> list[tuple[nn.Module, float]]:
        experts = self.mixture.experts
        return [(self.mixture.general, 1.0), *((expert, 1 / min(len(experts), seen)) for expert in experts)]

    def finish(self, codes: Mapping[str, Tensor]) -> None:
        modules = self.bank if self.average is None else self.average
        here = {name: x.to(self.device) for name, x in codes.items()}
        modules[0] = self.mappers[0].levelled(here).requires_grad_(False)  # type: ignore[union-attr]

    def terms(self, batch: Batch) -> Iterator[tuple[dict[str, Tensor], Tensor | None]]:
        if self.images_seen < self.pretrained:
            yield self._of_pairs(batch), None
            return
        directions, n = self._judges.wish.directions, len(batch.images)
        which = torch.randperm(len(directions)).repeat(n // len(directions) + 1)[:n].to(directions.device)
        steps = self.mixture(batch.codes, directions[which])
        yield {**self.judged(batch, [steps], which), "length": self.mixture.lengths(steps)}, which

    def _of_pairs(self, batch: Batch) -> dict[str, Tensor]:
        """How far the predicted difference of codes is from the true one: squared in units, and ``1 - cos``."""
        mapper, (seen, *_) = self.mixture.general, clip_features(batch.kept)
        difference = seen.roll(1, 0) - seen
        found = mapper(batch.codes, self._judges.wish.asking(difference))
        true = {name: batch.codes[name].roll(1, 0) - batch.codes[name] for name in found}
        missed = {name: step - true[name] for name, step in found.items()}
        flat = [torch.cat([x.flatten(1) for x in steps.values()], 1) for steps in (found, true)]
        return {"missed": mapper.lengths(missed), "turned": 1 - nn.functional.cosine_similarity(*flat, dim=1)}
