"""Edits of blobs in held-out rooms and scenes, whose exact masks say what is truly there.

Before an edit the exact masks say which object a blob stands on, and where that is. After it only a judge can, since
nobody renders an edited room: how far it agrees with the masks before any edit is what its word is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from omegaconf import DictConfig
from torch import Tensor

from editors.blobs import require_layout
from launch.blob_trial import GONE, SCENES, THERE, BlobOutcome, Judge, Trial, joined
from launch.data import require_size
from launch.figures import Figure, Protocol, Source, all_by
from launch.invert import inversion_settings
from launch.rendered import heldout_source, render
from launch.segmentation_scores import invert_images
from networks.blobgan import BlobGenerator
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latents import load_latent
from networks.latent import Latent
from networks.metrics import psnr
from networks.metrics.blob_edits import (
    Association,
    Followed,
    centroid,
    followed,
    owned,
    removed,
    stood_on,
)
from networks.metrics.segmentation import SegmentationScore

KINDS = ("rooms", "scenes")   # of data, whose held-out pictures show what blobs are
SEES = 0.5                    # least share of an object that a judge must see before an edit, to say what became of it


@dataclass(frozen=True)
class Truth:
    """Held-out pictures, and what they show."""

    images: Tensor      # [N, 3, R, R] in [-1, 1]
    masks: Tensor       # uint8 [N, R, R], classes of the judge
    instances: Tensor   # uint8 [N, R, R], see LabelledImages.instances
    source: Source
    how: str            # how their layouts were found, beside figures


@dataclass(frozen=True)
class RealOutcome:
    """What became of the real objects on which one blob stands, in the scenes of its ``BlobOutcome``."""

    blob: int
    there: Tensor        # bool [n], where it stands on an object, by the exact masks
    sees: Tensor         # bool [n], of these, where the judge sees it before any edit: whose removals are measured
    missed: Tensor       # where it sees it, the share of it that it does not see ...
    gone: Tensor         # ... and that it does not see after the removal
    follows: Tensor      # bool [n], of these, where the blob has it for itself: whose moves are measured
    followed: Followed   # of these, from the true middle before the move to the judge's after it
    judged: Followed     # of these, from the judge's own middle before the move
    offset: Tensor       # of these, how far these two middles before the move are apart


@dataclass(frozen=True)
class Verdict:
    """Blobs and their edits beside the truth."""

    association: Association          # which class each blob is, by the exact masks
    agreement: SegmentationScore      # of the judge with them, before any edit
    same_class: float                 # share of blobs and scenes of which both say the same class
    outcomes: tuple[RealOutcome, ...]


def heldout(cfg: DictConfig, generator: BlobGenerator, judge: Judge) -> tuple[Latent, Truth]:
    """Layouts of held-out pictures, of ``layout=`` or inverted here, and what the pictures show.

    Args:
        cfg: with ``data``, one of ``KINDS``, ``n``, ``seed``, ``layout`` and ``inversion``.
        generator: whose layouts.
        judge: whose classes must be the pictures'.

    Raises:
        GanvasError: if the pictures, the layouts or the judge do not fit together.
    """
    settings = inversion_settings(cfg.inversion)
    latent, names = (None, ()) if cfg.layout is None else load_latent(cfg.layout)
    if latent is not None:
        require_layout(latent, generator, f"the scenes of layout={cfg.layout}")
    count = cfg.n or SCENES if latent is None else len(latent[: cfg.n])
    drawn = render(cfg.data, count, "heldout", cfg.seed, generator.img_resolution)
    require_size(drawn.images, generator)
    if drawn.classes.names != judge.classes.names:
        raise GanvasError(f"data={cfg.data.kind} shows {', '.join(drawn.classes.names)}, and the judge knows "
                          f"{', '.join(judge.classes.names)}: give a judge of these classes.")  # fmt: skip
    if latent is None:
        found = invert_images(generator, drawn, settings, "held-out")
        latent, how = found.latent, f"inverted in {settings.steps} steps"
        require_layout(latent, generator, "the inverted pictures")
    elif names[:count] != drawn.names:
        raise GanvasError(f"layout={cfg.layout} is not of these pictures, {drawn.names[0]} and so on: give what "
                          f"`ganvas invert data={cfg.data.kind} seed={cfg.seed}` wrote, or leave layout= out.")
    else:
        latent, how = latent[:count].to(generator.device), f"layouts of {cfg.layout}"
    images = torch.as_tensor(drawn.images).float() / 127.5 - 1
    masks, instances = torch.as_tensor(drawn.masks), torch.as_tensor(drawn.instances())
    return latent, Truth(images, masks, instances, heldout_source(cfg.data, cfg.seed), how)


def verdict(trial: Trial, truth: Truth, outcomes: Sequence[BlobOutcome]) -> Verdict:
    """What the truth says of blobs, of the judge, and of what the judge saw of each blob's edits."""
    association = trial.association_on(truth.masks)
    agreement = SegmentationScore(trial.judge.classes.names)
    agreement.update(trial.seen.masks, truth.masks)
    same = (association.in_scene == trial.association.in_scene)[association.visible]
    real = tuple(_real(trial, truth, association, outcome) for outcome in outcomes)
    return Verdict(association, agreement, float(same.double().mean()), real)


