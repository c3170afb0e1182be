"""Collages of classes, styles and features (neural-collage, Suzuki et al. 2018): paint and paste in parts of pictures.

>>> editor = load("styles32.safetensors")                                     # doctest: +SKIP
>>> edited = editor.edit(editor.sample(4), [editor.paint("micah", "mask.png")])   # doctest: +SKIP
>>> edited.image, edited.figures()                                            # doctest: +SKIP

It draws on the class-conditional GAN, where regions take classes, and on StyleGAN2, where they take codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from editors.changes import Changed
from editors.class_names import class_names
from editors.collage_inputs import MaskLike, mask_of, require_apart, require_codes, samples_of_class, style_of
from editors.generator import GeneratorEditor
from networks.checkpoints.errors import GanvasError
from networks.collage import CollageProgram, Paint, Paste, Transform, render_collage
from networks.collage.program import ALL, Layers, Step, layer_weights
from networks.collage.render import Collage, Stages, stages_of
from networks.collage.towards import Towards
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.stylegan2 import Generator as StyleGAN2

BATCH = 16   # pictures drawn at once

Steps = CollageProgram | Sequence[Paint | Paste]


@dataclass(frozen=True)
class Collaged(Changed):
    """Pictures before and after a collage; the region is that of the masks, with their soft edges."""

    before: Latent
    program: CollageProgram = field(repr=False)


class CollageEditor(GeneratorEditor):
    """What :func:`editors.load` gives for a class-conditional GAN's bundle; StyleGAN2 as ``CollageEditor(generator)``.

    Raises:
        ValueError: on the first use, if the generator knows no collage.
    """

    @property
    def stages(self) -> Stages:
        """The generator in stages: ``.layers`` may be painted in, at ``.blends`` features are pasted."""
        return stages_of(self.generator)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the generator's classes; () where it has none."""
        return class_names(self.generator)

    def of_class(self, name: str, n: int = 1, seed: int = 0) -> Latent:
        """Samples of one class; for the same seed they have the same z in every class.

        Raises:
            GanvasError: if there is no such class.
        """
        return samples_of_class(self.generator, name, n, seed)

    def paint(
        self, what: str | Latent | Tensor, mask: MaskLike = None, strength: float = 1.0, feather: float = 0.0,
        layers: Layers = ALL, name: str = "",
    ) -> Paint:  # fmt: skip
        """A region that is drawn as something else.

        Args:
            what: a class by its name; or codes. On the class-conditional GAN their class is taken, and weights of
                classes ``[classes]`` mix some; on StyleGAN2 codes in W+ are taken, of a class those of its sample 0.
            mask: where.
            strength: from 0 to 1.
            feather: standard deviation of the soft edge, in widths of the image.
            layers: which heed it, see :data:`networks.collage.program.Layers`; named as in ``stages.layers``.
            name: for people; a class has its own.

        Raises:
            GanvasError: if there is no such class or layer, codes are another generator's, or the mask cannot be used.
        """
        name = name or (what if isinstance(what, str) else "the region")
        where, style = mask_of(mask, self.generator.img_resolution, name), style_of(what, self.generator)
        step = Paint(where, name, strength, feather, layers, style=style)
        return self._usable(step, list(self.stages.layers))

    def paint_map(
        self, ids: np.ndarray | Tensor, what: Sequence[str | Latent | Tensor], strength: float = 1.0,
        feather: float = 0.0, layers: Layers = ALL, names: Sequence[str] = (),
    ) -> list[Paint]:  # fmt: skip
        """The regions of a map, each drawn as something else.

        Args:
            ids: whole numbers ``[R, R]`` or ``[N, R, R]``; 0 stays as it is, ``i`` becomes ``what[i - 1]``, and what is
                beyond stays too.
            what: as :meth:`paint` takes it.
            strength: of all, as the rest.
            feather: as there.
            layers: as there.
            names: of each, for people; a class has its own.

        Raises:
            GanvasError: as :meth:`paint`, and if the map shows none of them.
        """
        ids = torch.as_tensor(np.asarray(ids).astype(np.int64))
        shown = [i for i in range(1, len(what) + 1) if (ids == i).any()]
        if not shown:
            raise GanvasError("the class map is empty: paint the colour of a class where something is to change")
        called = names or [""] * len(what)
        return [self.paint(what[i - 1], (ids == i).float(), strength, feather, layers, called[i - 1]) for i in shown]

    def paste(
        self, reference: Latent, mask: MaskLike = None, strength: float = 1.0, feather: float = 0.0,
        layers: Layers = ALL, transform: Transform | None = None, painted: Sequence[Paint] = (), name: str = "",
    ) -> Paste:  # fmt: skip
        """A region that takes the features of another picture.

        Args:
            reference: its codes, one picture or as many as are edited.
            mask: where features may arrive.
            strength: as :meth:`paint`.
            feather: as there.
            layers: where, named as in ``stages.blends``.
            transform: shift, scale and mirror of its features.
            painted: what of the other picture is repainted first; a class for all of it has no mask.
            name: for people.

        Raises:
            GanvasError: as :meth:`paint`.
        """
        name = name or "the reference"
        require_codes(reference, self.generator, name)
        step = Paste(
            mask_of(mask, self.generator.img_resolution, name), name, strength, feather, layers, latent=reference,
            transform=transform or Transform(), painted=tuple(painted),
        )  # fmt: skip
        return self._usable(step, list(self.stages.blends))

    def program(self, steps: Steps, preserve_variance: bool = False) -> CollageProgram:
        """Steps as a record, that :func:`editors.save_collage` keeps.

        Args:
            steps: what :meth:`paint` and :meth:`paste` gave; their order means nothing.
            preserve_variance: see :class:`networks.collage.render.Collage`.

        Raises:
            GanvasError: if there is none, two of a kind overlap in a layer, or it is another generator's.
        """
        if isinstance(steps, CollageProgram):
            owner = steps.generator_hash
            if owner and self.generator.hash and owner != self.generator.hash:
                raise GanvasError(f"the collage belongs to generator {owner[:12]}, not to {self.generator.hash[:12]}: "
                                  "use the generator it was made with")  # fmt: skip
            return steps
        if not steps:
            raise GanvasError("a collage needs a step: something that is painted or pasted")
        for kind, known in ((Paint, list(self.stages.layers)), (Paste, self.stages.blends)):
            require_apart([step for step in steps if isinstance(step, kind)], known)
        return CollageProgram(tuple(steps), preserve_variance, self.generator.hash or None)

    def edit(self, latent: Latent, steps: Steps, strength: float = 1.0) -> Collaged:
        """Draw pictures with a collage, and see what it changes.

        Args:
            latent: codes of the pictures.
            steps: steps, or a program.
            strength: a factor on that of each step, from 0 to 1.

        Raises:
            GanvasError: as :meth:`program`, and if codes are unusable or steps do not fit as many pictures.
        """
        program = self.program(steps).scaled(strength)
        require_codes(latent, self.generator, "the pictures to edit")
        drawn = self._drawn(latent, program)
        images, regions = zip(*((image, edited_region(collage)) for image, collage in drawn), strict=True)
        # The same operations, all of whose regions are empty: what differs afterwards is the collage and no rounding.
        before = [image for image, _ in self._drawn(latent, program.scaled(0.0))]
        return Collaged(torch.cat(before), torch.cat(images), torch.cat(regions), latent.to("cpu"), program)

    def morph(self, latent: Latent, steps: Steps, strengths: Sequence[float]) -> Tensor:
        """The pictures at several strengths, ``[S, N, C, R, R]`` in [-1, 1].

        Raises:
            GanvasError: as :meth:`edit`.
        """
        program = self.program(steps)
        require_codes(latent, self.generator, "the pictures to edit")
        return torch.stack([torch.cat([x for x, _ in self._drawn(latent, program.scaled(s))]) for s in strengths])

    def latent_edit(self, steps: Steps) -> LatentEdit | None:
        """The collage as an edit of codes, where it is one: whole pictures painted as one thing in all layers.

        Raises:
            GanvasError: as :meth:`program`.
        """
        first, *others = self.program(steps).steps
        if others or not isinstance(first, Paint) or first.mask is not None or len(first.style) != 1:
            return None
        weights = layer_weights(first.layers, list(self.stages.layers))
        if len(weights) != len(self.stages.layers) or set(weights.values()) != {1.0}:
            return None
        space = "w+" if isinstance(self.generator, StyleGAN2) else "z"
        module = Towards(space, first.style.cpu(), (first.strength,))
        return LatentEdit(space, {}, self.generator.hash or None, (), first.name, module)

    @torch.no_grad()
    def _drawn(self, latent: Latent, program: CollageProgram) -> list[tuple[Tensor, Collage]]:
        """The pictures, a batch at a time, each with its collage."""
        count, size, found = len(latent), self.generator.img_resolution, []
        for start in range(0, count, BATCH):
            piece = slice(start, min(start + BATCH, count))
            codes = latent[piece].to(self.generator.device)
            like = next(t for t in codes.tensors.values())
            try:
                program.require_count(count)
                collage = program.rows(piece).collage(self.stages, len(codes), size, like)
            except ValueError as error:
                raise GanvasError(f"the collage cannot be drawn: {error}") from error
            found.append((render_collage(self.generator, codes, collage).clamp(-1, 1).cpu(), collage))
        return found

    def _usable(self, step: Step, known: Sequence[str]) -> Step:
        """The step, if its numbers and layers are usable."""
        size, like = self.generator.img_resolution, torch.zeros(0)
        try:
            step.region(known, 1 if step.mask is None else len(step.mask), size, like)
        except (TypeError, ValueError) as error:
            raise GanvasError(f"{step.name}: {error}") from error
        return step


def edited_region(collage: Collage) -> Tensor:
    """Where a collage is, ``[N, R, R]`` from 0 to 1: its masks, and of what is pasted as far as the other reaches."""
    found = [item.region.mask for item in collage.repainted if item.region.strength > 0]
    for item in collage.pasted:
        if item.region.strength > 0:
            mask = item.region.mask
            found.append(mask * item.transform(mask.new_ones(1, 1, *mask.shape[1:]))[1][0])
    whole = [*collage.repainted, *collage.pasted][0].region.mask
    return (torch.stack(found).amax(dim=0) if found else torch.zeros_like(whole)).cpu()
