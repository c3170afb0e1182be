"""The ways of editing that are compared: a learned vector, refined or not, optimisation, InterFaceGAN's boundary."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add

import torch
from omegaconf import DictConfig
from torch import Tensor

from editors.boundary import boundary_edit
from editors.mask_edit import Edited, EditSettings, MaskEditor
from editors.segmentation import Segmentation, SegmentationEditor
from editors.vectors import apply_vector, learn_vector
from launch.edit_images import Pool, examples, pair_of, wishes
from launch.options import arguments
from networks.attributes import load_attributes
from networks.checkpoints.attributes import column_of
from networks.checkpoints.edits import load_edit
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.latent_edit import LatentEdit

METHODS = ("vector", "optimisation", "boundary")
BATCH = 64   # images that a vector is applied to at once


@dataclass(frozen=True)
class Outcome:
    """Images edited by one method."""

    edited: Edited
    seconds: float                        # of editing alone: no inversion, no learning
    vector: LatentEdit | None = None      # what was applied to all of them, if one step was
    learned: bool = False                 # here, and not read from a file
    figures: dict[str, float] = field(default_factory=dict)   # of learning


def edit_all(cfg: DictConfig, editor: SegmentationEditor, pool: Pool, seen: Segmentation) -> Outcome:
    """Edit the images of a pool as ``cfg`` says.

    Args:
        cfg: of ``ganvas evaluate``, with a recipe.
        editor: of the branch.
        pool: the images.
        seen: what the branch sees in them.

    Raises:
        GanvasError: if there is no such method, or what it needs is missing.
    """
    method = cfg.method or "vector"
    if method not in METHODS:
        raise GanvasError(f"method={method} must be one of {', '.join(METHODS)}.")
    if cfg.refine < 0:
        raise GanvasError(f"refine={cfg.refine} must be at least 0.")
    ids = [editor.classes.id_of(name) for name in cfg.recipe.classes]
    masks = MaskEditor(editor.head, editor.generator, EditSettings(**arguments(cfg.edit)))
    latent = seen.latent.to(editor.generator.device)
    if method == "optimisation":
        if cfg.refine or cfg.vector:
            raise GanvasError("method=optimisation has no vector: leave vector= and refine= out.")
        target, begun = wishes(cfg, pool, seen), time.monotonic()
        found = masks.edit(latent, target, ids, names=pool.chosen.names, progress=True)
        return Outcome(_scaled(masks, found, cfg.strength), time.monotonic() - begun)
    vector, learned = _vector(cfg, editor, masks, ids)
    begun = time.monotonic()
    edited = Edited.cat([apply_vector(masks, part, vector, ids, cfg.strength) for part in latent.split(BATCH)])
    if cfg.refine:
        edited = _refined(masks, edited, cfg.refine)
    return Outcome(edited, time.monotonic() - begun, vector, not cfg.vector, learned)


def _vector(
    cfg: DictConfig, editor: SegmentationEditor, masks: MaskEditor, ids: list[int]
) -> tuple[LatentEdit, dict[str, float]]:
    """The step that is applied to all images, and figures of its learning."""
    if cfg.vector:
        try:
            return reduce(add, map(load_edit, cfg.vector)), {}
        except ValueError as error:
            raise GanvasError(f"vector=[{','.join(cfg.vector)}]: {error}.") from error
    region = tuple(cfg.recipe.classes)
    if cfg.method == "boundary":
        return _boundary(cfg, editor, region)
    images, pool, target = examples(cfg, editor.classes, editor.generator.img_resolution)
    seen = editor.segment(images)
    target = wishes(cfg, pool, seen) if target is None else target
    vector, edited = learn_vector(
        masks, seen.latent.to(editor.generator.device), target, ids, cfg.recipe.name, cfg.recipe.how,
        editor.classes.names, progress=True,
    )  # fmt: skip
    return vector, {"examples": len(images), "agreement_of_examples": edited.figures()["agreement"]}


def _boundary(
    cfg: DictConfig, editor: SegmentationEditor, region: tuple[str, ...]
) -> tuple[LatentEdit, dict[str, float]]:
    classifier, _ = load_attributes(cfg.classifier)
    name, value = pair_of(cfg.recipe.reach, "reach")
    column = classifier.attributes[column_of(classifier.attributes, name)].index(value)

    def shown(images: Tensor) -> Tensor:
        return classifier.probabilities(images)[name][:, column]

    found = boundary_edit(editor.generator, shown, cfg.boundary_samples, cfg.seed, cfg.recipe.name, region)
    return found.edit, {"boundary_accuracy": found.accuracy, "boundary_samples": found.samples}


def _refined(masks: MaskEditor, edited: Edited, steps: int) -> Edited:
    """A few steps back towards the image, with what the vector made of the mask as the wish.

    Images in which the branch sees none of the edited classes, or nothing else, stay as the vector left them.
    """
    share = edited.region.flatten(1).float().mean(1)
    partial = ((share > 0) & (share < 1)).nonzero().flatten()
    if not len(partial):
        return edited
    some = edited.take(partial)
    again = masks.edit(
        some.before, some.mask, start=some.after, region=some.region, steps=steps, progress=True
    )
    order = torch.arange(len(edited))
    order[partial] = len(edited) + torch.arange(len(partial))
    return Edited.cat([edited, again]).take(order)


@torch.no_grad()
def _scaled(masks: MaskEditor, found: Edited, strength: float) -> Edited:
    """The codes moved by ``strength`` times what the descent found."""
    if strength == 1:
        return found
    steps = {name: t + strength * (found.after.tensors[name] - t) for name, t in found.before.tensors.items()}
    moved, parts = replace(found.before, tensors=steps), []
    for at in range(0, len(found), BATCH):
        part = found.take(torch.arange(at, min(at + BATCH, len(found))))
        parts.append(_seen(masks, part, moved[at : at + BATCH]))
    return Edited.cat(parts)


def _seen(masks: MaskEditor, part: Edited, after: Latent) -> Edited:
    image, mask = masks.see(after.to(masks.generator.device))
    return replace(part, after=after, image=image.clamp(-1, 1).cpu(), mask=mask.cpu())
