"""What the branches of a training run are scored on: prepared once, used for every head of the run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from omegaconf import DictConfig

from datamodules.masks import LabelledImages
from editors.invert import Inversion, InversionSettings
from launch.figures import Source
from launch.rendered import heldout_source, is_rendered, render
from launch.segmentation_scores import (
    GENERATED,
    INVERTED,
    Scored,
    Teacher,
    invert_images,
    load_teacher,
    score_generated,
    score_inverted,
)
from networks.checkpoints.classes import ClassList
from networks.protocol import Generator
from networks.segmentation import Head

HELDOUT_SEED = 0  # the held-out images are the same for every seed of training


@dataclass
class Evaluation:
    """Held-out images with masks, and generated ones with a teacher's; a folder may have neither.

    The held-out images are inverted when first asked for, once for all heads.
    """

    generator: Generator
    classes: ClassList
    settings: InversionSettings          # how held-out images are inverted
    heldout: LabelledImages | None = None
    source: Source = Source("no held-out images")
    teacher: Teacher | None = None       # None: generated images are not scored
    generated: int = 0                   # how many of them

    @classmethod
    def of(
        cls, cfg: DictConfig, generator: Generator, classes: ClassList, settings: InversionSettings,
        heldout: LabelledImages | None = None,
    ) -> Evaluation:  # fmt: skip
        """What ``cfg`` asks for.

        Args:
            cfg: of the run.
            generator: the branch's.
            classes: the branch's.
            settings: how held-out images are inverted.
            heldout: of a folder; others are rendered here.

        Raises:
            GanvasError: if the teacher cannot be used, or ``n=`` is not a number of images.
        """
        if not is_rendered(cfg.data):
            source = Source(f"images of {cfg.images}", "held out evenly by name")
            return cls(generator, classes, settings, heldout, source)
        size = generator.img_resolution
        wanted = cfg.task.generated > 0 and cfg.task.teacher is not None
        teacher = load_teacher(cfg.task.teacher, classes.names, size) if wanted else None
        count = cfg.task.heldout if cfg.n is None else cfg.n
        heldout = render(cfg.data, count, "heldout", HELDOUT_SEED, size)
        source = heldout_source(cfg.data, HELDOUT_SEED)
        return cls(
            generator, classes, settings, heldout, source, teacher=teacher, generated=cfg.task.generated
        )  # fmt: skip

    @cached_property
    def _codes(self) -> Inversion:
        return invert_images(self.generator, self.heldout, self.settings, "held-out")

    def inverted(self, head: Head) -> Scored:
        """The head on the inverted held-out images."""
        return score_inverted(head, self.generator, self.heldout, self._codes, self.source)

    def scores(self, head: Head) -> dict[str, Scored]:
        """The head in every evaluation there is, by name."""
        found: dict[str, Scored] = {}
        if self.heldout is not None:
            found[INVERTED] = self.inverted(head)
        if self.teacher is not None:
            found[GENERATED] = score_generated(head, self.generator, self.classes.names, self.generated, self.teacher)
        return found