def _real(trial: Trial, truth: Truth, association: Association, outcome: BlobOutcome) -> RealOutcome:
    labels, masks = association.in_scene[outcome.scenes, outcome.blob], truth.masks[outcome.scenes]
    before, moved, without = outcome.before.masks, outcome.move.after.masks, outcome.removal.after.masks
    there = ~torch.isin(labels, torch.tensor(sorted(trial.background), dtype=labels.dtype))
    on = stood_on(outcome.weight, masks, labels, truth.instances[outcome.scenes])
    weight = outcome.weight * on
    there &= weight.sum((1, 2)) >= THERE * outcome.weight.sum((1, 2))
    missed = removed(masks[there], before[there], weight[there], labels[there])
    sees = there.clone()
    sees[there] = 1 - missed >= SEES
    gone = removed(masks[sees], without[sees], weight[sees], labels[sees])
    alone = ~((masks == labels[:, None, None]) & ~on).any((1, 2))  # a judge tells classes, not objects
    follows = sees & alone & owned(outcome.weight, masks, labels)
    middle, seen = (centroid(which[follows], labels[follows]) for which in (masks, before))
    went, judged = (followed(which[follows], moved[follows], labels[follows], outcome.vector[follows])
                    for which in (masks, before))  # fmt: skip
    return RealOutcome(
        outcome.blob, there, sees, missed[sees[there]], gone, follows, went, judged, (seen - middle).norm(dim=1)
    )  # fmt: skip


def figures(trial: Trial, truth: Truth, found: Verdict, edits: str) -> dict[str, Figure]:
    """By the truth alone (``truth_...``), of the judge (``judge_...``), and from the truth to the judge (``real_...``).

    Args:
        trial: what was tried.
        truth: of its scenes.
        found: of its outcomes.
        edits: what they were, for the protocol.
    """
    association, outcomes, used = found.association, found.outcomes, found.association.used
    objects = {blob: label for blob in used if (label := int(association.label[blob])) not in trial.background}
    error, gone = joined(o.followed.error for o in outcomes), joined(o.gone for o in outcomes)
    arrived = joined(trial.arrived(o.followed) for o in outcomes)
    there, sees = (torch.cat([torch.zeros(0, dtype=torch.bool), *(getattr(o, name) for o in outcomes)])
                   for name in ("there", "sees"))  # fmt: skip
    agreement = found.agreement.compute()
    exact = Protocol(*truth.source, len(truth.masks), generator=trial.generator.hash,
                     how=f"{truth.how}, by the exact masks alone")  # fmt: skip
    judged = replace(exact, network=trial.judge.name,
                     how=f"{truth.how}, the judge against the exact masks before any edit")  # fmt: skip
    real = replace(judged, how=f"{truth.how}, {edits}, by the exact masks before it and by the judge after it")
    fidelity = psnr(trial.seen.images, truth.images).mean()
    return {
        "inversion_psnr": Figure(float(fidelity), replace(exact, how=truth.how)),
        **all_by(exact, {
            "truth_object_blobs": len(objects), "truth_object_classes": len({*objects.values()}),
            "truth_purity": float(association.purity[used].mean()),
            "truth_consistency": float(association.consistency[used].mean()), "truth_objects": int(there.sum()),
        }),
        **all_by(judged, {
            "judge_miou": agreement["miou"], "judge_accuracy": agreement["pixel_accuracy"],
            "judge_same_class": found.same_class, "judge_sees": float(sees[there].double().mean()),
            "judge_missed": float(joined(o.missed for o in outcomes).mean()),
            "judge_offset": float(joined(o.offset for o in outcomes).mean()),
        }),
        **all_by(real, {
            "real_move_share": float(joined(o.followed.share for o in outcomes).mean()),
            "real_move_share_judged": float(joined(o.judged.share for o in outcomes).mean()),
            "real_move_error": float(error.mean()),
            "real_move_success": float(arrived.double().mean()), "real_moves": len(error),
            "real_removal_share": float(gone.mean()),
            "real_removal_success": float((gone >= GONE).double().mean()), "real_removals": len(gone),
        }),
    }  # fmt: skip
