"""The judges of edits learn, and a resumed run ends with the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from networks.attributes import AttributeClassifier
from networks.checkpoints.attributes import Attribute
from networks.identity import IdentityNetwork
from trainers.attributes import AttributeTrainer
from trainers.diverged import DivergedError
from trainers.identity import IdentityTrainer
from trainers.segmenter import labelled_batches
from trainers.supervised import SupervisedTrainer

QUESTIONS = (Attribute("colour", ("red", "green", "blue")), Attribute("bright", ("no", "yes")))


def squares(n: int = 48) -> tuple[Tensor, Tensor]:
    """Squares of three colours, bright or dark: ``uint8 [N, 3, 16, 16]``, labels ``uint8 [N, 2]``."""
    labels = torch.stack([torch.arange(n) % 3, torch.arange(n) // 3 % 2], 1).to(torch.uint8)
    images = torch.full((n, 3, 16, 16), 60, dtype=torch.uint8)
    for image, (colour, bright) in zip(images, labels.tolist(), strict=True):
        image[colour, 4:12, 4:12] = 250 if bright else 140
    return images, labels


def classifier(trunk: str = "dense", total_steps: int = 60) -> AttributeTrainer:
    torch.manual_seed(0)
    return AttributeTrainer(AttributeClassifier(QUESTIONS, 16, trunk, 8), total_steps, lr=1e-2)


def fit(
    module: SupervisedTrainer, images: Tensor, labels: Tensor, folder: Path, epochs: int, checkpoint: Path | None = None
) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, labelled_batches(images, labels, 16, shuffle_seed=0), ckpt_path=checkpoint, weights_only=True)
    return trainer


@pytest.mark.parametrize("trunk", ["dense", "mixer"])
def test_a_classifier_learns(trunk: str, tmp_path: Path) -> None:
    module, (images, labels) = classifier(trunk), squares()
    trainer = fit(module, images, labels, tmp_path, epochs=20)
    trainer.validate(module, labelled_batches(images, labels, 16), verbose=False)
    scores = module.scores()
    assert scores["colour"].accuracy > 0.95
    assert scores["bright"].accuracy > 0.9
    assert scores["colour"].majority == pytest.approx(1 / 3)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    images, labels = squares()
    whole = classifier(total_steps=12)
    fit(whole, images, labels, tmp_path, epochs=4)
    fit(classifier(total_steps=12), images, labels, tmp_path, epochs=2).save_checkpoint(tmp_path / "last.ckpt")
    torch.manual_seed(99)  # nothing may hang on the global state
    resumed = classifier(total_steps=12)
    fit(resumed, images, labels, tmp_path, epochs=4, checkpoint=tmp_path / "last.ckpt")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_an_embedding_learns_to_find_the_same_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    draws = torch.Generator().manual_seed(1)
    first = torch.randint(0, 256, (32, 3, 1, 1), generator=draws, dtype=torch.uint8).expand(-1, -1, 16, 16).contiguous()
    second = first.clone()
    first[:, :, :4], second[:, :, :4] = 0, 255  # what differs within a pair
    module = IdentityTrainer(IdentityNetwork(16, width=8, dim=8), total_steps=80, lr=1e-2)
    trainer = fit(module, first, second, tmp_path, epochs=40)
    trainer.validate(module, labelled_batches(first, second, 16), verbose=False)
    assert module.scores()["rank1"] > 0.8
    assert module.scores()["auc"] > 0.97


def test_a_loss_that_is_no_number_names_the_step(tmp_path: Path) -> None:
    module = classifier()
    with torch.no_grad():
        module.network.heads[0].bias[0] = float("nan")
    with pytest.raises(DivergedError, match="the loss is not a number at step 0"):
        fit(module, *squares(), tmp_path, epochs=1)
