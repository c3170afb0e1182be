"""What a choice in a head or its training is worth: variants side by side, on avatars that no other figure uses.

Each variant is a list of changes to the default head and its training: ``"dice=0 width=48"``, ``"labels=8"``,
``"head=reference recipe=original"``, ``"left_out=[image,contrast]"``. Nothing is stored; the tables in
``docs/segmentation.md`` are made of what this prints.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch
import yaml

from benchmarks.quality import draw_labels, invert_all
from benchmarks.settings import Settings
from datamodules.avatars import render_avatars
from launch.prepare import keep_freed_memory
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.metrics.segmentation import SegmentationScore
from networks.protocol import Generator
from networks.segmentation import Head, head_for
from trainers.segmentation import SegmentationSettings, k_fold, score_head, train_head
from trainers.segmentation_data import Labels

SPLIT = "teacher"  # of the development set: the U-Net that labels generated images learned from it, but no branch did


@dataclass(frozen=True)
class Variant:
    """What is changed, by where it belongs."""

    name: str
    head: str                  # a kind of head
    labels: int                # how many
    arguments: dict[str, Any]  # of the head
    training: dict[str, Any]   # of SegmentationSettings

    @classmethod
    def parse(cls, line: str) -> Variant:
        """From ``"key=value key=value"``, or ``"default"``.

        Raises:
            GanvasError: if a word is no ``key=value``.
        """
        changes: dict[str, Any] = {}
        for word in line.split() if line != "default" else ():
            key, equals, value = word.partition("=")
            if not equals:
                raise GanvasError(f"{word!r} in the variant {line!r} is no key=value.")
            changes[key] = yaml.safe_load(value)
        head, labels = changes.pop("head", "default"), changes.pop("labels", 16)
        known = {field.name for field in fields(SegmentationSettings)}
        training = {key: changes.pop(key) for key in list(changes) if key in known}
        return cls(line, head, labels, changes, training)

    def fresh(self, generator: Generator, classes: int, seed: int) -> Head:
        """An untrained head."""
        return head_for(generator, self.head, classes, seed, constants=self.head == "reference", **self.arguments)

    def score(self, generator: Generator, labels: Labels, development: Labels | None, seed: int) -> SegmentationScore:
        """Of a training with ``seed``: on the development set, or by 4-fold on the labels alone."""
        labels, classes = labels[range(self.labels)], len(labels.class_names)
        settings = SegmentationSettings(seed=seed, **self.training)
        if development is None:
            found = k_fold(lambda: self.fresh(generator, classes, seed), generator, labels, settings, progress=False)
            return found.score
        trained = train_head(self.fresh(generator, classes, seed), generator, labels, settings, progress=False)
        return score_head(trained.head, generator, development)


def main(argv: Sequence[str] | None = None) -> None:
    """Train and print, variant by variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="+", help='default, or changes to it: "dice=0 width=48"')
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3], help="draws of the 16 labels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="trainings for each draw")
    parser.add_argument("--kfold", action="store_true", help="score by 4-fold on the labels, without other images")
    parser.add_argument("--images", type=int, default=160, help="size of the development set")
    parser.add_argument("--threads", type=int, help="torch's")
    parser.add_argument("--generator", type=Path, default=Settings.generator)
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    variants = [Variant.parse(line) for line in arguments.variants]
    generator = load_generator(arguments.generator)
    draws = {draw: draw_labels(generator, Settings(), draw) for draw in arguments.draws}
    development = None if arguments.kfold else _development(generator, arguments.images)
    print("| variant | mIoU | by draw | calibration error | seconds |\n|---|---|---|---|---|", flush=True)
    for variant in variants:
        def score(labels: Labels, seed: int, variant: Variant = variant) -> SegmentationScore:
            return variant.score(generator, labels, development, seed)

        print(_row(variant.name, draws, arguments.seeds, score), flush=True)


def _development(generator: Generator, images: int) -> Labels:
    return invert_all(generator, render_avatars(images, SPLIT, 0, generator.img_resolution, masks=True))


def _row(
    name: str, draws: dict[int, Labels], seeds: Sequence[int], score: Callable[[Labels, int], SegmentationScore]
) -> str:
    start = time.perf_counter()
    found = {draw: [score(labels, seed).compute() for seed in seeds] for draw, labels in draws.items()}
    seconds = (time.perf_counter() - start) / (len(draws) * len(seeds))
    by_draw = [100 * fmean(figures["miou"] for figures in runs) for runs in found.values()]
    error = fmean(figures["ece"] for runs in found.values() for figures in runs)
    listed = ", ".join(f"{value:.1f}" for value in by_draw)
    return f"| {name} | {fmean(by_draw):.1f} | {listed} | {error:.3f} | {seconds:.0f} |"


if __name__ == "__main__":
    try:
        main()
    except GanvasError as error:
        sys.exit(str(error))
