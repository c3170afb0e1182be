"""``ganvas evaluate recipe=blobs``: what moving and removing blobs does to a BlobGAN's scenes, as a judge sees them.

Each blob of each scene in which it is visible is moved, and removed, by itself. A judge says what pixels show before
and after: a branch that was trained on the generator's features, or a feed-forward labeller that knows the image alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from editors import SegmentationEditor, load
from editors.blobs import edited_region, require_layout
from launch.figures import Figure, Protocol, Source, all_by
from launch.hardware import require_device
from launch.limits import require_at_least
from launch.reports.blob_edits import write_report
from networks.blobgan import BlobGenerator, Layout, operations
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import load_latent
from networks.checkpoints.zoo import resolve
from networks.critics import perceptual
from networks.critics.sizes import for_critic
from networks.latent import Latent
from networks.metrics.blob_edits import (
    VISIBLE,
    Association,
    Followed,
    associate,
    class_shares,
    followed,
    outside,
    owned,
    removed,
)
from networks.rendering import render_batches
from networks.segmentation import segment_latents
from networks.segmenters import label_images, load_segmenter

SCENES = 100             # where neither n= nor layout= says it
CRITIC = "stlpips-alex"  # perceptual distance
THERE = 0.25             # least share of a blob's weight that lies on its class for a removal to have an object
GONE = 0.5               # least share of an object that a removal must take to have succeeded
NEAR = 0.5               # largest error of a move that has succeeded, as a share of the way


@dataclass(frozen=True)
class Seen:
    """Scenes, and what the judge says of them."""

    images: Tensor   # [N, C, R, R] in [-1, 1]
    masks: Tensor    # uint8 [N, R, R]

    def __getitem__(self, items: list[int] | Tensor) -> Seen:
        return Seen(self.images[items], self.masks[items])


@dataclass(frozen=True)
class Judge:
    """What says what pixels show."""

    name: str
    classes: ClassList
    see: Callable[[Latent], Seen]   # on the CPU


@dataclass(frozen=True)
class Change:
    """One edit of one blob, in the scenes where it is visible."""

    after: Seen
    psnr: Tensor         # [n], outside of the edit, dB
    perceptual: Tensor   # [n], outside of it


@dataclass(frozen=True)
class BlobOutcome:
    """What became of one blob's edits."""

    blob: int
    scenes: Tensor               # int64 [n], where it is visible
    before: Seen                 # of these
    move: Change
    removal: Change
    follows: Tensor              # bool [n], where it has an object for itself: whose moves are measured
    followed: Followed | None    # of these; None if there are none
    there: Tensor                # bool [n], where it has an object
    gone: Tensor                 # of these, what was removed of it


def measure(cfg: DictConfig) -> dict[str, Figure]:
    """All figures; they are printed, and with ``out=`` a report is written, with tables by blob and pictures.

    Raises:
        GanvasError: if what is given cannot be used, or does not fit together.
    """
    require_device(cfg.device)
    require_at_least(cfg, {"n": 1, "seed": 0, "batch": 1})
    if not 0 < abs(cfg.recipe.move) < 1:
        raise GanvasError(f"recipe.move={cfg.recipe.move} must be a part of the image's width, between 0 and 1.")
    generator, judge = _judge(cfg)
    background = frozenset(judge.classes.id_of(name) for name in cfg.recipe.background)
    latent, source = _scenes(cfg, generator)
    print(f"scenes: {len(latent)} {source}")
    trial = Trial(generator, judge, latent, background, cfg.recipe.move, cfg.batch)
    outcomes = [trial.outcome(blob) for blob in trial.association.used]
    figures = _figures(trial, source, outcomes)
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.4g}")
    print(f"protocol: {figures['consistency'].protocol}")
    if cfg.out:
        write_report(Path(cfg.out), cfg.command, judge.classes, trial.association, outcomes, figures)
        print(f"report: {Path(cfg.out) / 'report.md'}")
    return figures


