"""Codes to masks: batches, order, devices; and the assessment that is put together from parts."""

from __future__ import annotations

import sys

import pytest
import torch

from networks.metrics.segmentation import SegmentationScore
from networks.segmentation import Assessment, Prediction, assess, head_for, predict, segment_latents
from networks.stylegan2 import Generator

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    made = Generator(16, z_dim=8, w_dim=8, channel_base=128, channel_max=16, mapping_layers=1)
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_every_code_is_rendered_and_segmented_in_order(generator: Generator, batch: int) -> None:
    head, latents = head_for(generator, "linear", 3, members=2).eval(), generator.sample(5, 0)
    images, predictions = zip(*segment_latents(head, generator, latents, batch), strict=True)
    assert [len(image) for image in images] == [len(part) for part in latents.split(batch)]
    image, features = generator.render(latents, features=True)
    torch.testing.assert_close(torch.cat(images), image.clamp(-1, 1))
    torch.testing.assert_close(torch.cat([p.logits for p in predictions]), predict(head, features).logits)
    assert not predictions[0].logits.requires_grad


class Elsewhere:
    """A generator on another device, as far as anyone can tell who does not compute."""

    device = torch.device("meta")

    def __init__(self) -> None:
        self.given: list[torch.device] = []

    def render(self, latent, features=False):
        self.given.append(latent.tensors["ws"].device)
        return torch.zeros(len(latent), 3, 16, 16), {}


def test_head_and_codes_are_taken_to_the_generator_and_stay_where_they_were(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[torch.device] = []

    def spy(head, features):
        heads.append(next(head.parameters()).device)
        return Prediction(torch.zeros(2, 3, 16, 16), torch.zeros(2, 16, 16))

    monkeypatch.setattr(sys.modules["networks.segmentation.predict"], "predict", spy)  # the module, not its function
    head, latents, elsewhere = head_for(generator, "linear", 3).eval(), generator.sample(4, 0), Elsewhere()
    found = list(segment_latents(head, elsewhere, latents, batch=2))
    assert elsewhere.given == heads == [elsewhere.device] * 2
    assert {t.device.type for image, p in found for t in (image, p.logits, p.disagreement)} == {"cpu"}
    assert {p.device.type for p in head.parameters()} == {"cpu"}
    assert latents.tensors["ws"].device.type == "cpu"


def test_parts_are_joined_in_the_order_of_the_whole(generator: Generator) -> None:
    head, latents = head_for(generator, "linear", 3, members=2).eval(), generator.sample(5, 0)
    truth = torch.randint(3, (5, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    whole = assess(head, generator, latents, truth, NAMES)
    parts = [[3, 0], [4, 1], [2]]
    found = Assessment.join(
        [assess(head, generator, latents[part], truth[part], NAMES) for part in parts], [i for p in parts for i in p]
    )
    for name in ("rendered", "uncertainty"):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name))
    assert (found.mask == whole.mask).float().mean() > 0.99  # a batch of another size may round differently
    assert found.score.compute().keys() == whole.score.compute().keys()
    assert isinstance(found.score, SegmentationScore)
    assert found.score.confusion.sum() == truth.numel()
