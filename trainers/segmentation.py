"""Training of segmentation heads on a frozen generator: our recipe and the original one (DatasetGAN, EditGAN)."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError
from networks.metrics.segmentation import IGNORE, SegmentationScore
from networks.protocol import Generator
from networks.segmentation import Head, PyramidHead, ReferenceHead, head_for, predict
from networks.segmentation.geometry import sample_table, tiles
from trainers.segmentation_data import Augmentation, FeatureStore, Labels, class_weights, stream, without_small_classes

StepListener = Callable[[int, dict[str, float]], None]

@dataclass(frozen=True)
class SegmentationSettings:
    """How a head is trained."""

    recipe: Literal["default", "original"] = "default"   # ours, or 64 pixels a step with the original's stop rule
    passes: int = 60                # times every labelled pixel is seen (default recipe)
    images_per_step: int = 2        # images in a batch (default recipe)
    learning_rate: float = 3e-3     # Adam's peak rate; 1e-3 throughout in the original recipe
    weight_decay: float = 0.05      # decoupled (default recipe)
    balance: float = 0.5            # class weight = frequency ** -balance (default recipe)
    jitter: float = 0.05            # noise on the latents, in standard deviations
    noise: bool = True              # fresh synthesis noise in each rendering
    refresh: int = 2                # passes between two renderings
    tile: int = 256                 # pixels a side of what is computed at once
    half: bool = False              # cached features as float16
    min_class_pixels: int = 0       # a class with fewer pixels in an image becomes background; 30 in the original
    seed: int = 0                   # of order, augmentation and dropout


class _Clock:
    """An endless loader of nothing: ``global_step`` is the clock, and the store turns it into a batch.

    It says that it can be resumed, which is true since it has no state.
    """

    def __iter__(self) -> Iterator[int]:
        return count()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class HeadTrainer(pl.LightningModule):
    """Our recipe: whole images, tile by tile, AdamW with a warm-up and a cosine, class-balanced cross-entropy.

    Everything random follows from ``(seed, step)``, so a resumed run goes on as if it had never stopped.

    Raises:
        GanvasError: when the loss is not a number, naming the step and the images.
    """

    def __init__(self, head: Head, store: FeatureStore, settings: SegmentationSettings) -> None:
        super().__init__()
        self.automatic_optimization = False  # tiles are backpropagated one by one, to bound memory
        self.head, self.settings = head, settings
        self._store = store
        self.total_steps = settings.passes * store.steps_per_pass
        self.register_buffer("class_weight", class_weights(store.labels.counts(), settings.balance))
        if isinstance(head, PyramidHead):
            store.fill(0)
            head.standardise(store.maps)

    def train_dataloader(self) -> _Clock:
        return _Clock()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        parameters = dict(self.head.named_parameters())
        groups = [
            {"params": [p for name, p in parameters.items() if name.endswith("bias") == is_bias], "weight_decay": decay}
            for is_bias, decay in ((False, self.settings.weight_decay), (True, 0.0))
        ]
        return torch.optim.AdamW(groups, lr=self.settings.learning_rate, betas=(0.9, 0.99))

    def rate(self, step: int) -> float:
        """Share of the peak rate: linear over the first twentieth of the run, then a cosine to zero."""
        t, warm = step / self.total_steps, 0.05
        rise = min((step + 1) / (warm * self.total_steps), 1.0)
        return rise * 0.5 * (1 + math.cos(math.pi * max(t - warm, 0) / (1 - warm)))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        step = self.global_step
        seen = self._store.batch(step)
        torch.manual_seed(int(torch.randint(2**62, (), generator=stream(self.settings.seed, 3, step))))
        optimizer = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self.rate(step)
        optimizer.zero_grad(set_to_none=True)
        weight = self.class_weight[seen.masks.clamp(max=len(self.class_weight) - 1)] * (seen.masks != IGNORE)
        total = weight.sum().clamp(min=1e-12)
        loss = 0.0
        for tile in tiles(self.head.out_resolution, self.settings.tile):
            logits = self.head.window(seen.features, tile)  # [M, N, K, h, w]
            part = self._loss(logits, tile.cut(seen.masks)) / total
            self.manual_backward(part)
            loss += float(part.detach())
        _stop_if_not_a_number(loss, step, seen.images)
        optimizer.step()
        self.loss = torch.tensor(loss)

    def _loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Sum over pixels, mean over members."""
        truth = masks.expand(len(logits), *masks.shape).flatten(0, 1)
        kwargs = {"weight": self.class_weight, "ignore_index": IGNORE, "reduction": "sum"}
        return cross_entropy(logits.flatten(0, 1), truth, **kwargs) / len(logits)


