"""Scenes edited by their blobs (BlobGAN, Epstein et al. 2022, section 4): move, remove, copy, restyle and the like.

>>> editor = load("blobgan.safetensors")                                      # doctest: +SKIP
>>> edited = editor.edit(editor.sample(4), "move 3 0.2 0; remove 5")          # doctest: +SKIP
>>> edited.image, edited.figures()                                            # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from editors.blob_completion import Completed, CompletionSettings, complete
from editors.changes import Changed
from editors.generator import GeneratorEditor
from editors.ownership import require_owner
from networks.blobgan import BlobGenerator, BlobProgram, Layout
from networks.blobgan.limits import fault
from networks.blobgan.operations import FEATURES
from networks.blobgan.steps import MEAN
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.latent_edit import LatentEdit

SEEN = 0.01    # least weight in any pixel of a blob that can be seen

Steps = str | Sequence[str | Mapping[str, Any]]   # see networks.blobgan.program


@dataclass(frozen=True)
class BlobEdited(Changed):
    """Scenes before and after an edit; the region is that of :func:`edited_region`."""

    before: Latent
    after: Latent
    unseen: tuple[tuple[int, int], ...]        # scene and number of blobs that were moved out of sight


class BlobEditor(GeneratorEditor):
    """What :func:`editors.load` gives for a BlobGAN's bundle."""

    generator: BlobGenerator

    def vector(self, steps: Steps, source: Latent | None = None, name: str = "") -> LatentEdit:
        """Steps as an edit: to be applied at any strength, added to others, and saved by :func:`editors.save_edit`.

        Args:
            steps: words or data, see ``networks/blobgan/steps.py``.
            source: layouts that steps take from; its first scene is ``0``, and so on. The scene ``mean`` is there
                always: the layout of the mean hidden code.
            name: for people.

        Raises:
            GanvasError: if a step cannot be read, or the source is no layout of this generator.
        """
        scenes = {MEAN: self.mean()}
        if source is not None:
            require_layout(source, self.generator, "the scenes to take from")
            source = source.to(self.generator.device)
            scenes |= {str(i): Layout.of(source[i]) for i in range(len(source))}
        program = BlobProgram.parse(steps, scenes)
        return LatentEdit("layout", {}, self.generator.hash or None, (), name, program)

    def edit(
        self, latent: Latent, edit: Steps | LatentEdit, source: Latent | None = None, strength: float = 1.0
    ) -> BlobEdited:  # fmt: skip
        """Edit scenes, and see what that changes.

        Args:
            latent: layouts of this generator.
            edit: steps, or an edit made of them before.
            source: layouts that steps take from, see :meth:`vector`; not with an edit, which has its own.
            strength: 0 for nothing, 0.5 for half of the way, 1 for all of it.

        Raises:
            GanvasError: if the layouts are unusable or another generator's, a step cannot be read, or names what is not
                there.
        """
        require_layout(latent, self.generator, "the scenes to edit")
        device = self.generator.device
        step = edit if isinstance(edit, LatentEdit) else self.vector(edit, source)
        try:
            after = step.apply(latent.to(device), strength)
        except ValueError as error:
            raise GanvasError(f"the edit {step.name} cannot be applied: {error}") from error
        return self.seen(latent, after)

    def seen(self, before: Latent, after: Latent) -> BlobEdited:
        """Two layouts of the same scenes, and what is different in their images.

        Raises:
            GanvasError: if one of them is no layout of this generator.
        """
        before, after = before.to("cpu"), after.to("cpu")
        for latent in (before, after):
            require_layout(latent, self.generator, "the scenes")
        device = self.generator.device
        layouts = Layout.of(before.to(device)), Layout.of(after.to(device))
        return BlobEdited(
            self.render(before).cpu(), self.render(after).cpu(), edited_region(self.generator, *layouts).cpu(),
            before, after, unseen(self.generator, *layouts),
        )  # fmt: skip

    def partners(self, latent: Latent, edit: LatentEdit, strength: float = 1.0) -> dict[str, Layout]:
        """The scenes that ``swap`` changes beside the edited ones, as they are afterwards, by name."""
        if not isinstance(edit.module, BlobProgram):
            return {}
        before, after = edit.module.scenes, edit.module.run(Layout.of(latent), strength).scenes
        return {name: layout for name, layout in after.items() if layout is not before[name]}

    def complete(
        self, latent: Latent, keep: Sequence[int], seed: int = 0, settings: CompletionSettings | None = None,
        start: Latent | None = None,
    ) -> Completed:  # fmt: skip
        """Other scenes with some blobs of these, and the edit that leads there: see
        :func:`editors.blob_completion.complete`.

        Raises:
            GanvasError: if the layouts are unusable, or have no such blobs.
        """
        require_layout(latent, self.generator, "the scenes to complete")
        return complete(self.generator, latent, keep, seed, settings, start)

    def match_styles(
        self, latent: Latent, source: Latent, settings: CompletionSettings | None = None
    ) -> LatentEdit:  # fmt: skip
        """The edit of these layouts that gives them the look of sampled scenes, made anew with blobs where these lie.

        The step ``match`` takes the styles of the source itself, of whichever blobs are most like these. Here codes
        near those of the source are sought whose blobs lie and are shaped as here, whatever is in them, and the
        styles are theirs, blob by blob: of scenes whose layouts match, though the source's do not.

        Args:
            latent: layouts to restyle.
            source: as many sampled scenes, with their hidden codes.
            settings: of the search; ``content`` is always off.

        Raises:
            GanvasError: as :meth:`complete`.
        """
        places = replace(settings or CompletionSettings(), content=False)
        found = self.complete(latent, range(self.generator.k), 0, places, source)
        with torch.no_grad():
            like = self.generator.layout_of(found.code)
        program = BlobProgram.parse("transfer like", {"like": like})
        return LatentEdit("layout", {}, self.generator.hash or None, module=program)

    @torch.no_grad()
    def mean(self) -> Layout:
        """The layout of the mean hidden code, one scene."""
        network = self.generator.layout_network
        return network.layout(network.hidden_avg[None])


