"""The labeller learns, resumes to the same weights, and stops on a loss that is no number."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from networks.unet import UNet
from trainers.diverged import DivergedError
from trainers.segmenter import SegmenterTrainer, labelled_batches
from trainers.views import degrade, mirror


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def squares(n: int = 24) -> tuple[Tensor, Tensor]:
    """Bright squares on dark ground, with their masks: ``uint8 [N, 3, 16, 16]``, ``uint8 [N, 16, 16]``."""
    random, masks = seeded(), torch.zeros(n, 16, 16, dtype=torch.uint8)
    for mask in masks:
        y, x = torch.randint(0, 8, (2,), generator=random).tolist()
        mask[y : y + 8, x : x + 8] = 1
    return (masks[:, None] * 180 + 40).expand(-1, 3, -1, -1).contiguous(), masks


def labeller(total_steps: int, **changes: object) -> SegmenterTrainer:
    torch.manual_seed(0)
    arguments = {"total_steps": total_steps, "lr": 1e-2, **changes}
    return SegmenterTrainer(UNet(2, (8, 8)), ("ground", "square"), **arguments)


def fit(trained: SegmenterTrainer, folder: Path, epochs: int, checkpoint: Path | None = None) -> pl.Trainer:
    images, masks = squares()
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(trained, labelled_batches(images, masks, 8, shuffle_seed=0), ckpt_path=checkpoint, weights_only=True)
    return trainer


def test_it_learns_and_scores_what_it_learned(tmp_path: Path) -> None:
    trained = labeller(total_steps=45)
    trainer = fit(trained, tmp_path, epochs=15)
    images, masks = squares()
    trainer.validate(trained, labelled_batches(images, masks, 8), verbose=False)
    assert trained.score.compute()["miou"] > 0.9


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = labeller(total_steps=12)
    fit(whole, tmp_path, epochs=4)
    first = fit(labeller(total_steps=12), tmp_path, epochs=2)
    first.save_checkpoint(tmp_path / "last.ckpt")
    torch.manual_seed(99)  # nothing may hang on the global state
    resumed = labeller(total_steps=12)
    fit(resumed, tmp_path, epochs=4, checkpoint=tmp_path / "last.ckpt")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_a_loss_that_is_no_number_names_the_step(tmp_path: Path) -> None:
    broken = labeller(total_steps=12)
    with torch.no_grad():
        broken.network.head.bias[0] = float("nan")
    with pytest.raises(DivergedError, match="the loss is not a number at step 0"):
        fit(broken, tmp_path, epochs=1)


def test_weights_that_an_epoch_s_last_step_broke_never_reach_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, step = labeller(total_steps=12), SegmenterTrainer.training_step

    def breaking(self: SegmenterTrainer, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = step(self, batch, batch_idx)
        if self.global_step == 5:
            self.network.head.bias.data[0] = float("inf")
        return loss

    monkeypatch.setattr(SegmenterTrainer, "training_step", breaking)
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True, enable_version_counter=False)],
    )  # fmt: skip
    with pytest.raises(DivergedError, match=r"the weight network.head.bias is not a number after 6 steps"):
        trainer.fit(trained, labelled_batches(*squares(), 8, shuffle_seed=0))
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3


# --- data


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999))
def test_degraded_images_stay_in_range_and_in_place(seed: int) -> None:
    images = squares(4)[0].float() / 127.5 - 1
    worse = degrade(images, seeded(seed))
    assert worse.abs().max() <= 1
    assert (worse - images).abs().mean() < 0.35
    # What was bright is still brighter than what was dark, pixel by pixel, on average over each square.
    bright = images > 0
    assert worse[bright].mean() - worse[~bright].mean() > 0.8


def test_images_and_masks_are_mirrored_together() -> None:
    images, masks = squares(8)
    flipped, flipped_masks = mirror(images.float(), masks, seeded(1))
    assert torch.equal(flipped[:, 0] > 100, flipped_masks == 1)
    changed = [not torch.equal(a, b) for a, b in zip(masks, flipped_masks, strict=True)]
    assert any(changed)
    assert not all(changed)


def test_an_epoch_may_show_images_again_in_another_order() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(-1, 3, 4, 4)
    loader = labelled_batches(images, images[:, 0], 4, shuffle_seed=0, least=16)
    shown = torch.cat([masks[:, 0, 0] for _, masks in loader]).tolist()
    assert len(loader) == 4
    assert sorted(shown[:6]) == sorted(shown[6:12]) == list(range(6))
    assert shown[:6] != shown[6:12]
    assert len(set(shown[12:])) == 4


def test_each_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    images = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(-1, 3, 4, 4)
    loader = labelled_batches(images, images[:, 0], 4, shuffle_seed=0)
    orders = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)
        orders.append(torch.cat([masks[:, 0, 0] for _, masks in loader]).tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12))
    assert orders[0] == orders[2] != orders[1]
    values, _ = next(iter(loader))
    assert -1 <= values.min() <= values.max() <= 1
