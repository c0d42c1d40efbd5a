"""What a call raises is the gateway's error and LangChain's, whole on both sides."""

from __future__ import annotations

import inspect
import pickle

import pytest

pytest.importorskip("langchain_core", reason="the extra langchain is not installed")

from langchain_core.exceptions import ContextOverflowError, LangChainException, ModelError

from ostiary import errors as shared
from ostiary.gateway import errors
from ostiary.gateway.llm.faults import FAULTS, lifted

CALLS = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if cls.__module__ == errors.__name__
    and issubclass(cls, (errors.GatewayAPIError, errors.AuthError, errors.ForbiddenError))
]


@pytest.mark.parametrize(("ours", "both"), FAULTS.items(), ids=lambda cls: cls.__name__)
def test_a_pair_is_both_and_travels(
    ours: type[errors.SageSanctumError], both: type[errors.SageSanctumError]
) -> None:
    error = ours("what happened")
    error.exit_code = 99
    found = lifted(error)
    assert type(found) is both
    assert isinstance(found, ours)
    assert isinstance(found, ModelError)
    assert str(found) == "what happened"
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is both
    assert again.__dict__ == found.__dict__ == error.__dict__ | found.__dict__


@pytest.mark.parametrize("ours", CALLS, ids=lambda cls: cls.__name__)
def test_every_refusal_is_the_nearest_of_langchains(ours: type[errors.SageSanctumError]) -> None:
    found = lifted(ours("no"))
    assert isinstance(found, ours)
    # These have no condition that LangChain has a class for.
    without = {
        "ForbiddenError",
        "GatewayAPIError",
        "GatewayConflictError",
        "GatewayGoneError",
        "GatewayLockedError",
        "GatewayMethodNotAllowedError",
        "ScopeNotAuthorizedError",
    }
    assert isinstance(found, LangChainException) == (ours.__name__ not in without)


def test_shared_errors_become_ours_first() -> None:
    found = lifted(shared.DeadlineError("too long", sent=True))
    assert isinstance(found, errors.GatewayDeadlineError)
    assert isinstance(found, TimeoutError)
    assert isinstance(found, ModelError)
    assert found.sent


def test_a_prompt_that_is_too_long_is_known_by_its_word() -> None:
    found = lifted(errors.GatewayBadRequestError("no", code="context_length_exceeded"))
    assert isinstance(found, ContextOverflowError)
    assert isinstance(found, errors.GatewayBadRequestError)


def test_what_langchain_has_no_class_for_stays() -> None:
    error = errors.ConfigurationError("set it")
    assert lifted(error) is error