def edited_region(generator: BlobGenerator, before: Layout, after: Layout) -> Tensor:
    """Where an edit is, ``[N, R, R]`` from 0 to 1: the weights of the blobs that it changes, before or after.

    A blob is changed if any of its numbers is, or if it is new; the background, if its features are. Where blobs only
    come before one another, it is by how much the weights of a pixel differ.
    """
    weights = [_weights(generator, layout, max(before.k, after.k)) for layout in (before, after)]
    changed = changed_rows(before, after).to(weights[0])
    shares = [torch.einsum("nk,nkhw->nhw", changed, each) for each in weights]
    differ = (weights[1] - weights[0]).abs().sum(dim=1) / 2
    return torch.stack([*shares, differ]).amax(dim=0).clamp(0, 1)


def changed_rows(before: Layout, after: Layout) -> Tensor:
    """Whether the background and each blob differ, ``bool [N, K + 1]``; K as it is in the layout that has more."""
    k, most = min(before.k, after.k), max(before.k, after.k)
    rows = torch.ones(len(before), most + 1, dtype=torch.bool)
    rows[:, : k + 1] = False
    for name, mine in before.tensors().items():
        theirs = getattr(after, name)
        if name == "depth" or theirs is None:
            continue
        first, last = (0, k + 1) if name in FEATURES else (1, k + 1)
        differ = (mine[:, : last - first] != theirs[:, : last - first]).cpu()
        rows[:, first:last] |= differ.flatten(2).any(dim=2) if differ.ndim == 3 else differ
    return rows


def unseen(generator: BlobGenerator, before: Layout, after: Layout) -> tuple[tuple[int, int], ...]:
    """Scene and number of the blobs that were moved to where nothing of them is left in the image."""
    moved = torch.ones(len(after), after.k, dtype=torch.bool)
    k = min(before.k, after.k)
    moved[:, :k] = (before.centre[:, :k] != after.centre[:, :k]).any(dim=2).cpu()
    outside = ((after.centre < 0) | (after.centre > 1)).any(dim=2).cpu()
    visible = (_weights(generator, after, after.k)[:, 1:].amax(dim=(2, 3)) >= SEEN).cpu()
    return tuple((int(n), int(i)) for n, i in (moved & outside & ~visible).nonzero())


def require_layout(latent: Latent, generator: BlobGenerator, what: str) -> None:
    """Refuse codes that are no layouts which this generator can render.

    Raises:
        GanvasError: saying why not.
    """
    require_owner(latent, generator)
    try:
        layout = Layout.of(latent)
    except ValueError as error:
        raise GanvasError(f"{what} are no layouts: {error}; give what `ganvas sample` draws from a BlobGAN") from error
    wanted = generator.synthesis.structure_dim, generator.synthesis.style_dim
    found = layout.structure.shape[2], layout.style.shape[2]
    if found != wanted:
        raise GanvasError(f"{what} have structure and style of {found[0]} and {found[1]} numbers, and this generator's "
                          f"have {wanted[0]} and {wanted[1]}; give layouts of this generator")  # fmt: skip
    if layout.opacity is not None and not generator.layout_network.own_opacity:
        raise GanvasError(f"{what} have an opacity, and this generator's blobs have none beside their size; give "
                          "layouts of this generator")  # fmt: skip
    if wrong := fault(layout):
        raise GanvasError(f"{what} have {wrong}; draw or edit them again")


def _weights(generator: BlobGenerator, layout: Layout, k: int) -> Tensor:
    """The weights of background and blobs in each pixel, ``[N, k + 1, R, R]``; 0 for blobs that are not there."""
    found = generator.synthesis.weights(layout)[generator.img_resolution]
    return torch.nn.functional.pad(found, (0, 0, 0, 0, 0, k - layout.k))
