"""What tests of whole runs share: a tiny generator, a folder of labelled images, one cache of inversions."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from datamodules.avatar_attributes import avatar_attributes
from datamodules.avatars import AVATAR_CLASSES
from datamodules.folder import write_folder
from datamodules.masks import LabelledImages
from launch import cli
from networks.attributes import AttributeClassifier, save_attributes
from networks.checkpoints.bundle import Bundle
from networks.checkpoints.classes import ClassList
from networks.checkpoints.generators import load_generator, save_generator
from networks.clip.avatar import AvatarClip, save_avatar_clip
from networks.clip.minilm import MiniLM
from networks.grids import to_uint8
from networks.identity import IdentityNetwork, save_identity
from networks.segmenters import save_segmenter
from networks.stylegan2 import Generator
from networks.unet import UNet

SIZE = 32
CLASSES = ClassList(("ground", "left", "right"), ((0, 0, 0), (200, 30, 30), (30, 30, 200)))
FAST = [
    "task.inversion.steps=2", "task.inversion.samples=8", "task.training.passes=4", "task.training.least_steps=1",
    "task.head.members=2", "task.head.width=8", "task.head.hidden=8", "trainer.threads=1", "wandb=disabled",
]  # fmt: skip

Train = Callable[..., int]
Refused = Callable[..., str]


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
    return labelled_folder(tiny_generator, tmp_path / "labelled")


def labelled_folder(generator: Path, out: Path) -> Path:
    """What ``folder`` is; the same images every time."""
    drawn = load_generator(generator)
    images = to_uint8(drawn.render(drawn.sample(4, seed=3))).transpose(0, 3, 1, 2)
    masks = np.zeros((4, SIZE, SIZE), np.uint8)
    masks[:, 8:, : SIZE // 2], masks[:, 8:, SIZE // 2 :] = 1, 2
    return write_folder(LabelledImages(np.ascontiguousarray(images), masks, ("a", "b", "c", "d"), CLASSES), out)


@pytest.fixture
def train_folder(
    tiny_generator: Path, folder: Path, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Train:
    """``train_folder(*words) -> exit status``: a run on the folder, into ``tmp_path / "run"`` unless told otherwise.

    ``drop`` leaves out words that another head does not know.
    """
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))

    def train(*words: str, drop: Sequence[str] = ()) -> int:
        command = folder_command(tiny_generator, folder, tmp_path / "run", words)
        return cli.main([word for word in command if word.partition("=")[0] not in drop])

    return train


@pytest.fixture
def refused(train_folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """``refused(*words) -> sentence`` of a run that must be refused and must leave nothing behind."""

    def run(*words: str) -> str:
        assert train_folder(*words) == cli.REFUSED
        said = capsys.readouterr()
        error = said.err.splitlines()
        sentences = [line for line in error if line.startswith("ganvas: ")]
        assert len(sentences) == 1
        assert "Traceback" not in "".join(error)
        assert "inverting" not in said.out  # nobody waits for an inversion to hear of it
        assert not (tmp_path / "run").exists()
        return sentences[0]

    return run


def folder_command(generator: Path, folder: Path, out: Path, words: Sequence[str] = ()) -> list[str]:
    """The words of a run on a labelled folder; later words replace earlier ones of the same key."""
    chosen = dict(word.split("=", 1) for word in [
        "experiment=segmentation/folder", f"generator={generator}", f"images={folder / 'images'}",
        f"masks={folder / 'masks'}", "task.folds=0", f"out={out}", *FAST, *words,
    ])  # fmt: skip
    return ["train", *(f"{key}={value}" for key, value in chosen.items())]


def tiny_judges(folder: Path) -> list[str]:
    """The words that name a tiny random CLIP and identity network in this folder, written if they are not there."""
    identity = folder / "tiny_identity.safetensors"
    if not identity.exists():
        torch.manual_seed(0)
        save_identity(identity, IdentityNetwork(SIZE, width=4), {})
    return [f"task.clip.models=[{tiny_clip(folder)}]", f"task.preserve.identity_network={identity}"]


def tiny_clip(folder: Path) -> Path:
    """A tiny random CLIP in this folder, written if it is not there."""
    clip = folder / "tiny_clip.safetensors"
    if not clip.exists():
        torch.manual_seed(0)
        save_avatar_clip(clip, AvatarClip(SIZE, width=4, dim=16, hidden=8), MiniLM().hash, [], {})
    return clip


def attributes_bundle(folder: Path) -> Path:
    """An untrained classifier of what avatars have."""
    torch.manual_seed(0)
    return save_attributes(
        folder / "attributes.safetensors", AttributeClassifier(avatar_attributes("avataaars"), 16, width=8), {}
    )


class AvatarRun(NamedTuple):
    """A whole run on avatars, with everything that a run can leave."""

    path: Path
    printed: list[str]
    errors: str           # what went to stderr
    generator: Path

    @property
    def bundle(self) -> Path:
        return self.path / "export" / "segmentation.safetensors"


@pytest.fixture(scope="session")
def avatar_run(
    tiny_generator: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> AvatarRun:
    """Four labels, four held-out and four generated images, two folds, a label curve, W&B offline."""
    folder = tmp_path_factory.mktemp("avatars")
    teacher = folder / "teacher.safetensors"
    torch.manual_seed(0)
    save_segmenter(teacher, UNet(11, [8]), {"classes": AVATAR_CLASSES.to_json(), "metrics": {"miou": 0.5}})
    words = [
        "train", "experiment=segmentation/demo", f"generator={tiny_generator}", "data.resolution=32", "n=4",
        "task.labels=4", "task.curve=[1,2,4]", "task.folds=2", "task.generated=4", f"task.teacher={teacher}",
        "export.embed_generator=true", f"out={folder / 'run'}", *FAST[:-1],
    ]  # fmt: skip
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setenv("GANVAS_CACHE", str(shared_cache))
        assert cli.main(words) == cli.OK
    return AvatarRun(folder / "run", out.getvalue().splitlines(), err.getvalue(), tiny_generator)


@pytest.fixture(scope="session")
def synthesized(avatar_run: AvatarRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of 32x32 that the branch of a whole run labelled."""
    out = tmp_path_factory.mktemp("synthesized") / "samples"
    assert cli.main(["synthesize", f"segmentation={avatar_run.bundle}", "n=20", "drop=0", f"out={out}"]) == cli.OK
    return out


def same_weights(one: Bundle, other: Bundle) -> bool:
    """Whether two bundles hold the same numbers, but for the order of a sum."""
    return all(torch.allclose(one.tensors[name], value, rtol=1e-4, atol=1e-6) for name, value in other.tensors.items())
