"""Training of a small CLIP (``networks/clip/avatar.py``) on images with many captions each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from networks.clip.avatar import AvatarClip
from networks.clip.contrastive import contrastive_loss
from trainers.supervised import SupervisedTrainer
from trainers.views import view


@dataclass(frozen=True)
class Captions:
    """The captions of N images by the features of a frozen text tower, each text once."""

    features: Tensor    # float16 [T, F]
    claims: Tensor      # bool [T, K]: what each text claims
    own: Tensor         # int64 [N, C]: texts of each image; the first says everything
    contrasts: Tensor   # int64 [N, C]: the same texts with one thing changed, false of the image
    false: Tensor       # bool [N, K]: claims that are false of each image


class ClipTrainer(SupervisedTrainer):
    """InfoNCE between mirrored, degraded images and some of their captions: one says everything, the others a little.

    An image is encoded once for all its captions, since texts cost next to nothing here.

    Batches are images and their numbers in ``captions``.

    Raises:
        DivergedError: when the loss is not a number, naming the step.
    """

    def __init__(
        self,
        network: AvatarClip,         # the network to train
        captions: Captions,          # of the images
        total_steps: int,            # length of the run, in batches
        seed: int = 0,               # of the augmentation, and of which caption comes when
        lr: float = 3e-3,            # AdamW's peak rate
        weight_decay: float = 0.01,  # AdamW's decay
        shorts: int = 4,             # short captions of an image in a step, beside the one that says everything
        jitter: float = 0.0,         # how far images are shifted, turned and scaled, see trainers/views.py
    ) -> None:
        super().__init__(total_steps, seed, lr, weight_decay)
        self.network, self.shorts, self.jitter = network, shorts, jitter
        for name in ("features", "claims", "own", "contrasts", "false"):   # where the network is; not in checkpoints
            self.register_buffer(name, getattr(captions, name), persistent=False)
        self.seen: list[Tensor] = []   # image vectors of the last validation

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, rows = batch
        draws = self.draws()
        vectors = self.network.encode_images(view(images, draws, self.jitter))
        each = self.own.shape[1]
        short = torch.randint(1, each, (self.shorts, len(rows)), generator=draws, device=rows.device)
        losses = [self._loss(vectors, rows, which) for which in (torch.zeros_like(rows), *short)]
        return self.checked(torch.stack(losses).mean())

    def _loss(self, vectors: Tensor, rows: Tensor, which: Tensor) -> Tensor:
        """With caption ``which[i]`` of image ``rows[i]``."""
        own, contrasts = self.own[rows, which], self.contrasts[rows, which]
        said = self.network.encode_text_features(self.features[torch.cat([own, contrasts])])
        false = self.false[rows].float()   # [B, K]
        own_false, contrast_false = (false @ self.claims[texts].float().T > 0 for texts in (own, contrasts))
        return contrastive_loss(vectors, *said.chunk(2), own_false, contrast_false, self.network.scale)

    def on_validation_epoch_start(self) -> None:
        self.seen = []

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.seen.append(self.network.encode_images(batch[0]).cpu())

    def image_vectors(self) -> Tensor:
        """Of the last validation's images, ``[N, dim]`` on the CPU."""
        return torch.cat(self.seen)