def _judge(cfg: DictConfig) -> tuple[BlobGenerator, Judge]:
    """The generator whose scenes are edited, and who judges them."""
    if bool(cfg.segmentation) == bool(cfg.segmenter):
        raise GanvasError("edits of blobs are judged by one of segmentation=BUNDLE, a branch of the generator, and "
                          "segmenter=BUNDLE, which sees the image alone.")  # fmt: skip
    if cfg.segmentation:
        editor = load(cfg.segmentation, cfg.generator, cfg.device)
        if not isinstance(editor, SegmentationEditor):
            raise GanvasError(f"{cfg.segmentation} is no segmentation bundle: give it as generator=.")
        generator = _blobgan(editor.generator, cfg.segmentation)
        branch = read_manifest(resolve(cfg.segmentation))["hash"]
        see = partial(_by_branch, editor, cfg.batch)
        return generator, Judge(f"branch {branch[:12]}", editor.classes, see)
    if not cfg.generator:
        raise GanvasError("recipe=blobs needs generator=FILE, the bundle of a BlobGAN.")
    generator = _blobgan(load_generator(cfg.generator).to(cfg.device), cfg.generator)
    network, manifest = load_segmenter(cfg.segmenter)
    if generator.img_resolution % network.multiple:
        raise GanvasError(f"{cfg.segmenter} labels images of multiples of {network.multiple} pixels, and the generator "
                          f"draws {generator.img_resolution}: give another judge.")  # fmt: skip
    classes = ClassList(manifest["classes"]["names"], manifest["classes"]["palette"])

    def by_image(latent: Latent) -> Seen:
        images = torch.cat(list(render_batches(generator, latent, cfg.batch))).clamp(-1, 1)
        return Seen(images, label_images(network, images, cfg.batch))

    return generator, Judge(f"segmenter {manifest['hash'][:12]}", classes, by_image)


def _blobgan(generator: object, path: str) -> BlobGenerator:
    if not isinstance(generator, BlobGenerator):
        raise GanvasError(f"{path} is not of a BlobGAN, and only that has blobs: give one of a BlobGAN.")
    return generator


def _by_branch(editor: SegmentationEditor, batch: int, latent: Latent) -> Seen:
    pieces = list(segment_latents(editor.head, editor.generator, latent, batch))
    return Seen(torch.cat([piece.image for piece in pieces]).clamp(-1, 1),
                torch.cat([piece.prediction.mask for piece in pieces]))  # fmt: skip


def _scenes(cfg: DictConfig, generator: BlobGenerator) -> tuple[Latent, Source]:
    if cfg.layout is None:
        latent = generator.sample(cfg.n or SCENES, cfg.seed, truncation=cfg.truncation)
        return latent, Source("samples", f"seed {cfg.seed}, truncation {cfg.truncation:g}")
    latent, _ = load_latent(cfg.layout)
    require_layout(latent, generator, f"the scenes of layout={cfg.layout}")
    return latent[: cfg.n].to(generator.device), Source(f"scenes of {cfg.layout}")


