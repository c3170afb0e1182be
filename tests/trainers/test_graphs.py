"""Training through CUDA graphs: on a GPU as without them, elsewhere the same to the last bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytorch_lightning as pl
import torch

from datamodules.images import GANImages, ImageSet
from networks.blobgan import BlobGenerator
from networks.sngan import ConditionalGenerator, ProjectionDiscriminator
from networks.stylegan2 import LeanDiscriminator
from networks.stylegan2.generator import Generator
from trainers.adversarial import AdversarialTrainer
from trainers.blobgan import BlobGANTrainer
from trainers.gan_callbacks import StopAtTotal
from trainers.sngan import SNGANTrainer
from trainers.stylegan2 import StyleGAN2Trainer

IMAGES = torch.randint(0, 256, (10, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.eye(2)[torch.arange(10) % 2]
TOTAL, BATCH = 32, 4


def blobgan(graphs: bool) -> BlobGANTrainer:
    G = BlobGenerator(16, k=2, channels=[8, 6], z_dim=4, hidden_dim=8, layers=2, lr_mult=1.0, structure_dim=5,
                      style_dim=4, smallest=8, depth="learned")  # fmt: skip
    return BlobGANTrainer(G, LeanDiscriminator(16, channels=(4, 4)), TOTAL, r1_interval=2, noise="none", graphs=graphs)


def sngan(graphs: bool) -> SNGANTrainer:
    G, D = ConditionalGenerator(16, 2, [6, 5, 4], z_dim=4), ProjectionDiscriminator(16, 2, [4, 5])
    return SNGANTrainer(G, D, TOTAL, n_dis=2, standing=6, standing_every=8, graphs=graphs)


def stylegan2(graphs: bool) -> StyleGAN2Trainer:
    G = Generator(16, z_dim=4, w_dim=4, mapping_layers=2, channel_base=128, channel_max=8)
    return StyleGAN2Trainer(G, LeanDiscriminator(16, channels=(4, 4)), TOTAL, style_mixing=0.0, path_weight=0.0,
                            noise="none", r1_interval=2, graphs=graphs)  # fmt: skip


def trained(make: Callable[[bool], AdversarialTrainer], graphs: bool, accelerator: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    module = make(graphs)
    trainer = pl.Trainer(
        accelerator=accelerator, devices=1, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[StopAtTotal()],
    )  # fmt: skip
    trainer.fit(module, GANImages(ImageSet(IMAGES.numpy(), LABELS.numpy() if make is sngan else None), BATCH, 0))
    assert module.images_seen == TOTAL
    assert module.clock.device.type == "cpu"
    return {name: value.cpu() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("make", [blobgan, sngan, stylegan2])
def test_off_a_gpu_nothing_changes(make: Callable[[bool], AdversarialTrainer]) -> None:
    plain, graphed = (trained(make, graphs, "cpu") for graphs in (False, True))
    for name, value in plain.items():
        assert torch.equal(value, graphed[name]), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
@pytest.mark.parametrize("make", [blobgan, sngan, stylegan2])
def test_replayed_passes_train_as_plain_ones_do(make: Callable[[bool], AdversarialTrainer]) -> None:
    plain, graphed = (trained(make, graphs, "gpu") for graphs in (False, True))
    for name, value in plain.items():
        torch.testing.assert_close(graphed[name], value, rtol=1e-2, atol=1e-3, msg=name)


def test_both_ways_at_once_are_refused() -> None:
    G = BlobGenerator(16, k=2, channels=[8, 6], z_dim=4, hidden_dim=8, layers=2, structure_dim=5, style_dim=4,
                      smallest=8)  # fmt: skip
    with pytest.raises(ValueError, match="ask for one"):
        BlobGANTrainer(G, LeanDiscriminator(16, channels=(4, 4)), TOTAL, compile=True, graphs=True)
