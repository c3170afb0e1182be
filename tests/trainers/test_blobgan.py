"""BlobGAN's training: resumed equals uninterrupted, jitter in training alone, whose gradient moves what."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from datamodules.images import GANImages, ImageSet
from networks.blobgan import BlobGenerator, Layout
from networks.blobgan.usage import blob_usage
from networks.projected import ProjectedDiscriminator
from networks.stylegan2 import Discriminator, LeanDiscriminator, LeanEncoder
from trainers.blobgan import BlobGANTrainer
from trainers.gan_callbacks import EveryImages, StopAtTotal, draw_samples, save_last

BATCH = 4
IMAGES = torch.randint(0, 256, (11, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def tiny(total: int = 24, num_fp16_res: int = 0, **arguments: object) -> BlobGANTrainer:
    torch.manual_seed(0)
    G = BlobGenerator(16, k=2, channels=[8, 6], z_dim=4, hidden_dim=8, layers=2, lr_mult=1.0, structure_dim=5,
                      style_dim=4, smallest=8, num_fp16_res=num_fp16_res)  # fmt: skip
    return BlobGANTrainer(G, LeanDiscriminator(16, channels=(4, 4)), total, **{"r1_interval": 2, **arguments})


def with_encoder(total: int = 24, **arguments: object) -> BlobGANTrainer:
    torch.manual_seed(1)
    return tiny(total, encoder=LeanEncoder(16, 8, channels=(4, 4)), **arguments)


class Killed(Exception):
    pass


def fit(
    module: BlobGANTrainer, callbacks: Sequence[pl.Callback] = (), resume: Path | None = None,
    precision: str = "32-true",
) -> None:  # fmt: skip
    trainer = pl.Trainer(
        accelerator="cpu", precision=precision, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[StopAtTotal(), *callbacks],
    )  # fmt: skip
    data = GANImages(ImageSet(IMAGES.numpy()), BATCH, 0)
    trainer.fit(module, data, ckpt_path=resume, weights_only=True)


def assert_same(a: BlobGANTrainer, b: BlobGANTrainer) -> None:
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name


@pytest.mark.parametrize("make", [tiny, with_encoder])
@pytest.mark.parametrize("end", [None, 0.5])
def test_a_resumed_run_ends_bit_equal_to_an_uninterrupted_one(
    end: float | None, make: Callable[..., BlobGANTrainer], tmp_path: Path
) -> None:
    whole, broken, path = make(jitter_end=end), make(jitter_end=end), tmp_path / "last.ckpt"
    fit(whole)

    def die(module: BlobGANTrainer) -> None:
        save_last(path)(module)
        raise Killed

    with pytest.raises(Killed):
        fit(broken, [EveryImages(12, die)])
    resumed = make(jitter_end=end)
    fit(resumed, resume=path)
    assert resumed.images_seen == 24
    assert_same(resumed, whole)


def test_jitter_fades_and_is_for_training_alone() -> None:
    module = tiny(total=40, jitter_end=0.5)
    shares = []
    for seen in (0, 10, 20, 30):
        module.clock.fill_(seen)
        shares.append(module.present_jitter().centre / 0.04)
    assert shares == pytest.approx([1, 0.5, 0, 0])
    assert torch.equal(draw_samples(module, 2), draw_samples(module, 2))
    sampled = Layout.of(module.G_ema.sample(2, 0))
    plain = module.G_ema.layout_network.layout(module.G_ema.sample(2, 0).tensors["hidden"])
    assert torch.equal(sampled.centre, plain.centre)


@pytest.mark.parametrize("make", [tiny, with_encoder])
def test_everything_learns_and_the_mean_moves(make: Callable[..., BlobGANTrainer]) -> None:
    module = make()
    before = copy.deepcopy(module.state_dict())
    fit(module)
    still = [name for name, value in module.state_dict().items() if torch.equal(value, before[name])]
    assert [name for name in still if "resample_filter" not in name and "noise_const" not in name] == []
    assert {"loss_d", "loss_g", "real_sign"} <= module.figures.keys()


def test_with_an_encoder_only_the_game_of_codes_moves_the_hidden_codes_layers() -> None:
    module = with_encoder(total=8, code_steps=0)
    before = copy.deepcopy(module.G.layout_network.state_dict())
    fit(module)
    after = module.G.layout_network.state_dict()
    assert torch.equal(before["fc0.weight"], after["fc0.weight"])
    assert not torch.equal(before["blobs.weight"], after["blobs.weight"])


def test_a_reconstruction_is_of_blobs_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen = with_encoder(total=8), []
    monkeypatch.setattr(module, "_render", lambda layout: seen.append(layout) or torch.zeros(4, 3, 16, 16))
    real = IMAGES[:4].float() / 127.5 - 1
    module.draw(real, None)
    (drawn,) = seen
    codes = module.E(real[:2])
    torch.testing.assert_close(drawn.centre[:2], module.G.layout_network.layout(codes).centre)


def losses(module: BlobGANTrainer, precision: str) -> list[dict[str, float]]:
    """The figures after each batch."""
    found: list[dict[str, float]] = []
    fit(module, [EveryImages(BATCH, lambda m: found.append(dict(m.figures)))], precision=precision)
    return found


@pytest.mark.parametrize("where", ["bf16-mixed", "blocks"])
def test_in_half_precision_losses_are_nearly_those_of_single_precision(where: str) -> None:
    half = tiny(num_fp16_res=2) if where == "blocks" else tiny()
    found = losses(half, "32-true" if where == "blocks" else where)
    single = losses(tiny(), "32-true")
    assert len(found) == len(single) == 6
    for ours, theirs in zip(found, single, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ("loss_d", "loss_g"):
            assert ours[name] == pytest.approx(theirs[name], rel=0.05)
    assert [f["loss_g"] for f in found] != [f["loss_g"] for f in single]
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in half.parameters())


def test_a_projected_discriminator_teaches_it() -> None:
    plain = tiny()
    judge = ProjectedDiscriminator(16, width=4, feature_resolution=128)
    module = BlobGANTrainer(plain.G, judge, 2 * BATCH, loss="hinge", r1_gamma=0.0)
    before = copy.deepcopy(module.state_dict())
    fit(module)
    still = {name for name, value in module.state_dict().items() if torch.equal(value, before[name])}
    moving = {name for name, _ in module.named_parameters() if name.startswith(("G.", "D.heads."))}
    assert not still & moving
    assert {f"D.{name}" for name, _ in judge.named_buffers() if name.startswith("projection.")} <= still
    assert all(math.isfinite(value) for value in module.figures.values())


def test_the_releases_adamw_decays_nothing_and_is_adam() -> None:
    ours, theirs = tiny(), tiny()
    optimizers = []
    for side, theirs_of in zip(ours.configure_optimizers(), (theirs.G, theirs.D), strict=True):
        own = {name: side.defaults[name] for name in ("lr", "betas", "eps")}
        optimizers += [side, torch.optim.AdamW(theirs_of.parameters(), **own, weight_decay=0.0)]
    # blobgan.py: R1 every 16 batches scales D's rate and betas by 16 / 17; here it is every 2.
    assert optimizers[1].defaults["betas"] == (0.0, 0.99)
    assert optimizers[3].defaults["betas"] == (0.0, pytest.approx(0.99 ** (2 / 3)))
    assert {optimizer.defaults["eps"] for optimizer in optimizers} == {1e-5}
    draw = torch.Generator().manual_seed(0)
    for _ in range(3):
        for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=draw)
            its.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert_same(ours, theirs)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"jitter_end must be in \(0, 1\]"):
        tiny(jitter_end=0.0)
    with pytest.raises(ValueError, match="jitter of centre must be a number not below 0"):
        tiny(jitter_centre=-1.0)
    with pytest.raises(ValueError, match="noise must be one of"):
        tiny(noise="loud")
    with pytest.raises(ValueError, match="one kind of label"):
        BlobGANTrainer(tiny().G, Discriminator(16, c_dim=2, channel_base=64, channel_max=4), 8)


def test_usage_shows_blobs_that_die_and_pile_up() -> None:
    layout = Layout.of(tiny().G.sample(8, 0))
    weights = torch.zeros(8, 3, 4, 4)
    weights[:, 0], weights[:, 1] = 0.25, 0.75
    usage = blob_usage(layout, weights)
    assert usage["coverage"] == pytest.approx(0.75)
    assert (usage["dead_blobs"], usage["blobs_in_use"]) == (0.5, 1.0)
    assert usage["entropy"] == pytest.approx(0.5119, abs=1e-3)  # of (1/4, 3/4, 0), over log 3
    assert blob_usage(layout, torch.eye(3)[:1].T[None, :, :, None].expand(8, -1, 4, 4))["entropy"] == 0
    piled = layout.replace(centre=torch.full_like(layout.centre, 0.3))
    assert blob_usage(piled, weights)["spread"] == pytest.approx(0, abs=1e-6)
