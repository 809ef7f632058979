"""What is tried again, how often, and how long the pauses are."""

from __future__ import annotations

import time

import pytest

from connector import SchemaError, StoreTimeoutError, StoreUnavailableError
from connector.retry import Retry


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


class Failing:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_retryable_errors_are_tried_again(pauses: list[float]) -> None:
    action = Failing(StoreUnavailableError("a"), StoreTimeoutError("b"))
    assert Retry(attempts=4).call(action) == "done"
    assert action.calls == 3
    assert len(pauses) == 2


def test_the_last_error_is_raised(pauses: list[float]) -> None:
    action = Failing(*[StoreUnavailableError(str(i)) for i in range(9)])
    with pytest.raises(StoreUnavailableError, match="2"):
        Retry(attempts=3).call(action)
    assert action.calls == 3
    assert len(pauses) == 2


@pytest.mark.parametrize("error", [SchemaError("no"), ZeroDivisionError("no")])
def test_other_errors_are_raised_at_once(pauses: list[float], error: Exception) -> None:
    action = Failing(error)
    with pytest.raises(type(error), match="no"):
        Retry().call(action)
    assert action.calls == 1
    assert not pauses


def test_one_attempt_is_no_retry(pauses: list[float]) -> None:
    with pytest.raises(StoreUnavailableError):
        Retry(attempts=1).call(Failing(StoreUnavailableError("a")))
    assert not pauses


def test_pauses_double_up_to_a_limit(pauses: list[float]) -> None:
    policy = Retry(attempts=8, first_seconds=0.1, limit_seconds=1.0)
    limits = [policy.pause_seconds(attempt) for attempt in range(6)]
    assert limits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    policy.call(Failing(*[StoreUnavailableError("a")] * 6))
    assert all(0 <= pause <= limit for pause, limit in zip(pauses, limits, strict=True))