@dataclass(frozen=True)
class Trial:
    """Scenes whose blobs are tried one at a time."""

    generator: BlobGenerator
    judge: Judge
    latent: Latent
    background: frozenset[int]   # ids of classes that are no objects
    move: float                  # in widths of the image
    batch: int = 16              # scenes whose weights are made at once

    @cached_property
    def seen(self) -> Seen:
        """The scenes as they are."""
        return self.judge.see(self.latent)

    @cached_property
    def shares(self) -> Tensor:
        """The share of each blob's weight on each class, ``[N, K, C]``."""
        masks, classes = self.seen.masks, len(self.judge.classes)
        pieces = zip(self.latent.split(self.batch), masks.split(self.batch), strict=True)
        return torch.cat([class_shares(self._weights(Layout.of(piece)), seen, classes) for piece, seen in pieces])

    @cached_property
    def association(self) -> Association:
        """Which class each blob is."""
        pieces = self.latent.split(self.batch)
        visible = torch.cat([self._weights(Layout.of(piece)).mean((2, 3)) >= VISIBLE for piece in pieces])
        expected = torch.bincount(self.seen.masks.flatten().long(), minlength=256)[: len(self.judge.classes)].float()
        return associate(self.shares, expected / expected.sum(), visible)

    @cached_property
    def critic(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Perceptual distance of images of any size."""
        network = perceptual(CRITIC)
        return lambda x, y: network(for_critic(x), for_critic(y))

    @torch.no_grad()
    def outcome(self, blob: int) -> BlobOutcome:
        """One blob moved, and removed, in each scene where it is visible."""
        scenes = self.association.visible[:, blob].nonzero().flatten()
        labels = self.association.in_scene[scenes, blob]
        layout, before = Layout.of(self.latent[scenes.to(self.generator.device)]), self.seen[scenes]
        weight = self._weights(layout)[:, blob]
        shift = torch.where(layout.centre[:, blob, :1] < 0.5, self.move, -self.move)  # towards the middle
        vector = torch.cat([shift, torch.zeros_like(shift)], dim=1)
        centre = layout.centre.clone()
        centre[:, blob] += vector
        move = self._change(layout, layout.replace(centre=centre), before)
        removal = self._change(layout, operations.remove(layout, [blob]), before)
        objects = ~torch.isin(labels, torch.tensor(sorted(self.background), dtype=labels.dtype))
        there = objects & (self.shares[scenes, blob].gather(1, labels[:, None])[:, 0] >= THERE)
        follows = there & owned(weight, before.masks, labels)
        gone = removed(before.masks[there], removal.after.masks[there], weight[there], labels[there])
        went = None
        if follows.any():
            went = followed(before.masks[follows], move.after.masks[follows], labels[follows], vector.cpu()[follows])
        return BlobOutcome(blob, scenes, before, move, removal, follows, went, there, gone)

    def _weights(self, layout: Layout) -> Tensor:
        """The weights of the blobs in each pixel, ``[n, K, R, R]``, on the CPU."""
        return self.generator.synthesis.weights(layout)[self.generator.img_resolution][:, 1:].cpu()

    def _change(self, layout: Layout, changed: Layout, before: Seen) -> Change:
        after = self.judge.see(changed.latent(self.generator.hash or None))
        region = edited_region(self.generator, layout, changed).cpu()
        return Change(after, *outside(before.images, after.images, region, self.critic))


def _figures(trial: Trial, source: Source, outcomes: list[BlobOutcome]) -> dict[str, Figure]:
    """Means over all edits of one kind; NaN where there is nothing to measure."""
    association, used = trial.association, trial.association.used
    objects = {blob: label for blob in used if (label := int(association.label[blob])) not in trial.background}
    moves = [o.followed for o in outcomes if o.followed is not None]
    share, error = _joined(m.share for m in moves), _joined(m.error for m in moves)
    gone = _joined(o.gone for o in outcomes)
    protocol = partial(Protocol, *source, len(trial.latent), generator=trial.generator.hash,
                       how=f"each blob by itself, moved by {trial.move:g}")  # fmt: skip
    figures = all_by(protocol(network=trial.judge.name), {
        "blobs_used": len(used), "object_blobs": len(objects), "object_classes": len({*objects.values()}),
        "purity": float(association.purity[used].mean()), "consistency": float(association.consistency[used].mean()),
        "move_share": float(share.mean()), "move_error": float(error.mean()),
        "move_success": float((error <= NEAR * abs(trial.move)).double().mean()), "moves": len(share),
        "removal_share": float(gone.mean()), "removal_success": float((gone >= GONE).double().mean()),
        "removals": len(gone),
    })  # fmt: skip
    for name, changes in {"move": [o.move for o in outcomes], "removal": [o.removal for o in outcomes]}.items():
        for part, network in {"psnr": None, "perceptual": CRITIC}.items():
            mean = _joined(getattr(change, part) for change in changes).mean()
            figures[f"{name}_{part}_outside"] = Figure(float(mean), protocol(network=network))
    return figures


def _joined(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(0), *parts])
