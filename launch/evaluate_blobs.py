"""``ganvas evaluate recipe=blobs``: what moving and removing blobs does to a BlobGAN's scenes, as a judge sees them.

Each blob of each scene in which it is visible is moved, and removed, by itself. A judge says what pixels show before
and after: a branch that was trained on the generator's features, or a feed-forward labeller that knows the image alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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
    background = {judge.classes.id_of(name) for name in cfg.recipe.background}
    latent, source = _scenes(cfg, generator)
    print(f"scenes: {len(latent)} {source}")
    seen = judge.see(latent)
    association, shares = associations(generator, latent, seen.masks, len(judge.classes), cfg.batch)
    outcomes = [
        _outcome(cfg, generator, judge, latent, seen, shares, association, blob, background)
        for blob in association.used
    ]  # fmt: skip
    figures = _figures(cfg, judge, Protocol(*source, len(latent), judge.name, generator.hash), association, outcomes,
                       background)  # fmt: skip
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.4g}")
    print(f"protocol: {figures['consistency'].protocol}")
    if cfg.out:
        write_report(Path(cfg.out), cfg.command, judge.classes, background, association, outcomes, figures)
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


def blob_weights(generator: BlobGenerator, layout: Layout) -> Tensor:
    """The weights of the blobs in each pixel, ``[N, K, R, R]``, on the CPU."""
    return generator.synthesis.weights(layout)[generator.img_resolution][:, 1:].cpu()


@torch.no_grad()
def associations(
    generator: BlobGenerator, latent: Latent, masks: Tensor, classes: int, batch: int
) -> tuple[Association, Tensor]:  # fmt: skip
    """Which class each blob is, and the share of each blob's weight on each class by scene, ``[N, K, C]``."""
    shares, visible = [], []
    for i, piece in enumerate(latent.split(batch)):
        weights = blob_weights(generator, Layout.of(piece))
        shares.append(class_shares(weights, masks[i * batch : (i + 1) * batch], classes))
        visible.append(weights.mean((2, 3)) >= VISIBLE)
    expected = torch.bincount(masks.flatten().long(), minlength=256)[:classes].float()
    found = torch.cat(shares)
    return associate(found, expected / expected.sum(), torch.cat(visible)), found


@torch.no_grad()
def _outcome(
    cfg: DictConfig, generator: BlobGenerator, judge: Judge, latent: Latent, seen: Seen, shares: Tensor,
    association: Association, blob: int, background: set[int],
) -> BlobOutcome:  # fmt: skip
    scenes = association.visible[:, blob].nonzero().flatten()
    labels = association.in_scene[scenes, blob]
    layout, before = Layout.of(latent[scenes.to(generator.device)]), seen[scenes]
    weight = blob_weights(generator, layout)[:, blob]
    shift = torch.where(layout.centre[:, blob, :1] < 0.5, cfg.recipe.move, -cfg.recipe.move)  # towards the middle
    vector = torch.cat([shift, torch.zeros_like(shift)], dim=1)
    centre = layout.centre.clone()
    centre[:, blob] += vector
    move = _change(generator, judge, layout, layout.replace(centre=centre), before)
    removal = _change(generator, judge, layout, operations.remove(layout, [blob]), before)
    objects = ~torch.isin(labels, torch.tensor(sorted(background), dtype=labels.dtype))
    there = objects & (shares[scenes, blob].gather(1, labels[:, None])[:, 0] >= THERE)
    follows = there & owned(weight, before.masks, labels)
    gone = removed(before.masks[there], removal.after.masks[there], weight[there], labels[there])
    went = None
    if follows.any():
        went = followed(before.masks[follows], move.after.masks[follows], labels[follows], vector.cpu()[follows])
    return BlobOutcome(blob, scenes, before, move, removal, follows, went, there, gone)


def _change(generator: BlobGenerator, judge: Judge, layout: Layout, changed: Layout, before: Seen) -> Change:
    after = judge.see(changed.latent(generator.hash or None))
    region = edited_region(generator, layout, changed).cpu()
    critic = perceptual(CRITIC)
    psnr, distance = outside(
        before.images, after.images, region, lambda x, y: critic(for_critic(x), for_critic(y))
    )  # fmt: skip
    return Change(after, psnr, distance)


def _figures(
    cfg: DictConfig, judge: Judge, protocol: Protocol, association: Association, outcomes: list[BlobOutcome],
    background: set[int],
) -> dict[str, Figure]:  # fmt: skip
    """Means over all edits of one kind; NaN where there is nothing to measure."""
    objects = [o.blob for o in outcomes if int(association.label[o.blob]) not in background]
    used = association.used
    moves = [o.followed for o in outcomes if o.followed is not None]
    share, error = _joined(m.share for m in moves), _joined(m.error for m in moves)
    gone = _joined(o.gone for o in outcomes)
    judged = Protocol(protocol.data, protocol.split, protocol.images, judge.name, protocol.generator,
                      f"each blob by itself, moved by {cfg.recipe.move:g}")  # fmt: skip
    found = {
        "blobs_used": len(used), "object_blobs": len(objects),
        "object_classes": len({int(association.label[blob]) for blob in objects}),
        "purity": float(association.purity[used].mean()), "consistency": float(association.consistency[used].mean()),
        "move_share": float(share.mean()), "move_error": float(error.mean()),
        "move_success": float((error <= NEAR * abs(cfg.recipe.move)).float().mean()), "moves": len(share),
        "removal_share": float(gone.mean()), "removal_success": float((gone >= GONE).float().mean()),
        "removals": len(gone),
    }  # fmt: skip
    figures = all_by(judged, found)
    for name, changes in {"move": [o.move for o in outcomes], "removal": [o.removal for o in outcomes]}.items():
        by = {"psnr": None, "perceptual": CRITIC}
        for part, network in by.items():
            own = Protocol(judged.data, judged.split, judged.images, network, judged.generator, judged.how)
            mean = _joined(getattr(change, part) for change in changes).mean()
            figures[f"{name}_{part}_outside"] = Figure(float(mean), own)
    return figures


def _joined(parts: Iterator[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(0), *parts])
