"""Held against rosinality's code: names, shapes, a few numbers (rosinality.json says how made), in both directions."""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from networks.checkpoints.bundle import tensors_hash
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import (
    load_discriminator,
    load_foreign,
    load_generator,
    save_generator,
    stored_tensors,
)
from networks.checkpoints.pickles import read_torch
from networks.checkpoints.rosinality import write_rosinality
from networks.stylegan2 import Discriminator, Generator, LeanDiscriminator

ORIGINAL = json.loads(Path(__file__).with_name("rosinality.json").read_text())
KERNEL = torch.tensor([1.0, 3.0, 3.0, 1.0]).outer(torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64
Checkpoint = dict[str, Any]


@functools.cache
def state(network: str, kernel_sum: float) -> Mapping[str, torch.Tensor]:
    """The weights that the numbers were made with, under the original's names; many, so made once."""
    found = {}
    for i, (name, shape) in enumerate(sorted(ORIGINAL[network].items())):
        if name.endswith(".kernel"):
            found[name] = KERNEL * kernel_sum
        else:
            count = torch.Size(shape).numel()
            found[name] = torch.sin(torch.arange(count, dtype=torch.float64) * 0.7 + i).float().reshape(shape)
    return MappingProxyType(found)


@pytest.fixture
def checkpoint() -> Checkpoint:
    """A training checkpoint, as its train.py writes it, with the mean of W that converted ones have."""
    return {
        "g_ema": {**state("generator", 4.0)}, "latent_avg": torch.cos(torch.arange(8.0)), "ada_aug_p": 0.1,
        "args": argparse.Namespace(size=16, batch=2), "g_optim": {"state": {}, "param_groups": [{}]},
    }  # fmt: skip


def written(checkpoint: Checkpoint, path: Path, **arguments: Any) -> Path:
    torch.save(checkpoint, path, **arguments)
    return path


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
@torch.no_grad()
def test_images_are_the_originals(checkpoint: Checkpoint, tmp_path: Path, old: bool) -> None:
    path = written(checkpoint, tmp_path / "g.pt", _use_new_zipfile_serialization=not old)
    G = load_generator(path)
    images = G(torch.sin(torch.arange(16.0)).reshape(2, 8), truncation=0.7)
    torch.testing.assert_close(images.flatten()[::199], torch.tensor(ORIGINAL["image"]), rtol=1e-4, atol=1e-4)
    assert images.std().item() == pytest.approx(ORIGINAL["image_std"], rel=1e-4)


@torch.no_grad()
def test_logits_are_the_originals(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint["d"] = {**state("discriminator", 1.0)}
    D = load_foreign(written(checkpoint, tmp_path / "g.pt"), "D")
    logits = D(torch.cos(0.01 * torch.arange(2 * 3 * 256.0)).reshape(2, 3, 16, 16)).flatten()
    torch.testing.assert_close(logits, torch.tensor(ORIGINAL["logits"]), rtol=1e-4, atol=1e-5)


def test_writing_gives_the_checkpoint_back(checkpoint: Checkpoint, tmp_path: Path) -> None:
    G = load_generator(written(checkpoint, tmp_path / "g.pt"))
    assert write_rosinality(tmp_path / "again.pt", G) == ()
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    torch.testing.assert_close(again["g_ema"], checkpoint["g_ema"], rtol=0, atol=0)
    torch.testing.assert_close(again["latent_avg"], checkpoint["latent_avg"])
    assert load_generator(tmp_path / "again.pt").hash == G.hash


def test_writing_gives_the_discriminator_back(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint["d"] = {**state("discriminator", 1.0)}
    D = load_foreign(written(checkpoint, tmp_path / "g.pt"), "D")
    bundle = save_generator(tmp_path / "d.safetensors", D, {})
    assert write_rosinality(tmp_path / "d.pt", load_discriminator(bundle)) == ()
    again = torch.load(tmp_path / "d.pt", weights_only=True)
    assert again.keys() == {"d"}
    torch.testing.assert_close(again["d"], checkpoint["d"], rtol=0, atol=0)
    assert load_discriminator(tmp_path / "d.pt").hash == D.hash


WIDE = {"channels": [512, 512, 512, 512, 768]}  # a channel multiplier of 3, which no rule of the papers gives


@pytest.mark.parametrize(
    ("network", "weight", "shape"),
    [
        (functools.partial(Generator, 64, z_dim=8, w_dim=8, mapping_layers=1, **WIDE), "convs.7.conv.weight",
         (1, 768, 768, 3, 3)),
        (functools.partial(Discriminator, 64, **WIDE), "convs.0.0.weight", (768, 3, 1, 1)),
    ],
    ids=["G", "D"],
)  # fmt: skip
def test_multipliers_of_three_and_more_go_both_ways(
    tmp_path: Path, network: Any, weight: str, shape: tuple[int, ...]
) -> None:
    original, name = network(), "D" if network.func is Discriminator else "G_ema"
    assert write_rosinality(tmp_path / "wide.pt", original) == ()
    (theirs, *_) = torch.load(tmp_path / "wide.pt", weights_only=True, mmap=True).values()
    assert theirs[weight].shape == shape
    read = load_foreign(tmp_path / "wide.pt", name)
    assert read.config == original.config
    assert read.hash == tensors_hash(stored_tensors(original))


def test_one_multiplier_is_for_all_resolutions(tmp_path: Path) -> None:
    with torch.device("meta"):
        G = Generator(128, channel_base=49152)  # 3 * 128 channels at 128x128, but 2 * 256 at 64x64
    with pytest.raises(GanvasError, match=r"a whole multiple of 16384/resolution above, and this one has 512 at 64x64"):
        write_rosinality(tmp_path / "g.pt", G)


def test_a_bundle_of_it_is_the_same_generator(checkpoint: Checkpoint, tmp_path: Path) -> None:
    G = load_generator(written(checkpoint, tmp_path / "g.pt"))
    assert load_generator(save_generator(tmp_path / "g.safetensors", G, {})).hash == G.hash


def test_what_early_checkpoints_lack_is_filled_in_the_same_way_each_time(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    early = {name: value for name, value in checkpoint["g_ema"].items() if not name.startswith("noises.")}
    path = written({"g_ema": early}, tmp_path / "g.pt")
    one, two = load_generator(path), load_generator(path)
    assert one.hash == two.hash
    w = one.mapping(torch.randn(2000, 8, generator=torch.Generator().manual_seed(5)))[:, 0]
    assert (one.w_avg - w.mean(0)).norm() < 0.1 * (w - w.mean(0)).norm(dim=1).mean()
    assert one.synthesis.b8.conv0.noise_const.std().item() == pytest.approx(1, abs=0.2)


def without_layer(checkpoint: Checkpoint) -> None:
    del checkpoint["g_ema"]["convs.1.conv.weight"]


def with_layer(checkpoint: Checkpoint) -> None:
    checkpoint["g_ema"]["convs.9.extra"] = torch.zeros(2)


def other_kernel(checkpoint: Checkpoint) -> None:
    checkpoint["g_ema"]["to_rgbs.0.upsample.kernel"] = torch.full([4, 4], 0.25)


def other_size(checkpoint: Checkpoint) -> None:
    checkpoint["g_ema"]["to_rgb1.bias"] = torch.zeros(1, 5, 1, 1)


def no_average(checkpoint: Checkpoint) -> None:
    checkpoint["g"] = checkpoint.pop("g_ema")


def not_a_number(checkpoint: Checkpoint) -> None:
    checkpoint["g_ema"]["style.1.bias"] = torch.full([8], float("nan"))


def lacks_a_bias(checkpoint: Checkpoint) -> None:
    del checkpoint["g_ema"]["style.2.bias"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_layer, r"convs.1.conv.weight.*export it again"),
        (with_layer, r"has convs.9.extra, which is unknown.*export it again"),
        (other_kernel, r"to_rgbs.0.upsample.kernel is not made of the taps 1, 3, 3, 1"),
        (other_size, r"is not as rosinality's stylegan2-pytorch writes it"),
        (no_average, r"holds no network G_ema, but G: choose one of these"),
        (not_a_number, r"mapping.fc0.bias.* NaN or infinite"),
        (lacks_a_bias, r"weights 1 missing \(mapping.fc1.bias\)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_checkpoint_that_is_not_whole(checkpoint: Checkpoint, tmp_path: Path, spoil: Any, says: str) -> None:
    spoil(checkpoint)
    path = written(checkpoint, tmp_path / "g.pt")
    with pytest.raises(GanvasError, match=says) as found:
        load_generator(path)
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)


def test_a_file_that_is_cut_short(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = written(checkpoint, tmp_path / "g.pt")
    for length in (20, 1000, path.stat().st_size // 2):
        (tmp_path / "half.pt").write_bytes(path.read_bytes()[:length])
        with pytest.raises(GanvasError, match=r"half.pt cannot be read as a PyTorch checkpoint: copy it again"):
            load_generator(tmp_path / "half.pt")


def small_file(path: Path, old: bool) -> bytes:
    """All kinds of entries that ``read_torch`` takes, in few bytes."""
    content = {"g_ema": {"a.bias": torch.arange(3.0), "a.gain": torch.ones(2, dtype=torch.half)},
               "args": argparse.Namespace(size=16, path="x"), "step": 300, "rate": 0.5, "flag": True}  # fmt: skip
    return written(content, path, _use_new_zipfile_serialization=not old).read_bytes()


def refused_or_read(path: Path, content: bytes) -> str | None:
    """The one sentence about such a file, if it is refused; any other exception passes through."""
    path.write_bytes(content)
    try:
        read_torch(path)
    except GanvasError as error:
        sentence = str(error)
    else:
        return None
    assert sentence.startswith(f"{path} ")
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_a_file_cut_anywhere_is_damaged_and_not_hostile(tmp_path: Path, old: bool) -> None:
    whole, path = small_file(tmp_path / "g.pt", old), tmp_path / "cut.pt"
    assert refused_or_read(path, whole) is None
    for length in range(0, len(whole), 1 if old else 7):
        assert refused_or_read(path, whole[:length]) == f"{path} cannot be read as a PyTorch checkpoint: copy it again."


@pytest.mark.parametrize("name", [b"OrderedDict", b"FloatStorage", b"_rebuild_tensor_v2", b"Namespace"])
def test_the_beginning_of_a_name_is_damaged_and_not_hostile(tmp_path: Path, name: bytes) -> None:
    whole, path = small_file(tmp_path / "g.pt", old=True), tmp_path / "broken.pt"
    for place in range(1, len(name)):
        broken = whole.replace(name, name[:place] + b"\n" + name[place + 1 :])
        assert broken != whole
        assert refused_or_read(path, broken) == f"{path} cannot be read as a PyTorch checkpoint: copy it again."


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_a_file_with_a_changed_byte_is_read_or_refused(tmp_path: Path, old: bool) -> None:
    whole, chance = small_file(tmp_path / "g.pt", old), random.Random(3)
    said = []
    for _ in range(600):
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] ^= chance.randrange(1, 256)
        said.append(refused_or_read(tmp_path / "changed.pt", bytes(changed)))
    assert any("cannot be read as a PyTorch checkpoint" in (sentence or "") for sentence in said)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_a_whole_name_that_no_checkpoint_needs_is_said(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "g.pt"
    torch.save({"g_ema": pathlib.PurePosixPath.as_posix}, path, _use_new_zipfile_serialization=not old)
    assert "asks for getattr, for which a generator has no use" in (refused_or_read(path, path.read_bytes()) or "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"channel_base": 256, "channel_max": 16}, r"512 channels up to 32x32 .*, and this one has 16 at 4x4"),
        ({"z_dim": 16}, r"has z_dim=8, and this one 16"),
        ({"architecture": "resnet"}, r"has architecture=skip, and this one resnet"),
        ({"c_dim": 2}, r"has c_dim=0, and this one 2"),
        ({"img_channels": 1}, r"has img_channels=3, and this one 1"),
        ({"mapping_lr_mult": 1.0}, r"has mapping_lr_mult=0.01, and this one 1.0"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(tmp_path: Path, arguments: dict[str, Any], says: str) -> None:
    with torch.device("meta"):
        G = Generator(16, **{"z_dim": 8, "w_dim": 8, "mapping_layers": 1, **arguments})
    with pytest.raises(GanvasError, match=says):
        write_rosinality(tmp_path / "g.pt", G)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"channel_base": 256, "channel_max": 16}, r"512 channels up to 32x32 .*, and this one has 16 at 4x4"),
        ({"architecture": "skip"}, r"has architecture=resnet, and this one skip"),
        ({"c_dim": 2}, r"has c_dim=0, and this one 2"),
        ({"img_channels": 1}, r"has img_channels=3, and this one 1"),
        ({"mbstd_group_size": None}, r"has mbstd_group_size=4, and this one None"),
        ({"mbstd_group_size": 0}, r"has mbstd_group_size=4, and this one 0"),
    ],
)
def test_what_the_format_cannot_hold_of_a_discriminator_is_refused(
    tmp_path: Path, arguments: dict[str, Any], says: str
) -> None:
    with torch.device("meta"):
        D = Discriminator(16, **arguments)
    with pytest.raises(GanvasError, match=says):
        write_rosinality(tmp_path / "d.pt", D)
    assert list(tmp_path.iterdir()) == []


def test_other_discriminators_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"d.pt cannot be written: .* no place for a lean_discriminator; write a bun"):
        write_rosinality(tmp_path / "d.pt", LeanDiscriminator(16, channels=[4, 4]))
    assert list(tmp_path.iterdir()) == []


def test_a_clamp_that_the_format_cannot_hold_is_said(tmp_path: Path) -> None:
    G = Generator(16, z_dim=8, w_dim=8, mapping_layers=1, conv_clamp=256.0)
    (said,) = write_rosinality(tmp_path / "g.pt", G)
    assert said == "conv_clamp=256 has no equivalent there: images agree where nothing reaches it"
    (said,) = write_rosinality(tmp_path / "d.pt", Discriminator(16, conv_clamp=256.0))
    assert said == "conv_clamp=256 has no equivalent there: logits agree where nothing reaches it"
