"""Editing vectors: one step in W+ learned on one image or several, to apply to any (EditGAN, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from editors.descent import descend
from editors.mask_edit import Edited, MaskEditor, Problem
from editors.regions import edit_region
from editors.sequence import EditSequence
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.latent_edit import LatentEdit

How = Literal["joint", "mean"]


def learn_vector(
    editor: MaskEditor,
    latents: Latent,                       # codes of the images to learn from, in W+
    targets: Tensor,                       # uint8 [N, R, R], their wished masks
    region: Sequence[int],                 # ids of the classes that the vector is meant to change
    name: str = "",                        # for people
    how: How = "joint",                    # one step for all images at once, or the mean of a step for each
    class_names: Sequence[str] = (),       # of the ids, kept with the vector
    progress: bool = False,
) -> tuple[LatentEdit, Edited]:  # fmt: skip
    """The vector, and what it does to the images that it was learned on.

    A mean of separate steps keeps what each image needed for itself; a joint descent finds what they share. From one
    image both are the same.

    Raises:
        GanvasError: as :meth:`editors.mask_edit.MaskEditor.edit`.
    """
    if how not in get_args(How):
        raise GanvasError(f"vectors are learned {' or '.join(get_args(How))}, not {how}")
    names = tuple(class_names[k] for k in region) if class_names else ()
    if how == "mean" or len(latents) == 1:
        edited = editor.edit(latents, targets, region, progress=progress)
        return edited.vector(names, name), edited
    vector = _joint(editor, latents, targets, region, names, name)
    return vector, apply_vector(editor, latents, vector, region)


def _joint(
    editor: MaskEditor, latents: Latent, targets: Tensor, region: Sequence[int], names: tuple[str, ...], name: str,
) -> LatentEdit:  # fmt: skip
    images = [f"image {i}" for i in range(len(latents))]
    problem = Problem.of(editor, latents, targets, images, region)
    rows = editor.free_rows
    free = torch.zeros_like(problem.latent.tensors["ws"][:1]).requires_grad_()  # [1, num_ws, w_dim]
    (best,) = descend(
        [free], lambda: problem.loss((free * rows).expand(len(latents), -1, -1)).mean()[None],
        editor.settings.schedule(), "the joint edit", images,
    )  # fmt: skip
    return LatentEdit("w+", {"ws": (editor.unit * best * rows)[0].cpu()}, latents.generator_hash, names, name)


def apply_vector(
    editor: MaskEditor,
    latents: Latent,                       # codes in W+
    vector: LatentEdit | EditSequence,     # of any space that the codes can be brought into
    region: Sequence[int] | None = None,   # ids of the classes that it changes; None: those that come or go
    strength: float | Tensor = 1.0,        # see LatentEdit.apply
    refine: int = 0,                       # steps of descent afterwards, at most
    progress: bool = False,
) -> Edited:  # fmt: skip
    """A vector, and if asked for refinement: towards the mask that the branch sees after it, back to the rest.

    EditGAN's self-supervised refinement: a vector learned elsewhere also changes what it should not; a few steps with
    the mask it made as the wish take that back.

    Raises:
        GanvasError: if the vector does not fit the codes, or refinement is asked for and a region is empty or the whole
            image, or the codes have left W+.
    """
    try:
        moved = EditSequence.of(vector).apply(editor.generator, latents, strength)
    except ValueError as error:
        raise GanvasError(f"the vector {vector.name} cannot be applied: {error}") from error
    device = editor.generator.device
    before, after = editor.see(latents.to(device)), editor.see(moved.to(device))
    # A vector moves outlines everywhere by a pixel. Where it names its classes, that is no part of the edit.
    where = edit_region(before[1], after[1], editor.settings.margin, region, changed=region is None)
    if refine > 0 and moved.space != latents.space:
        raise GanvasError(f"refine={refine} takes steps in {latents.space}, and {vector.name or 'this edit'} ends in "
                          f"{moved.space}: leave refine= out.")  # fmt: skip
    if refine > 0:
        return editor.edit(latents, after[1], start=moved, region=where, steps=refine, progress=progress)
    return Edited.of(latents, moved, before, after, after[1], where)
