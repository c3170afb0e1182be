"""The encoder learns to find a generator's codes, and a run that stopped goes on to the same weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from datamodules.images import GANImages, ImageSet
from networks.critics import perceptual
from networks.encoder import WPlusEncoder
from networks.stylegan2 import Generator
from tests.networks.test_blobgan import made
from trainers.diverged import DivergedError
from trainers.encoder import EncoderTrainer
from trainers.gan_callbacks import EveryImages, StopAtTotal, save_last

BATCH = 8


def generator() -> Generator:
    torch.manual_seed(0)
    G = Generator(32, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr_mult=1.0, channel_base=256, channel_max=16)
    return G.eval().requires_grad_(False)


def trainer_of(total: int, **arguments: object) -> EncoderTrainer:
    G = generator()
    torch.manual_seed(1)
    encoder = WPlusEncoder(32, G.num_ws, 8, channels=[16, 16, 16], width=16, hidden=32)
    return EncoderTrainer(encoder, G, perceptual("stlpips-alex"), total, **arguments)


def fit(module: EncoderTrainer, folder: Path, stop_at: int | None = None) -> EncoderTrainer:
    G = generator()
    pixels = G.render(G.sample(24, seed=9)).clamp(-1, 1)
    images = ImageSet(((pixels + 1) * 127.5).round().byte().numpy())
    last = folder / "last.ckpt"
    callbacks: list[pl.Callback] = [StopAtTotal(), EveryImages(BATCH, save_last(last))]
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=-1, max_steps=-1 if stop_at is None else stop_at // BATCH, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=callbacks,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, GANImages(images, BATCH, 0), ckpt_path=last if last.exists() else None, weights_only=True)
    return module


def test_it_learns_where_codes_are(tmp_path: Path) -> None:
    module = fit(trainer_of(160 * BATCH, lr=5e-3, mixing=0.0), tmp_path)
    G, latent = generator(), generator().sample(32, seed=77)
    target = G.render(latent).clamp(-1, 1)
    with torch.no_grad():
        found = module.E(target)
    mean = module.E.w_mean.expand_as(found)
    ws = latent.tensors["ws"]
    assert (found - ws).square().mean() < 0.5 * (mean - ws).square().mean()
    near, far = ((G.synthesis(codes) - target).square().mean() for codes in (found, mean))
    assert near < 0.5 * far


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "halves").mkdir()
    whole = fit(trainer_of(6 * BATCH), tmp_path / "whole")
    fit(trainer_of(6 * BATCH), tmp_path / "halves", stop_at=3 * BATCH)
    torch.manual_seed(99)  # nothing may hang on the global state
    resumed = fit(trainer_of(6 * BATCH), tmp_path / "halves")
    assert resumed.images_seen == whole.images_seen == 6 * BATCH
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_the_checkpoint_holds_neither_generator_nor_critic() -> None:
    assert {name.partition(".")[0] for name in trainer_of(BATCH).state_dict()} == {"E", "clock"}


def test_mixed_codes_are_two_samples_joined() -> None:
    module = trainer_of(BATCH, mixing=1.0)
    torch.manual_seed(3)
    ws = module._codes(6)
    for row in ws:
        changes = [not torch.equal(a, b) for a, b in pairwise(row)]
        assert sum(changes) == 1
    module.mixing = 0.0
    assert all(torch.equal(row, row[:1].expand_as(row)) for row in module._codes(6))


def test_a_loss_that_is_no_number_names_the_images_seen(tmp_path: Path) -> None:
    module = trainer_of(2 * BATCH)
    with torch.no_grad():
        module.E.stem.bias[0] = float("nan")
        torch.nn.init.ones_(module.E.heads[0][-1].weight)
    with pytest.raises(DivergedError, match=r"is not a number after 0 images"):
        fit(module, tmp_path)


def test_hidden_codes_of_a_blobgan_are_learned_from_samples_alone_at_first(tmp_path: Path) -> None:
    G = made()
    torch.manual_seed(1)
    encoder = WPlusEncoder(32, 1, 24, channels=[16, 16, 16], width=16, hidden=32)
    module = EncoderTrainer(encoder, G, perceptual("stlpips-alex"), 40 * BATCH, lr=5e-3, samples_first=1.0)
    far, real = torch.full((BATCH, 3, 32, 32), 0.9), torch.zeros(BATCH, 3, 32, 32)
    torch.manual_seed(2)
    alone = module._losses(far)
    torch.manual_seed(2)
    assert module._losses(real) == alone       # real images are not looked at
    assert set(alone) == {"latent", "spread"}
    module.samples_first = 0.0
    near, far = (module._losses(images) for images in (real, far))
    assert set(near) == {"latent", "spread", "pixel", "perceptual"}
    assert near["pixel"] < far["pixel"]
    module.samples_first = 1.0
    fit(module, tmp_path)
    torch.manual_seed(2)
    assert module._losses(real)["latent"] < 0.9 * alone["latent"]
