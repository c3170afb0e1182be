"""The learning rate over a run."""

from __future__ import annotations

import pytest

from trainers.schedule import warm_up_then_cosine


@pytest.mark.parametrize("total", [1, 7, 100, 1280])
def test_the_rate_warms_up_and_ends_at_nothing(total: int) -> None:
    rates = [warm_up_then_cosine(step, total) for step in range(total + 1)]
    top = rates.index(max(rates))
    assert 0 < rates[0] <= rates[top] <= 1
    assert top <= 0.05 * total
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[total] == warm_up_then_cosine(total + 3, total) == pytest.approx(0)


def test_the_first_twentieth_rises_evenly() -> None:
    assert [warm_up_then_cosine(step, 100) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
