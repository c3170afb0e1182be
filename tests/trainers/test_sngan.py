"""The class-conditional GAN's training: resumed equals uninterrupted, whose turn it is, rates, statistics."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from datamodules.images import GANImages, ImageSet
from networks.sngan import ConditionalGenerator, ProjectionDiscriminator
from networks.sngan.standing import take_standing_statistics
from trainers.gan_callbacks import EveryImages, StopAtTotal, save_last
from trainers.sngan import SNGANTrainer

BATCH = 4
IMAGES = torch.randint(0, 256, (10, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.eye(2)[torch.arange(10) % 2]


def tiny(total: int = 24, **arguments: object) -> SNGANTrainer:
    torch.manual_seed(0)
    G, D = ConditionalGenerator(16, 2, [6, 5, 4], z_dim=4), ProjectionDiscriminator(16, 2, [4, 5])
    return SNGANTrainer(G, D, total, **{"n_dis": 2, **arguments})


class Killed(Exception):
    pass


def fit(module: SNGANTrainer, callbacks: Sequence[pl.Callback] = (), resume: Path | None = None) -> None:
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[StopAtTotal(), *callbacks],
    )  # fmt: skip
    data = GANImages(ImageSet(IMAGES.numpy(), LABELS.numpy()), BATCH, 0)
    trainer.fit(module, data, ckpt_path=resume, weights_only=True)


@pytest.mark.parametrize("standing", [0, 6])
def test_a_resumed_run_ends_bit_equal_to_an_uninterrupted_one(standing: int, tmp_path: Path) -> None:
    settings = {"standing": standing, "standing_every": 8}
    whole, path = tiny(**settings), tmp_path / "last.ckpt"
    fit(whole)

    def die(module: SNGANTrainer) -> None:
        save_last(path)(module)
        raise Killed

    with pytest.raises(Killed):
        fit(tiny(**settings), [EveryImages(12, die)])
    resumed = tiny(**settings)
    fit(resumed, resume=path)
    assert resumed.images_seen == 24
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_generator_learns_from_one_batch_in_n_dis() -> None:
    module, moved, judged = tiny(total=6 * BATCH, n_dis=3), [], []
    weights = [copy.deepcopy(module.G.synthesis.l1.weight), copy.deepcopy(module.D.last.parametrizations.weight[0]._u)]

    def look(module: SNGANTrainer) -> None:
        moved.append(not torch.equal(module.G.synthesis.l1.weight, weights[0]))
        judged.append(not torch.equal(module.D.block1.c1.parametrizations.weight.original, weights[1]))
        weights[0] = module.G.synthesis.l1.weight.detach().clone()
        weights[1] = module.D.block1.c1.parametrizations.weight.original.detach().clone()

    fit(module, [EveryImages(BATCH, look)])
    assert moved == [True, False, False, True, False, False]
    assert all(judged)


def test_everything_learns() -> None:
    module = tiny()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    fit(module)
    assert [name for name, p in module.named_parameters() if torch.equal(p, before[name])] == []


def test_rates_fall_linearly_to_nothing() -> None:
    module = tiny(total=100, decay_from=0.5)
    rates = []
    for seen in (0, 50, 75, 100):
        module.clock.fill_(seen)
        rates.append(module.rate())
    assert rates == pytest.approx([1, 1, 0.5, 0])
    constant = tiny(total=100, decay_from=1.0)
    constant.clock.fill_(99)
    assert constant.rate() == 1


def test_the_average_has_statistics_of_its_own_or_the_trained_ones() -> None:
    own, shared = tiny(standing=6, standing_every=1000), tiny()
    fit(own)
    fit(shared)
    for name, value in shared.G.named_buffers():
        assert torch.equal(value, dict(shared.G_ema.named_buffers())[name]), name
    expected = copy.deepcopy(own.G_ema)
    take_standing_statistics(expected, 6, 6, 0)
    for name, value in expected.named_buffers():
        assert "running" not in name or torch.equal(value, dict(own.G_ema.named_buffers())[name]), name
    assert not own.G_ema.training


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="n_dis and standing_every must be at least 1"):
        tiny(n_dis=0)
    with pytest.raises(ValueError, match=r"decay_from must be a share in \[0, 1\], got 2"):
        tiny(decay_from=2)
    with pytest.raises(ValueError, match="one kind of label"):
        SNGANTrainer(ConditionalGenerator(16, 2, [6, 5, 4]), ProjectionDiscriminator(16, 3, [4, 5]), 8)
