"""How far the steps of texts differ."""

from __future__ import annotations

import pytest
import torch

from networks.metrics.mappers import diversity


def test_one_answer_for_all_texts_has_no_diversity() -> None:
    steps = torch.randn(1, 5, 7).expand(3, -1, -1)
    assert diversity(steps) == pytest.approx(0, abs=1e-6)
    assert diversity(steps * torch.tensor([1.0, 2.0, 5.0])[:, None, None]) == pytest.approx(0, abs=1e-6)


def test_opposites_differ_most() -> None:
    step = torch.randn(5, 7)
    assert diversity(torch.stack([step, -step])) == pytest.approx(2, abs=1e-5)
    assert diversity(torch.eye(7)[:3, None]) == pytest.approx(1)


def test_one_text_has_none() -> None:
    with pytest.raises(ValueError, match=r"two texts, \[K, N, D\], got \[1, 5, 7\]"):
        diversity(torch.zeros(1, 5, 7))
