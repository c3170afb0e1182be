"""Short games on two processors; run by ``test_together.py``, since Lightning starts this again for the second.

    python together_run.py FOLDER

writes what each process ended with into ``FOLDER/<rank>.pt``: for every trainer a whole run, and one that was stopped
and resumed; for one whose draws follow from the images, the whole one alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from networks.torchvision_shim import declare_torchvision_ops

declare_torchvision_ops()  # before Lightning, which imports torchvision

import pytorch_lightning as pl  # noqa: E402
from pytorch_lightning.utilities import rank_zero_only  # noqa: E402

from datamodules.images import GANImages, ImageSet  # noqa: E402
from networks.augment import AdaptiveAugment  # noqa: E402
from networks.blobgan import BlobGenerator  # noqa: E402
from networks.sngan import ConditionalGenerator, ProjectionDiscriminator  # noqa: E402
from networks.stylegan2 import LeanDiscriminator, LeanEncoder  # noqa: E402
from networks.stylegan2.generator import Generator  # noqa: E402
from trainers.adversarial import AdversarialTrainer, Drawn  # noqa: E402
from trainers.blobgan import BlobGANTrainer  # noqa: E402
from trainers.gan_callbacks import EveryImages, StopAtTotal, save_last  # noqa: E402
from trainers.sngan import SNGANTrainer  # noqa: E402
from trainers.stylegan2 import StyleGAN2Trainer  # noqa: E402
from trainers.together import Together  # noqa: E402

IMAGES = torch.randint(0, 256, (22, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.eye(2)[torch.arange(22) % 2]
BATCH, TOTAL = 8, 32


class OfImages(BlobGANTrainer):
    """Takes its samples' latents from the images, so that it does the same however a batch is shared."""

    def draw(self, real: torch.Tensor, labels: torch.Tensor | None) -> Drawn:
        z = torch.nn.functional.avg_pool2d(real, 8).flatten(1)[:, :4] * 10
        hidden = self.G.layout_network.hidden(z, update_avg=True)
        return Drawn(self._render(self.G.layout_network.layout(hidden)), None)


def blobgan(total: int, kind: type[BlobGANTrainer] = BlobGANTrainer, **settings: object) -> BlobGANTrainer:
    G = BlobGenerator(16, k=2, channels=[8, 6], z_dim=4, hidden_dim=8, layers=2, lr_mult=1.0, structure_dim=5,
                      style_dim=4, smallest=8)  # fmt: skip
    D = LeanDiscriminator(16, channels=(4, 4), mbstd_group_size=0)
    return kind(G, D, total, r1_interval=2, **settings)


def make(name: str, total: int) -> AdversarialTrainer:
    torch.manual_seed(0)
    if name == "of_images":
        return blobgan(total, OfImages, noise="none")
    if name == "blobgan":
        encoder = LeanEncoder(16, 8, channels=(4, 4))
        return blobgan(total, encoder=encoder, code_steps=2, augment=AdaptiveAugment(interval=2, full_images=100))
    if name == "sngan":
        G, D = ConditionalGenerator(16, 2, [6, 5, 4], z_dim=4), ProjectionDiscriminator(16, 2, [4, 5])
        return SNGANTrainer(G, D, total, n_dis=2, standing=6, standing_every=8)
    G = Generator(16, z_dim=4, w_dim=4, mapping_layers=2, channel_base=128, channel_max=8)
    return StyleGAN2Trainer(G, LeanDiscriminator(16, channels=(4, 4)), total, path_weight=2.0, path_interval=2)


def fit(
    name: str, devices: int, total: int = TOTAL, resume: Path | None = None, callbacks: Sequence[pl.Callback] = ()
) -> dict[str, Any]:
    """What a run ends with."""
    module = make(name, total)
    trainer = pl.Trainer(
        accelerator="cpu", devices=devices, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[StopAtTotal(), *callbacks],
        **({"strategy": Together()} if devices > 1 else {}),
    )  # fmt: skip
    labels = LABELS.numpy() if name == "sngan" else None
    trainer.fit(module, GANImages(ImageSet(IMAGES.numpy(), labels), BATCH, 0), ckpt_path=resume, weights_only=True)
    return {"weights": module.state_dict(), "figures": module.figures, "seen": module.images_seen}


def main(folder: Path) -> None:
    found = {}
    for name in ("of_images", "blobgan", "sngan", "stylegan2"):
        last = folder / f"{name}.ckpt"
        found[name] = fit(name, 2)
        if name != "of_images":
            fit(name, 2, TOTAL // 2, callbacks=[EveryImages(BATCH, save_last(last))])
            found[f"{name} resumed"] = fit(name, 2, resume=last)
    torch.save(found, folder / f"{rank_zero_only.rank}.pt")
    torch.distributed.barrier()  # the first process ends the other when it is through


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
