"""Whole trainings of mappers on avatars: what one text takes, what eight take beside it, and how well each is followed.

Each is the command that a user gives, in a process of its own, from its start to its bundles: sources that are
rendered, figures on held-out codes and sheets are in its time. What is done is kept in a folder, if one is given, and
taken from there by the next run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.mapper_settings import Settings
from benchmarks.report import Result
from benchmarks.settings import ROOT
from benchmarks.turns import Spent
from launch.compose import compose
from launch.figures import read_figures
from launch.mapper_export import CONDITIONED
from launch.mapper_judges import file_name
from launch.text_scores import followed
from networks.checkpoints.atomic import atomic_path

SINGLE, BANK, CONDITIONAL = "mapper/avatars", "mapper/bank", "mapper/conditioned"
LESS = 1 / 3   # length of the shorter of two trainings, by which the longer is multiplied up


@dataclass(frozen=True)
class Training:
    """An experiment with its texts."""

    experiment: str
    words: tuple[str, ...]
    images: int            # that a whole one sees
    pretrained: int = 0    # of them without texts

    @classmethod
    def of(cls, experiment: str, *words: str) -> Training:
        """As long as its configuration says."""
        options = compose("train", [f"experiment={experiment}", *words]).task.training
        return cls(experiment, words, options.total_images, options.pretrained)

    def command(self, share: float, alone: bool = False) -> list[str]:
        """Words of ``ganvas train`` for a share of it; ``alone``: of what needs no texts."""
        pretrained = round(share * self.pretrained)
        length = pretrained if alone else round(share * self.images)
        found = [f"experiment={self.experiment}", *self.words, f"task.training.total_images={length}"]
        return found + ([f"task.training.pretrained={pretrained}"] if pretrained else [])


@dataclass
class Trainings:
    """Runs them in a folder, each once: what it took lies beside it when it is done."""

    settings: Settings
    folder: Path

    def seconds(self, training: Training, share: float, alone: bool = False) -> tuple[float, Path]:
        """What a share of a training takes, and where it lies: seconds of the processor, on a GPU of the clock."""
        words = ["train", *training.command(share, alone), *self.settings.words]
        words += [f"trainer.threads={self.settings.threads}"] if self.settings.threads else []
        spent, out = self.done(words + (["trainer=gpu"] if self.settings.device == "cuda" else []))
        return (spent.wall if self.settings.device == "cuda" else spent.cpu), out

    def done(self, words: Sequence[str]) -> tuple[Spent, Path]:
        """What a command took, and where its run lies; one that was interrupted begins anew, as it is timed."""
        words = [*words, f"generator={self.settings.generator}", "wandb=disabled"]
        out = self.folder / hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
        kept = out.with_suffix(".json")
        if not kept.is_file():
            shutil.rmtree(out, ignore_errors=True)
            spent = command([*words, f"out={out}"])
            with atomic_path(kept) as temporary:
                temporary.write_text(json.dumps({"words": words, **spent._asdict()}))
        found = json.loads(kept.read_text())
        return Spent(found["wall"], found["cpu"]), out

    def whole(self, training: Training) -> tuple[float, Path]:
        """The same of all of it, multiplied up from two shares if the settings want less."""
        share = self.settings.share
        long, out = self.seconds(training, share)
        if share == 1:
            return long, out
        short, _ = self.seconds(training, LESS * share)
        return long + (1 - share) * (long - short) / (share - LESS * share), out

    def pretraining(self, training: Training) -> float:
        """Seconds of what a training does without texts, multiplied up from two shares, the fixed cost left out.

        Raises:
            RuntimeError: if the longer of them took no longer.
        """
        probe = self.settings.probe
        (long, _), (short, _) = (self.seconds(training, share, alone=True) for share in (probe, LESS * probe))
        if long <= short:
            raise RuntimeError(f"{probe:g} of the pre-training is too little to be timed: raise probe.")
        return (long - short) / (probe - LESS * probe)

    def success(self, bundle: Path, text: str) -> float:
        """Percent of held-out codes that show what a text names, by ``ganvas evaluate``, as varied as the learned ones.

        At the best strength that leaves every other attribute alone in nine images of ten; 0 where none does.
        """
        truncation = compose("train", [f"experiment={SINGLE}"]).task.sources.truncation
        _, out = self.done(["evaluate", f"mapper={bundle}", f"text={text}", f"n={self.settings.scored}",
                            f"truncation={truncation}", "metrics_features=[]"])  # fmt: skip
        found = read_figures(out)
        assert found is not None
        return 100 * max(0.0, followed({name: found.figures[name].value for name in ("success", "leakage_worst")}))


def command(words: Sequence[str]) -> Spent:
    """Run ``ganvas``; what it took.

    Raises:
        RuntimeError: if it fails, with the last line that it wrote.
    """
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "launch.cli", *words], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    children = ("children_user", "children_system")
    return Spent(wall, sum(getattr(after, name) - getattr(before, name) for name in children))


def run(settings: Settings) -> Result:
    """``avatar_mapper_minutes``, ``eight_texts_over_one`` and, of the mapper that takes texts, ``..._conditioned``.

    A single run is ``experiment=mapper/avatars`` with one of the texts, in seconds and in what eight texts together are
    scored against; ``..._same_recipe``: the seconds of what the bank does with one text alone.
    """
    texts = tuple(compose("train", [f"experiment={BANK}"]).task.texts)[: settings.texts]
    several = f"texts=[{','.join(texts)}]"
    with tempfile.TemporaryDirectory() as folder:
        runs = Trainings(settings, settings.runs or Path(folder))
        runs.folder.mkdir(parents=True, exist_ok=True)
        singles = [Training.of(SINGLE, f"text={text}") for text in texts]
        alone = [runs.whole(single) for single in (singles if settings.share == 1 else singles[:1])]
        same, _ = runs.whole(Training.of(BANK, f"texts=[{texts[0]}]"))
        bank, conditional = Training.of(BANK, several), Training.of(CONDITIONAL, several)
        together, once = runs.whole(bank), runs.whole(conditional)
        before = runs.pretraining(conditional) if conditional.pretrained else 0.0
        outs = [out for _, out in alone]
        if settings.scored:
            outs += [runs.seconds(single, settings.share)[1] for single in singles[len(alone) :]]
        rows = scored(runs, texts, outs, together[1], once[1]) if settings.scored else []
    one = mean(seconds for seconds, _ in alone)
    figures = {
        "avatar_mapper_minutes": one / 60, "eight_texts_over_one": together[0] / one,
        "eight_texts_over_one_same_recipe": together[0] / same,
        "eight_texts_over_one_conditioned": (once[0] - before) / one, "pretraining_over_one": before / one,
    }  # fmt: skip
    figures |= {f"points_behind_{name}": mean(row["single"] - row[name] for row in rows)
                for name in ("bank", "conditioned") if rows}  # fmt: skip
    return Result(figures, {
        "texts": len(texts), "share of each training that was run, and scored": settings.share,
        "images seen": {training.experiment: training.images for training in (bank, conditional)},
        "of the conditioned mapper without texts": conditional.pretrained,
        "seconds, single runs": [s for s, _ in alone], "seconds, bank": together[0], "seconds, bank of one": same,
        "seconds, conditioned with its pre-training": once[0],
        "seconds, pre-training (multiplied up)": before, "success, percent": rows or "not measured",
    })  # fmt: skip


def scored(
    runs: Trainings, texts: Sequence[str], alone: Sequence[Path], together: Path, once: Path
) -> list[dict[str, Any]]:  # fmt: skip
    """Percent of success of each text by each kind of training, at the best strength of each."""
    rows = []
    for text, own in zip(texts, alone, strict=True):
        name = f"{file_name(text)}.safetensors"
        bundles = {"single": own / "export" / name, "bank": together / "export" / name,
                   "conditioned": once / "export" / CONDITIONED}  # fmt: skip
        rows.append({"text": text, **{kind: runs.success(bundle, text) for kind, bundle in bundles.items()}})
    return rows
