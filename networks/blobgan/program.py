"""A program of steps that edit blobs: what a :class:`networks.latent_edit.LatentEdit` in the space ``layout`` holds.

``move 3 0.2 0; remove 5,6``, or the same steps as data, see ``networks/blobgan/steps.py``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from networks.blobgan.layout import Layout
from networks.blobgan.limits import fault
from networks.blobgan.steps import BlobStep, Stage
from networks.checkpoints.errors import GanvasError
from networks.latent import HIDDEN, Latent, Space
from networks.levels import Strength, number


@dataclass(frozen=True)
class BlobProgram:
    """Steps one after another, with the scenes that they take from: an edit's module (``networks/edit_modules.py``).

    Args:
        steps: the steps.
        scenes: name -> one scene, or as many as are edited.

    Raises:
        GanvasError: if there is no step, or a scene's name is not of letters, digits, `_` and `-`.
    """

    kind: ClassVar[str] = "blobs"
    space: ClassVar[Space] = "layout"

    steps: tuple[BlobStep, ...]
    scenes: dict[str, Layout] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.steps:
            raise GanvasError("the program has no step; write one as `move 3 0.2 0`")
        if odd := [name for name in self.scenes if not re.fullmatch(r"[\w-]+", name)]:
            raise GanvasError(f"a scene cannot be called `{odd[0]}`; use letters, digits, _ and -")  # as files are

    @classmethod
    def parse(
        cls, program: str | Sequence[str | Mapping[str, Any]], scenes: Mapping[str, Layout] | None = None
    ) -> BlobProgram:  # fmt: skip
        """A program from its words, or from its steps in words or data.

        Example:
            >>> [step.action for step in BlobProgram.parse("move 3 0.2 0; remove 5").steps]
            ['move', 'remove']

        Raises:
            GanvasError: if a step cannot be read, or there is none.
        """
        parts = [part for part in program.split(";") if part.strip()] if isinstance(program, str) else list(program)
        return cls(tuple(BlobStep.parse(part) for part in parts), dict(scenes or {}))

    def run(self, layout: Layout, strength: float = 1.0) -> Stage:
        """The scenes after all steps, and those that they took from, which ``swap`` changes too.

        Raises:
            GanvasError: if a step names what is not there or makes what cannot be rendered, such as too many copies, or
                that is in a scene to take from.
        """
        for name in sorted(self._named()):
            if wrong := fault(self.scenes[name]):
                raise GanvasError(f"the scene {name} to take from has {wrong}; draw or edit it again")
        stage = Stage(layout, dict(self.scenes))
        for step in self.steps:
            stage = step.run(stage, strength)
            if wrong := fault(stage.layout):  # after each: copies of copies would fill the memory
                at = "" if strength == 1 else f" at strength {strength:g}"  # of a strip, maybe
                raise GanvasError(f"after the step {step.data()}{at} the scenes would have {wrong}; do less of it")
        return stage

    # What an edit's module must have.

    def apply(self, latent: Latent, strength: Strength) -> Latent:
        """The latent with edited blobs. The hidden code is left out: it would give the scene before the edit.

        Raises:
            ValueError: if the strength is not one number.
        """
        layout = Layout.of(latent)
        kept = {name: t for name, t in latent.tensors.items() if name not in layout.tensors() and name != HIDDEN}
        after = self.run(layout, number(strength)).layout
        return dataclasses.replace(latent, tensors={**after.tensors(), **kept})

    def then(self, other: BlobProgram) -> BlobProgram:
        """This program and then another.

        Raises:
            ValueError: if they take from different scenes of one name.
        """
        for name in self.scenes.keys() & other.scenes.keys():
            mine, theirs = self.scenes[name].tensors(), other.scenes[name].tensors()
            if mine.keys() != theirs.keys() or not all(torch.equal(mine[key], theirs[key]) for key in mine):
                raise ValueError(f"both programs take from a scene called {name}, and these differ")
        return BlobProgram((*self.steps, *other.steps), {**self.scenes, **other.scenes})

    def beside(self, other: BlobProgram) -> BlobProgram:
        """Steps of blobs are no steps of codes, and do not add.

        Raises:
            ValueError: always.
        """
        raise ValueError("programs of blobs are taken one after another, with +")

    def scaled(self, factor: float) -> BlobProgram:
        """With every step's strength multiplied."""
        steps = (dataclasses.replace(step, strength=step.strength * factor) for step in self.steps)
        return BlobProgram(tuple(steps), self.scenes)

    def config(self) -> dict[str, Any]:
        """Plain data that, with :meth:`tensors`, gives the program again."""
        return {"steps": [step.data() for step in self.steps]}

    def tensors(self) -> dict[str, Tensor]:
        """The scenes that steps take from, ``<scene>/<tensor>``."""
        return {
            f"{scene}/{name}": t for scene in sorted(self._named()) for name, t in self.scenes[scene].tensors().items()
        }  # fmt: skip

    @classmethod
    def of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> BlobProgram:
        """The program of :meth:`config` and :meth:`tensors`.

        Raises:
            GanvasError: if the steps cannot be read.
            ValueError: if the tensors are not those of layouts.
        """
        if not isinstance(steps := config.get("steps"), list):
            raise GanvasError("its program is no list of steps")
        scenes: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            scene, _, name = key.rpartition("/")
            scenes.setdefault(scene, {})[name] = tensor
        return cls.parse(steps, {scene: Layout.of(Latent("layout", parts)) for scene, parts in scenes.items()})

    def _named(self) -> set[str]:
        """The scenes that steps name."""
        return {name for step in self.steps for name in step.takes_from() if name in self.scenes}
