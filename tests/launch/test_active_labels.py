"""Labels chosen in rounds: from the pool alone, nested, by masks that were asked for, and resumed without a change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.masks import LabelledImages
from editors.invert import InversionSettings
from launch import active_labels, cli, train_segmentation
from launch.active_labels import choose_labels
from launch.compose import compose
from launch.figures import read_figures
from launch.labelled_images import labelled_images, split
from networks.checkpoints.classes import IGNORE
from networks.checkpoints.generators import load_generator
from networks.segmentation import Head, head_for
from tests.launch.conftest import FAST, SIZE, Refused, Train
from trainers.segmentation import train_head
from trainers.segmentation_data import Labels

QUICK = InversionSettings(steps=1, samples=8)


def config(generator: Path, draw: str, labels: int, seed: int = 0):
    return compose("train", [
        "experiment=segmentation/avatars16", f"generator={generator}", f"data.resolution={SIZE}", "task.pool=20",
        f"task.draw={draw}", f"task.labels={labels}", f"task.label_seed={seed}",
    ])  # fmt: skip


class Asked:
    """A training function that remembers what it was given; its head does not depend on it."""

    def __init__(self, generator) -> None:
        self.generator, self.labels = generator, []

    def __call__(self, labels: Labels) -> Head:
        self.labels.append(labels)
        return head_for(self.generator, "default", 11, members=3, width=8, hidden=8).eval()


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes that differ from image to image; inversion starts most images of a random generator at the same one."""
    monkeypatch.setattr(active_labels, "_candidates", lambda cfg, generator, pool, _: generator.sample(len(pool), 0))


def chosen(generator: Path, draw: str, labels: int) -> tuple[tuple[str, ...], Asked]:
    cfg, network = config(generator, draw, labels), load_generator(generator)
    pool, heldout = split(cfg, labelled_images(cfg, network))
    assert (len(pool), heldout) == (20, None)
    asked = Asked(network)
    found = choose_labels(cfg, network, pool, QUICK, asked)
    assert {*found.names} <= {*pool.names}
    assert len({*found.names}) == labels
    return found.names, asked


@pytest.mark.usefixtures("apart")
def test_draws_are_nested_and_a_branch_is_asked_before_each_round(tiny_generator: Path) -> None:
    many, asked = chosen(tiny_generator, "active", 11)
    few, _ = chosen(tiny_generator, "active", 6)
    assert many[:6] == few
    assert [labels.names for labels in asked.labels] == [many[:4], many[:8]]
    spread, unasked = chosen(tiny_generator, "coreset", 11)
    assert spread[:4] == many[:4]
    assert spread != many
    assert unasked.labels == []


@pytest.mark.usefixtures("apart")
def test_no_mask_is_looked_at_before_its_image_is_chosen(tiny_generator: Path) -> None:
    """With the masks of all others unknown, the same images are chosen."""
    cfg, generator = config(tiny_generator, "active", 8), load_generator(tiny_generator)
    pool, _ = split(cfg, labelled_images(cfg, generator))
    seen = choose_labels(cfg, generator, pool, QUICK, Asked(generator))
    first = [pool.names.index(name) for name in seen.names[:4]]
    masks = np.full_like(pool.masks, IGNORE)
    masks[first] = pool.masks[first]
    blind = LabelledImages(pool.images, masks, pool.names, pool.classes)
    assert choose_labels(cfg, generator, blind, QUICK, Asked(generator)).names == seen.names


def test_a_random_draw_is_the_beginning_of_the_pool(tiny_generator: Path) -> None:
    generator = load_generator(tiny_generator)
    drawn = {}
    for draw, labels, seed in (("random", 3, 0), ("random", 5, 0), ("random", 5, 1), ("coreset", 5, 0)):
        cfg = config(tiny_generator, draw, labels, seed)
        drawn[draw, labels, seed] = split(cfg, labelled_images(cfg, generator))[0].names
    pool = drawn["coreset", 5, 0]
    assert drawn["random", 3, 0] == pool[:3]
    assert drawn["random", 5, 0] == pool[:5]
    assert not {*drawn["random", 5, 1]} & {*pool}


def test_the_branch_that_is_asked_is_the_one_that_the_curve_scores(
    tiny_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def spy(head, generator, labels, settings, checkpoint, **named):
        trained.append((len(labels), checkpoint.exists()))
        return train_head(head, generator, labels, settings, checkpoint, **named)

    monkeypatch.setattr(train_segmentation, "train_head", spy)
    words = [
        "train", "experiment=segmentation/avatars16", f"generator={tiny_generator}", "data.resolution=32", "n=2",
        "task.generated=0", "task.draw=active", "task.pool=12", "task.labels=6", "task.curve=[4]", *FAST,
    ]  # fmt: skip
    assert cli.main([*words, f"out={tmp_path / 'run'}"]) == cli.OK
    assert {"mIoU", "mIoU_4"} <= read_figures(tmp_path / "run").figures.keys()
    assert trained == [(4, False), (6, False), (4, True)]


def test_a_folder_s_labels_are_chosen_of_what_is_not_held_out(train_folder: Train, tmp_path: Path) -> None:
    assert train_folder("task.draw=coreset", "data.heldout=2", "task.labels=1") == cli.OK
    assert read_figures(tmp_path / "run").figures["train_seconds"].protocol.images == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task.draw=best"], "task.draw=best is not known: choose of auto, random, coreset, active"),
        (["task.draw=active"], "needs others to be scored on: add data.heldout=N"),
        (["task.draw=active", "data.heldout=3"], "data.heldout=3 and task.labels=16 ask for 19 labelled images"),
    ],
)
def test_what_is_refused(words: list[str], said: str, refused: Refused) -> None:
    assert said in refused(*words)


@pytest.mark.usefixtures("apart")
def test_a_doubtful_image_comes_first_where_distances_are_alike(
    tiny_generator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubt(head, generator, codes) -> torch.Tensor:
        found = torch.full((len(codes),), 1e-3)
        found[17] = 10
        return found

    before, _ = chosen(tiny_generator, "coreset", 8)
    monkeypatch.setattr(active_labels, "disagreement", doubt)
    after, _ = chosen(tiny_generator, "active", 8)
    assert after[4].endswith("-00017")
    assert before[4] != after[4]