class OriginalTrainer(pl.LightningModule):
    """The original recipe: 64 pixels a step from a shuffle of all pixels, plain cross-entropy, Adam at 1e-3.

    After four epochs a member stops once 50 batch losses in a row fail to improve on its best. The original trains one
    member after another; here each member follows its own shuffle and its own stop rule in one batched computation,
    which is the same since nothing couples them.

    Raises:
        GanvasError: when the loss is not a number, naming the step.
    """

    PIXELS, FREE_EPOCHS, PATIENCE, MAX_EPOCHS = 64, 4, 50, 100

    def __init__(self, head: ReferenceHead, store: FeatureStore, settings: SegmentationSettings) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.head, self.settings = head, settings
        self.stopped_head = copy.deepcopy(head).requires_grad_(False)  # each member as it was when it stopped
        self._store = store
        self._tables: list[tuple[Tensor, tuple[int, int]]] = []
        self._pixels = (store.masks.flatten() != IGNORE).nonzero()[:, 0]
        self._orders: tuple[int, Tensor] | None = None
        self.steps_per_epoch = -(-len(self._pixels) // self.PIXELS)
        # In fact "four epochs": the rule then fires after some 90 batches.
        self.total_steps = self.FREE_EPOCHS * self.steps_per_epoch + 2 * self.PATIENCE
        self.register_buffer("best", torch.full([head.members], math.inf))
        self.register_buffer("waited", torch.zeros(head.members, dtype=torch.int64))
        self.register_buffer("stopped", torch.zeros(head.members, dtype=torch.bool))

    def train_dataloader(self) -> _Clock:
        return _Clock()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.head.parameters(), lr=1e-3)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        step = self.global_step
        values, truth = self._sample(step)
        logits = self.head.classify(values)  # [M, P, K]
        losses = cross_entropy(logits.movedim(2, 1), truth, reduction="none").mean(dim=1)  # [M]
        _stop_if_not_a_number(float(losses.detach().sum()), step, range(len(self._store.labels)))
        optimizer = self.optimizers()
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(losses.sum())  # members share nothing, so each gets its own gradient
        optimizer.step()
        self.loss = losses.detach()
        if step >= self.FREE_EPOCHS * self.steps_per_epoch:
            self._apply_stop_rule(losses.detach())
        if bool(self.stopped.all()) or step + 1 >= self.MAX_EPOCHS * self.steps_per_epoch:
            self.trainer.should_stop = True

    def _sample(self, step: int) -> tuple[Tensor, Tensor]:
        """Concatenated features ``[M, P, D]`` and classes ``[M, P]`` of the pixels of a step."""
        self._fill_tables()
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._orders is None or self._orders[0] != epoch:
            self._orders = epoch, torch.stack([
                torch.randperm(len(self._pixels), generator=stream(self.settings.seed, 4, member, epoch))
                for member in range(self.head.members)
            ])  # fmt: skip
        chosen = self._pixels[self._orders[1][:, place * self.PIXELS : (place + 1) * self.PIXELS]]
        out = self.head.out_resolution
        image, pixel = chosen.flatten() // out**2, chosen.flatten() % out**2
        yx = torch.stack([pixel // out, pixel % out], dim=1)
        values = torch.cat([sample_table(table, size, image, yx, out) for table, size in self._tables], dim=1)
        return values.to(self.head.first.dtype).view(*chosen.shape, -1), self._store.masks.flatten()[chosen].long()

    def _fill_tables(self) -> None:
        """The maps with one row a position, so that a pixel's channels lie together; they replace the store's."""
        if not self._tables:
            self._store.fill(0)
            for name in self.head.feature_names:
                x = self._store.maps.pop(name)
                self._tables.append((x.movedim(1, -1).flatten(0, 2).contiguous(), tuple(x.shape[2:])))

    def _apply_stop_rule(self, losses: Tensor) -> None:
        better = losses < self.best
        self.best = torch.where(better, losses, self.best)
        self.waited = torch.where(better, 0, self.waited + 1)
        stops = (self.waited > self.PATIENCE) & ~self.stopped
        for member in stops.nonzero()[:, 0].tolist():
            _copy_member(self.head, self.stopped_head, member)
        self.stopped |= stops

    def finish(self) -> None:
        """Give each member the weights with which it stopped."""
        for member in self.stopped.nonzero()[:, 0].tolist():
            _copy_member(self.stopped_head, self.head, member)


@torch.no_grad()
def _copy_member(source: Head, target: Head, member: int) -> None:
    """Copy one member's weights and statistics; every tensor holds the members first."""
    for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        if a.ndim > 0:
            b.view(source.members, -1)[member] = a.view(source.members, -1)[member]


def _stop_if_not_a_number(loss: float, step: int, images: Sequence[int]) -> None:
    if not math.isfinite(loss):
        raise GanvasError(
            f"The loss is not a number at step {step} (labelled images {', '.join(map(str, images))}); "
            "the last checkpoint is kept: lower the learning rate, or look at these images."
        )


class _Progress(pl.Callback):
    """A bar with rate, time left and loss; the caller may listen to the steps too."""

    def __init__(self, show: bool, listen: StepListener | None) -> None:
        self.show, self.listen = show, listen

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.bar = tqdm(
            total=pl_module.total_steps, initial=trainer.global_step, desc="segmentation", unit="step",
            disable=not self.show, mininterval=0.5,
        )  # fmt: skip

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self.bar.update()
        if trainer.global_step % 50 == 0 or trainer.global_step == 1:
            loss = float(pl_module.loss.mean())
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if self.listen is not None:
                self.listen(trainer.global_step, {"loss": loss})

    def on_train_end(self, *_: Any) -> None:
        self.bar.close()


class _KeepLast(pl.Callback):
    """Writes the whole state every so often, and at the end; a killed run resumes from it to the same result."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds, self.saved = path, seconds, time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if time.monotonic() - self.saved > self.seconds:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        with atomic_path(self.path) as temporary:
            trainer.save_checkpoint(temporary)
        self.saved = time.monotonic()


@dataclass(frozen=True)
class TrainedHead:
    """What training gives."""

    head: Head                   # in evaluation mode, on the CPU
    steps: int                   # optimiser steps of the whole run
    seconds: float               # of this call, rendering included
    absent: tuple[str, ...]      # classes without a labelled pixel


def train_head(
    head: Head,                                      # fresh; trained in place
    generator: Generator,                            # frozen
    labels: Labels,                                  # the labelled images
    settings: SegmentationSettings,                  # how
    checkpoint: Path | None = None,                  # where to keep the state; resumed from if it exists
    save_every: float = 15.0,                        # seconds between two writings of it
    progress: bool = True,                           # show a bar
    listen: StepListener | None = None,              # called with (step, figures) every 50 steps
    trainer: Mapping[str, Any] = MappingProxyType({}),  # further arguments of Lightning's Trainer: devices, precision
) -> TrainedHead:  # fmt: skip
    """Train a head.

    With the same arguments the result is the same, bit for bit on a CPU, whether or not the run was interrupted.

    Raises:
        GanvasError: if the loss is not a number, or the recipe does not fit the head.
        KeyboardInterrupt: on Ctrl-C; the last checkpoint is kept.
    """
    start = time.monotonic()
    labels = replace(labels, masks=without_small_classes(labels.masks, settings.min_class_pixels))
    accelerator = {"accelerator": "cpu", "devices": 1, **trainer}
    pl_trainer = pl.Trainer(
        **accelerator, max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
        callbacks=[_Progress(progress, listen)] + ([_KeepLast(checkpoint, save_every)] if checkpoint else []),
    )  # fmt: skip
    module = _module(head, generator, labels, settings, pl_trainer.strategy.root_device)
    pl_trainer.limit_train_batches = module.total_steps if isinstance(module, HeadTrainer) else 10**9
    resume = str(checkpoint) if checkpoint is not None and checkpoint.exists() else None
    try:
        pl_trainer.fit(module, ckpt_path=resume, weights_only=True)
    except SystemExit as stop:  # Lightning turns Ctrl-C into an exit
        raise KeyboardInterrupt from stop
    if isinstance(module, OriginalTrainer):
        module.finish()
    return TrainedHead(head.cpu().eval(), pl_trainer.global_step, time.monotonic() - start, labels.absent())


def _module(
    head: Head, generator: Generator, labels: Labels, settings: SegmentationSettings, device: torch.device
) -> HeadTrainer | OriginalTrainer:
    original = settings.recipe == "original"
    if original and not isinstance(head, ReferenceHead):
        raise GanvasError(
            f"The original recipe trains the reference head, not {head.kind!r}: choose head=reference."
        )
    augmentation = Augmentation() if original else Augmentation(settings.jitter, settings.noise)
    store = FeatureStore(
        generator, labels, head.feature_names, settings.seed, settings.images_per_step, augmentation,
        settings.refresh, settings.half, device,
    )  # fmt: skip
    return (OriginalTrainer if original else HeadTrainer)(head, store, settings)


@torch.no_grad()
def score_head(head: Head, generator: Generator, labels: Labels, batch: int = 8) -> SegmentationScore:
    """Score a head on labelled images: render them from their latents, segment, compare."""
    score = SegmentationScore(labels.class_names)
    for i, latents in enumerate(labels.latents.split(batch)):
        features = generator.render(latents, features=True)[1]
        score.update(predict(head, features).probabilities, labels.masks[i * batch : i * batch + len(latents)])
    return score


@dataclass(frozen=True)
class Candidate:
    """A head and a way to train it, to be compared with others."""

    head: str = "default"
    arguments: dict[str, Any] = field(default_factory=dict)   # of the head
    settings: SegmentationSettings = SegmentationSettings()


def k_fold(
    candidates: Mapping[str, Candidate],
    generator: Generator,
    labels: Labels,
    folds: int = 4,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, SegmentationScore]:
    """Compare candidates without any data but the labelled images: each is scored on images it did not see.

    Args:
        candidates: name -> what to try.
        generator: frozen.
        labels: all labelled images.
        folds: parts the images are split into, at most as many as there are images.
        seed: of the split.
        progress: show a bar.

    Returns:
        name -> score of the held-out predictions of all folds together.

    Raises:
        GanvasError: if there are fewer than two labelled images.
    """
    if len(labels) < 2:
        raise GanvasError(
            f"Choosing a model by k-fold needs at least 2 labelled images, got {len(labels)}: label more."
        )
    order = torch.randperm(len(labels), generator=stream(seed, 5)).tolist()
    parts = [order[i :: min(folds, len(labels))] for i in range(min(folds, len(labels)))]
    scores = {name: SegmentationScore(labels.class_names) for name in candidates}
    runs = [(name, part) for name in candidates for part in parts]
    for name, part in tqdm(runs, desc="k-fold", unit="run", disable=not progress):
        candidate = candidates[name]
        rest = labels[[i for i in order if i not in part]]
        head = head_for(
            generator, candidate.head, len(labels.class_names), candidate.settings.seed,
            constants=candidate.head != "default", **candidate.arguments,
        )  # fmt: skip
        trained = train_head(head, generator, rest, candidate.settings, progress=False)
        scores[name].confusion += score_head(trained.head, generator, labels[part]).confusion
    return scores
