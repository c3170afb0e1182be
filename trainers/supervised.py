"""What trainers of small feed-forward networks share: AdamW with one cosine, draws by the step, checks of the loss."""

from __future__ import annotations

from functools import partial

import pytorch_lightning as pl
import torch
from torch import Tensor

from trainers.diverged import stop_if_broken, stop_if_not_a_number
from trainers.schedule import warm_up_then_cosine


class SupervisedTrainer(pl.LightningModule):
    """Subclasses give ``training_step``, which takes its draws from :meth:`draws` and ends with :meth:`checked`.

    Every random draw follows from ``(seed, step)``, so a resumed run goes on as if it had never stopped.
    """

    loss: Tensor  # of the last step

    def __init__(
        self,
        total_steps: int,            # length of the run, in batches
        seed: int = 0,               # of the augmentation
        lr: float = 3e-3,            # AdamW's peak rate
        weight_decay: float = 0.01,  # AdamW's decay
    ) -> None:
        super().__init__()
        self.total_steps, self.seed, self.lr, self.weight_decay = total_steps, seed, lr, weight_decay

    @property
    def steps_taken(self) -> int:
        """Of the whole run."""
        return self.global_step

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warm_up_then_cosine, total=self.total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def draws(self) -> torch.Generator:
        """The random numbers of this step."""
        return torch.Generator(device=self.device).manual_seed((self.seed << 32) + self.global_step)

    def checked(self, loss: Tensor) -> Tensor:
        """The loss of this step, if it is a number.

        Raises:
            DivergedError: if not, naming the step.
        """
        self.loss = loss.detach()
        stop_if_not_a_number({"the loss": self.loss}, f"at step {self.global_step}")
        return loss

    def on_train_epoch_end(self) -> None:  # before Lightning writes its checkpoint
        stop_if_broken(self, f"after {self.global_step} steps")
