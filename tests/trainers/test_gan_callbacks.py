"""How long a run will take, said once and early."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from trainers.gan_callbacks import Estimate, duration


def sentences(batches: int, seconds: float, total: int = 140_000, seen: int = 0, warm_up: float = 30.0) -> list[str]:
    """What is said after batches of 16 images that take ``seconds`` each, the first of them ``warm_up``."""
    estimate, said, now = Estimate(), [], 0.0
    for i in range(batches):
        now += seconds if i else warm_up
        seen += 16
        said.append(estimate(SimpleNamespace(total_images=total, images_seen=seen), 16, now))
    return [sentence for sentence in said if sentence]


def test_it_is_said_once_and_the_first_batches_do_not_count() -> None:
    assert sentences(100, 16 / 12) == ["about 3 h 14 min for 139696 images at 12 images/s"]
    assert sentences(18, 16 / 12) == []


def test_a_resumed_run_hears_of_the_rest() -> None:
    assert sentences(30, 1.0, seen=139_000) == ["about 44 s for 696 images at 16 images/s"]


def test_a_slow_run_hears_after_a_minute() -> None:
    assert sentences(4, 90.0) == ["about 9 d 2 h for 139936 images at 0.178 images/s"]


def test_a_run_that_is_over_hears_nothing() -> None:
    assert sentences(19, 1.0, total=19 * 16) == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "1 h 0 min"), (12_000, "3 h 20 min"), (200_000, "2 d 7 h")],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
