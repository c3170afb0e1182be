"""Adaptive discriminator augmentation (Karras et al. 2020b, arXiv 2006.06676, appendix B): ``bgc`` and its controller.

Each change happens to an image with probability p, independently of the others. As long as p is below 0.8 or so, the
generator cannot hide the changes in its samples, since the plain image stays the likeliest. p follows how sure the
discriminator is of its training images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from cuda_ops.upfirdn2d import downsample2d, setup_filter, upsample2d
from networks.augment.base import Augment
from networks.augment.resample import sample_image

# The low-pass filter of the symlet with six vanishing moments: what geometry is resampled with.
SYM6 = (0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
        0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
        0.0017677118642428036, -0.007800708325034148)  # fmt: skip
MARGIN = len(SYM6) // 2
# The filter is not symmetric: enlarged with it, a picture lies so many pixels beside its place, and the way back, with
# the filter turned round, expects it there.
LAG = (sum(i * tap for i, tap in enumerate(SYM6)) / sum(SYM6) - (len(SYM6) - 1) / 2) / 2

SHIFT = 0.125        # largest whole-pixel translation and deviation of the other one, as a share of the side
SCALE = 0.2          # deviation of the scale, in octaves
BRIGHTNESS = 0.2     # deviation
CONTRAST = 0.5       # deviation, in octaves
SATURATION = 1.0     # deviation, in octaves


class AdaptiveAugment(Augment):
    """Flips, quarter turns, translations, scalings, rotations and colours, each with probability ``p``.

    ``observe`` moves ``p``, which is a buffer, so that a resumed run goes on with it.
    """

    p: Tensor
    signs: Tensor
    seen: Tensor

    def __init__(
        self,
        target: float = 0.6,            # the mean sign of the logits on training images that p is steered to
        interval: int = 4,              # batches between two moves of p
        full_images: float = 500_000,   # images in which p could go from 0 to 1
        p: float = 0.0,                 # where it begins
    ) -> None:  # fmt: skip
        super().__init__()
        if not 0 <= p <= 1 or not -1 < target < 1 or interval < 1 or full_images <= 0:
            raise ValueError("ADA needs 0 <= p <= 1, -1 < target < 1, interval >= 1 and full_images > 0, got "
                             f"{p}, {target}, {interval}, {full_images}")  # fmt: skip
        self.target, self.interval, self.full_images = target, interval, full_images
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("signs", torch.zeros([]))                      # sum since the last move ...
        self.register_buffer("seen", torch.zeros([], dtype=torch.int64))    # ... over so many images ...
        self.register_buffer("batches", torch.zeros([], dtype=torch.int64))  # ... in so many batches
        self.register_buffer("filter", setup_filter(SYM6), persistent=False)

    @torch.no_grad()
    def observe(self, real_logits: Tensor) -> None:
        """Take note of a batch's logits on training images; move ``p`` when it is time (equation 1, section 3.1)."""
        self.signs += real_logits.sign().flatten(1).mean(1).sum()  # an image counts once, however many logits it has
        self.seen += len(real_logits)
        self.batches += 1
        if int(self.batches) == self.interval:
            step = (self.signs / self.seen - self.target).sign() * self.seen / self.full_images
            self.p.add_(step).clamp_(0, 1)
            for buffer in (self.signs, self.seen, self.batches):
                buffer.zero_()

    def figures(self) -> dict[str, float]:
        return {"ada_p": float(self.p)}

    def forward(self, images: Tensor) -> Tensor:  # [N, C, R, R] -> the same shape
        if not float(self.p):
            return images
        n, channels, size, _ = images.shape
        images = self._resampled(images, _geometry(n, float(self.p), size).to(images.device))
        matrix = _colors(n, float(self.p)).to(images)
        if channels == 3:
            flat = matrix[:, :3, :3] @ images.flatten(2) + matrix[:, :3, 3:]
        else:  # the colours' mean, for pictures without them
            mean = matrix[:, :3].mean(dim=1, keepdim=True)  # [N, 1, 4]
            flat = images.flatten(2) * mean[:, :, :3].sum(dim=2, keepdim=True) + mean[:, :, 3:]
        return flat.view(images.shape)

    def _resampled(self, images: Tensor, inverse: Tensor) -> Tensor:
        """Images under maps of the plane, at twice the resolution and filtered on both ways (appendix B.1).

        Args:
            images: ``[N, C, R, R]``.
            inverse: ``[N, 3, 3]``, from a place in the result to one in the image, in pixels from the centre.
        """
        size = images.shape[-1]
        around = max(size // 2, MARGIN)
        fine = upsample2d(F.pad(images, [around] * 4, mode="reflect"), self.filter)
        wide = size + 2 * MARGIN  # what the filter needs beyond the result's edges
        at = (torch.arange(2 * wide, device=images.device) + 0.5) / 2 - wide / 2 - LAG
        y, x = torch.meshgrid(at, at, indexing="ij")
        places = torch.stack([x, y, torch.ones_like(x)]).flatten(1)  # [3, P]
        found = (inverse[:, :2] @ places).unflatten(2, x.shape).permute(0, 2, 3, 1)  # [N, 2 wide, 2 wide, 2]
        moved = sample_image(fine, (found + LAG) * (2 / (size + 2 * around)))
        return downsample2d(moved, self.filter.flip(0, 1))[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]


def _geometry(n: int, p: float, size: int) -> Tensor:
    """Inverse maps ``[N, 3, 3]`` in pixels from the centre: pixel blits, then general maps (appendix B.2)."""
    turns = 1 - math.sqrt(1 - p)  # two rotations together happen with probability p
    whole = ((torch.rand(n, 2) * 2 - 1) * SHIFT * size).round()
    inverse = torch.eye(3).expand(n, 3, 3)
    for matrix, chance in (
        (_scale(1 - 2 * torch.randint(2, [n]), torch.ones(n)), p),
        (_turn(torch.randint(4, [n]) * (math.pi / 2)), p),
        (_shift(-whole[:, 0], -whole[:, 1]), p),
        (_scale(*[2 ** (-SCALE * torch.randn(n))] * 2), p),
        (_turn((torch.rand(n) * 2 - 1) * math.pi), turns),
        (_stretch(2 ** (SCALE * torch.randn(n))), p),
        (_turn((torch.rand(n) * 2 - 1) * math.pi), turns),
        (_shift(*(-SHIFT * size * torch.randn(2, n))), p),
    ):
        inverse = inverse @ _perhaps(matrix, chance)
    return inverse


def _colors(n: int, p: float) -> Tensor:
    """Maps of colours, ``[N, 4, 4]``: brightness, contrast, luma flip, hue, saturation (appendix B.2)."""
    grey = torch.tensor([1.0, 1.0, 1.0, 0.0]) / math.sqrt(3)
    onto_grey, eye = torch.outer(grey, grey), torch.eye(4)
    brighter = eye.repeat(n, 1, 1)
    brighter[:, :3, 3] = BRIGHTNESS * torch.randn(n, 1)
    contrast = torch.diag_embed(torch.cat([(2 ** (CONTRAST * torch.randn(n, 1))).expand(-1, 3), torch.ones(n, 1)], 1))
    flip = eye - 2 * onto_grey * torch.randint(2, [n]).view(-1, 1, 1)
    saturation = onto_grey + (eye - onto_grey) * (2 ** (SATURATION * torch.randn(n))).view(-1, 1, 1)
    saturation[:, 3, 3] = 1.0
    total = eye.expand(n, 4, 4)
    for matrix in (brighter, contrast, flip, _turn_hue((torch.rand(n) * 2 - 1) * math.pi), saturation):
        total = _perhaps(matrix, p) @ total
    return total


def _perhaps(matrix: Tensor, chance: float) -> Tensor:
    """Each of the matrices ``[N, k, k]`` with this probability, else the identity."""
    return torch.where(torch.rand(len(matrix), 1, 1) < chance, matrix, torch.eye(matrix.shape[-1]))


def _matrix(rows: list[list[Tensor | float]], n: int) -> Tensor:
    entries = [torch.as_tensor(entry, dtype=torch.float32).expand(n) for row in rows for entry in row]
    return torch.stack(entries, dim=1).view(n, len(rows), len(rows))


def _scale(x: Tensor, y: Tensor) -> Tensor:
    return _matrix([[x, 0, 0], [0, y, 0], [0, 0, 1]], len(x))


def _stretch(x: Tensor) -> Tensor:
    return _scale(1 / x, x)


def _shift(x: Tensor, y: Tensor) -> Tensor:
    return _matrix([[1, 0, x], [0, 1, y], [0, 0, 1]], len(x))


def _turn(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return _matrix([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], len(angle))


def _turn_hue(angle: Tensor) -> Tensor:
    """Rotations about the grey axis (Rodrigues' formula)."""
    cos, sin, third = angle.cos(), angle.sin() / math.sqrt(3), (1 - angle.cos()) / 3
    a, b, c = cos + third, third - sin, third + sin
    return _matrix([[a, b, c, 0], [c, a, b, 0], [b, c, a, 0], [0, 0, 0, 1]], len(angle))
