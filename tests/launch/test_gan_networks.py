"""Which arguments may be typed beside the file that training goes on from, for each kind of GAN."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from omegaconf import DictConfig
from torch import nn

from launch.compose import compose
from launch.gan_networks import starting_networks
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import save_generator
from networks.stylegan2 import Discriminator, Generator
from tests.networks.test_blobgan import made
from tests.networks.test_sngan import tiny


def style_based() -> nn.Module:
    return Generator(32, z_dim=4, w_dim=6, mapping_layers=1, channel_base=0, channel_max=8)


def configured(experiment: str, generator: nn.Module, folder: Path, *words: str) -> DictConfig:
    bundle = save_generator(folder / "g.safetensors", generator, {})
    words = (f"experiment={experiment}", f"data.resolution={generator.img_resolution}", f"generator={bundle}", *words)
    return compose("train", words, command=shlex.join(["ganvas", "train", *words]))


KINDS = {
    "blobgan/scenes32": made, "sngan/styles32": tiny, "stylegan2/rooms64": style_based,
}  # fmt: skip


@pytest.mark.parametrize(
    ("experiment", "word", "has"),
    [
        ("blobgan/scenes32", "k=5", "k=3"),
        ("blobgan/scenes32", "covariance=frozen", "covariance=learned"),
        ("blobgan/scenes32", "channels=[8,8,8]", "channels=[12, 8, 6]"),
        ("sngan/styles32", "z_dim=6", "z_dim=5"),
        ("sngan/styles32", "width=9", "channels=[8, 6, 4]"),
        ("stylegan2/rooms64", "w_dim=5", "w_dim=6"),
        ("stylegan2/rooms64", "channel_base=128", "channel_base="),
        ("stylegan2/rooms64", "conv_clamp=256", "conv_clamp=None"),
    ],
)
def test_a_typed_argument_that_is_another_is_refused(experiment: str, word: str, has: str, tmp_path: Path) -> None:
    cfg = configured(experiment, KINDS[experiment](), tmp_path, f"task.generator.{word}")
    with pytest.raises(GanvasError) as refused:
        starting_networks(cfg)
    said = str(refused.value)
    assert said.startswith(f"task.generator.{word.partition('=')[0]}=")
    assert f"is not that of the generator in {tmp_path / 'g.safetensors'}, which has {has}" in said
    assert said.endswith(": leave it out, or start from another.")


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        ("blobgan/scenes32", []),
        ("blobgan/scenes32", ["k=3", "channels=null", "area=0.02", "aspect_bound=null"]),
        ("sngan/styles32", ["z_dim=5", "channels=[8,6,4]"]),
        ("stylegan2/rooms64", ["w_dim=6", "channel_base=0", "channel_max=8"]),
    ],
)
def test_the_file_s_own_arguments_may_be_typed_and_an_experiment_s_differ(
    experiment: str, words: list[str], tmp_path: Path
) -> None:
    generator = KINDS[experiment]()
    start = starting_networks(configured(experiment, generator, tmp_path, *(f"task.generator.{w}" for w in words)))
    assert start.generator.config == generator.config


def test_a_discriminator_of_a_file_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    judge = save_generator(tmp_path / "d.safetensors", Discriminator(32, channel_base=128, channel_max=4), {})
    own = ("blobgan/scenes32", made(), tmp_path, f"task.start_discriminator={judge}")
    assert starting_networks(configured(*own)).discriminator.config["channel_max"] == 4
    starting_networks(configured(*own, "task/discriminator=official", "task.discriminator.channel_max=4"))
    for word, says in (
        ("task/discriminator=lean", "asks for a LeanDiscriminator, and the discriminator in .* is a Discriminator:"),
        ("task.discriminator.channels=[4,4,4]", "which has no such argument: leave it out"),
    ):
        with pytest.raises(GanvasError, match=says):
            starting_networks(configured(*own, word))
