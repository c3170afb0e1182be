"""A step of a mapper's training beside the original's, in turns, and what it holds of memory; the file it leaves."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule

from benchmarks.mapper_settings import Settings
from benchmarks.memory import in_child, resident_gb
from benchmarks.original_mapper import OriginalMapper, save
from benchmarks.report import Result
from benchmarks.turns import Turns
from benchmarks.workloads import random_generator
from datamodules.images import GANImages
from launch.compose import compose
from launch.fitting import fit
from launch.mapper_judges import aimed, judges_of
from launch.mapper_sources import codes_of, sources_of
from launch.record import RunRecord
from launch.train_mapper import bank_of, build
from networks.checkpoints.edits import save_edit
from networks.checkpoints.generators import load_generator
from networks.clip.optional import optional_module
from networks.face_identity import FaceIdentity
from networks.latent_edit import LatentEdit
from networks.mapper import STYLECLIP, MapperEdit, Recipe, mapper_for
from networks.protocol import Generator
from trainers.mapper import Judges

TEXT = "a smiling person"
ENDLESS = 10**9   # images: the callbacks end the training
STEPS = 2         # whose memory counts: the second has the optimiser's state, and what the original keeps of gradients
LARGE = ["experiment=mapper/faces", "task.preserve.perceptual=0", "task.preserve.identity=0.1"]
SMALL = ["experiment=mapper/avatars", "task.sources.count=64", "n=2"]
SAME = ["task.preserve.perceptual=0", "task/statements=none", "task.network.kind=levels", "task.training.contrast=0",
        "task.training.unsaid=0", "task.training.jitter=0"]  # fmt: skip


@dataclass
class Place:
    """A mapper's training as ``ganvas train`` has it, ready to begin, and the same task as the original has it."""

    cfg: DictConfig
    module: LightningModule
    data: GANImages
    judges: Judges
    original: OriginalMapper

    @classmethod
    def of(cls, generator: Generator, words: Sequence[str], **original: Any) -> Place:
        """What these words describe, on the device of the generator.

        Args:
            generator: whose codes are moved.
            words: of ``ganvas train``, with ``out=``.
            original: further options of :class:`OriginalMapper`.
        """
        cfg = compose("train", [
            *words, f"text={TEXT}", "wandb=disabled", f"task.training.total_images={ENDLESS}",
            f"task.checkpoint_every={ENDLESS}", f"trainer={'cpu' if generator.device.type == 'cpu' else 'gpu'}",
        ])  # fmt: skip
        judges = judges_of(cfg, generator, (TEXT,))
        sources = sources_of(cfg, codes_of(cfg, generator), judges)
        judges = judges._replace(wish=aimed(cfg, judges.mix, judges.wish, sources.kept))
        data = GANImages(sources, cfg.task.batch_size, cfg.seed)
        rows = codes_of(OmegaConf.merge(cfg, {"task": {"network": {"kind": "levels"}}}), generator)   # in W+
        theirs = OriginalMapper(generator, judges.mix.models[0], judges.preserved.terms["identity"].network, TEXT,
                                rows.train, **original)  # fmt: skip
        return cls(cfg, build(cfg, bank_of(cfg, judges), judges), data, judges, theirs)

    def train(self, watch: Callback) -> None:
        """Train until ``watch`` stops."""
        record = RunRecord.open(self.cfg)
        fit(self.cfg, record, self.module, self.data, [watch])
        record.close()

    def row(self, what: str, turns: int, steps: int) -> dict[str, Any]:
        """Both in turns: seconds of an image of each, and how many of ours are edited for one of theirs."""
        watch = Turns(self.original.step, steps, turns)
        self.train(watch)
        clock = "cpu" if self.judges.generator.device.type == "cpu" else "wall"
        batch, other = self.cfg.task.batch_size, self.original.batch
        ours, theirs = (
            [getattr(spent, clock) / (steps * images) for spent in side]
            for side, images in ((watch.framework, batch), (watch.loop, other))
        )
        ratio = median(one / other for one, other in zip(theirs, ours, strict=True))
        return {"configuration": what, "our batch": batch, "original's": other, "ours, s/image": median(ours),
                "original, s/image": median(theirs), "ratio": ratio}  # fmt: skip


class Files(NamedTuple):
    """Random networks as a user's files."""

    clip: Path
    faces: Path

    @classmethod
    def written(cls, folder: Path, model: str) -> Files:
        """A CLIP of open_clip and an IR-SE50 with weights that mean nothing."""
        found = cls(folder / "clip.pt", folder / "faces.pth")
        if not found.faces.exists():
            torch.manual_seed(0)
            torch.save(optional_module("open_clip", "open_clip_torch").create_model(model).state_dict(), found.clip)
            torch.save(FaceIdentity().state_dict(), found.faces)
        return found


