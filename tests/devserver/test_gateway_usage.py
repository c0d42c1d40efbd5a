"""What a run has used, as the sidecar tells it: the same sums that its client makes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import RunningGateway, running
from ostiary.gateway import GatewayClient, GatewayError, access_from_environment
from ostiary.http import Pool


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with running(tcp=False, demo=True) as server:
        yield server.gateway


def used(gateway: RunningGateway) -> dict[str, Any]:
    with Pool(f"unix://{gateway.sidecar_path}") as pool:
        return json.loads(pool.request("GET", "/usage").read())


def test_the_sums_are_those_of_the_client(gateway: RunningGateway) -> None:
    assert used(gateway) == {}
    with GatewayClient(access_from_environment(gateway.environment)) as client:
        client.chat("one, two, three")
        client.stream_chat("four, five").collect()
        client.embed(["six", "seven"])
        with pytest.raises(GatewayError):
            client.chat("/fail 400")
        total = client.usage.total
        found = used(gateway)
        assert sum(kind["calls"] for kind in found.values()) == client.usage.calls == 3
    assert {name: (kind["calls"], kind["refused"]) for name, kind in found.items()} == {
        "chat": (2, 1),
        "embed": (1, 0),
    }
    assert found["embed"]["completion_tokens"] == 0
    assert found["chat"]["completion_tokens"] == total.completion_tokens > 0
    prompt = found["chat"]["prompt_tokens"] + found["embed"]["prompt_tokens"]
    assert prompt == total.prompt_tokens > 0


def test_the_sidecar_tells_of_its_own_run_alone(gateway: RunningGateway) -> None:
    other = gateway.issue("run_other")
    with GatewayClient(access_from_environment(other.environment)) as client:
        client.chat("not of the default run")
    assert used(gateway) == {}
