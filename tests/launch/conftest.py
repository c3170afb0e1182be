"""What tests of whole segmentation runs share: a tiny generator, a folder of labelled images, one cache of inversions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.folder import write_folder
from datamodules.masks import ClassList, LabelledImages
from launch import cli
from networks.checkpoints.generators import load_generator, save_generator
from networks.grids import to_uint8
from networks.stylegan2 import Generator

SIZE = 32
CLASSES = ClassList(("ground", "left", "right"), ((0, 0, 0), (200, 30, 30), (30, 30, 200)))
FAST = [
    "task.inversion.steps=2", "task.inversion.samples=8", "task.training.passes=4", "task.head.members=2",
    "task.head.width=8", "task.head.hidden=8", "trainer.threads=1", "wandb=disabled",
]  # fmt: skip

Train = Callable[..., int]


@pytest.fixture(scope="session")
def tiny_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of 32x32 images with random weights."""
    torch.manual_seed(0)
    generator = Generator(SIZE, z_dim=8, w_dim=8, mapping_layers=2, channel_base=256, channel_max=16)
    return save_generator(tmp_path_factory.mktemp("generator") / "tiny.safetensors", generator, {})


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of avatars and inversions for all runs."""
    return tmp_path_factory.getbasetemp() / "cache"


@pytest.fixture
def folder(tiny_generator: Path, tmp_path: Path) -> Path:
    """Four images of the tiny generator, labelled by halves; ``folder/images`` and ``folder/masks``."""
    generator = load_generator(tiny_generator)
    images = to_uint8(generator.render(generator.sample(4, seed=3))).transpose(0, 3, 1, 2)
    masks = np.zeros((4, SIZE, SIZE), np.uint8)
    masks[:, 8:, : SIZE // 2], masks[:, 8:, SIZE // 2 :] = 1, 2
    labelled = LabelledImages(np.ascontiguousarray(images), masks, ("a", "b", "c", "d"), CLASSES)
    return write_folder(labelled, tmp_path / "labelled")


@pytest.fixture
def train_folder(
    tiny_generator: Path, folder: Path, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Train:
    """``train_folder(*words) -> exit status``: a run on the folder, into ``tmp_path / "run"`` unless told otherwise."""
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))

    def train(*words: str) -> int:
        return cli.main(folder_command(tiny_generator, folder, tmp_path / "run", words))

    return train


def folder_command(generator: Path, folder: Path, out: Path, words: Sequence[str] = ()) -> list[str]:
    """The words of a run on a labelled folder; later words replace earlier ones of the same key."""
    chosen = dict(word.split("=", 1) for word in [
        "experiment=segmentation/folder", f"generator={generator}", f"images={folder / 'images'}",
        f"masks={folder / 'masks'}", "task.folds=0", f"out={out}", *FAST, *words,
    ])  # fmt: skip
    return ["train", *(f"{key}={value}" for key, value in chosen.items())]