def large_place(settings: Settings, folder: Path, batch: int | None = None, asleep: bool = False) -> Place:
    """The configuration of faces: a random generator, a random CLIP of open_clip, a random IR-SE50.

    Args:
        settings: sizes.
        folder: of the files and of our run.
        batch: of ours; None: as shipped.
        asleep: the original's networks are frozen.
    """
    files = Files.written(folder, settings.model)
    generator = random_generator(settings.large, settings.channel_base, settings.device)
    words = [*LARGE, f"task.clip.models=[open_clip:{settings.model}:{files.clip}]", f"out={folder / f'run-{batch}'}",
             f"task.preserve.identity_network={files.faces}", f"task.sources.count={settings.codes}", "n=2",
             "task.sources.batch=2"]  # fmt: skip
    words += [f"task.batch_size={batch}"] if batch else []
    return Place.of(generator, words, batch=settings.batch, asleep=asleep)


def run(settings: Settings) -> Result:
    """``steps_ratio``: images a second, ours over the original's; ``_frozen``: its networks are frozen, as a favour."""
    rows = []
    for name, asleep in {"as released": False, "its networks frozen": True}.items():
        with tempfile.TemporaryDirectory() as folder:
            place = large_place(settings, Path(folder), asleep=asleep)
            rows.append(place.row(f"{settings.large}x{settings.large}, original {name}", settings.turns, 1))
    size = f"{settings.large}x{settings.large}"
    return Result({"steps_ratio": rows[0]["ratio"], "steps_ratio_frozen": rows[1]["ratio"]}, {
        "generator": f"StyleGAN2, {size}, channel_base {settings.channel_base}, random weights",
        "clip": f"open_clip {settings.model}, random weights", "identity": "IR-SE50, random weights",
        "terms": "text, identity and the length of the step, on both sides", "rounds": settings.turns, "steps": rows,
    })  # fmt: skip


def run_small(settings: Settings) -> Result:
    """The same on avatars, the text encoded once on both sides: with the same terms, and ours as shipped."""
    generator = load_generator(settings.generator).to(settings.device)
    rows = []
    for name, words in {"with the same terms": SAME, "as shipped": []}.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Place.of(generator, [*SMALL, f"out={folder}/run", *words], cached=True)
            rows.append(place.row(f"avatars, ours {name}", settings.small_turns, settings.small_steps))
    size = generator.img_resolution
    return Result({f"steps_ratio_{size}_same_terms": rows[0]["ratio"], f"steps_ratio_{size}": rows[1]["ratio"]}, {
        "generator": settings.generator.name, "rounds": settings.small_turns, "steps a round": settings.small_steps,
        "steps": rows,
    })  # fmt: skip


class Some(Callback):
    """Ends a training after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.left -= 1
        trainer.should_stop = self.left == 0


def hold(side: str, batch: int, folder: str, settings: dict[str, Any], device: str) -> dict[str, Any]:
    """Two steps of one side, in a process of their own; what it held before them."""
    place = large_place(Settings(device=device, **settings), Path(folder), batch)
    before = resident_gb()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 1e9
    if side == "ours":
        place.train(Some(STEPS))
    else:
        for _ in range(STEPS):
            place.original.step()
    return {"before_gb": before}


def run_memory(settings: Settings) -> Result:
    """``step_memory_ratio``: what two steps take beyond what the process held before, original over ours."""
    sizes = {name: getattr(settings, name) for name in ("large", "channel_base", "model", "batch", "codes")}
    peak = "peak_gb" if settings.device == "cpu" else "peak_gpu_gb"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        Files.written(Path(folder), settings.model)
        for side, batch in (("original", settings.batch), ("ours", settings.batch), ("ours", None)):
            found = in_child("mapper_step", settings.threads, side=side, batch=batch, folder=folder, settings=sizes,
                             device=settings.device)  # fmt: skip
            rows.append({"side": side, "batch": batch or "as shipped", "step_gb": found[peak] - found["before_gb"],
                         "whole process_gb": found[peak], "before_gb": found["before_gb"]})  # fmt: skip
    original, ours, shipped = rows
    return Result({"step_memory_ratio": original["step_gb"] / ours["step_gb"]}, {
        "whole process, ratio": original["whole process_gb"] / ours["whole process_gb"],
        "ours as shipped, ratio": original["step_gb"] / shipped["step_gb"],
        "configuration": f"{settings.large}x{settings.large}, open_clip {settings.model}, IR-SE50", "steps": rows,
    })  # fmt: skip


def run_files(settings: Settings) -> Result:
    """``checkpoint_mb``: what a mapper of all levels leaves at the large size."""
    generator = random_generator(settings.large, settings.channel_base)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.safetensors", Path(folder) / "theirs.pt"
        edit = LatentEdit("w+", {}, "0" * 64, (), TEXT, MapperEdit.by(mapper_for(generator, "levels", Recipe())))
        save_edit(ours, edit, {"text": TEXT})
        save(theirs, mapper_for(generator, "levels", STYLECLIP, measured=False), generator, {"description": TEXT})
        sizes = [path.stat().st_size / 1e6 for path in (ours, theirs)]
    return Result({"checkpoint_mb": sizes[0]}, {"original's mb": sizes[1], "resolution": settings.large})
