"""The published sage-sanctum-sdk 0.4.0, unmodified, on a tour of the embedded gateway.

It runs in an environment of its own, as LiteLLM, which it stands on, refuses the openai
package of ours. The first lines of `sage_tour.py` say how it is driven.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import HttpFault, RunningGateway, running
from tests.interop.environment import ROOT, peers_python

# It bounds a hang; to import the SDK takes seconds.
pytestmark = pytest.mark.timeout(180)


class Tour:
    """The process of the SDK."""

    def __init__(self, environment: dict[str, str]) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OSTIARY_", "SAGE_"))}
        # Without it the import asks a host on the internet for prices, and waits.
        kept["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        self._process = subprocess.Popen(
            [peers_python(), str(ROOT / "tests" / "interop" / "sage_tour.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=kept | environment,
            text=True,
        )

    def ask(self, step: str, **arguments: Any) -> Any:
        """Run a step and return its answer, be it a result or an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"step": step, **arguments}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def do(self, step: str, **arguments: Any) -> Any:
        """Run a step that succeeds."""
        answer = self.ask(step, **arguments)
        assert "result" in answer, answer
        return answer["result"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    peers_python()
    with running(tcp=False, demo=True) as server:
        yield server.gateway


@pytest.fixture(scope="module")
def tour(gateway: RunningGateway) -> Iterator[Tour]:
    one = Tour(gateway.environment)
    yield one
    one.close()


def test_it_is_the_one_that_was_published(tour: Tour) -> None:
    assert tour.do("version") == "0.4.0"


def test_the_environment_is_all_it_needs(tour: Tour) -> None:
    assert tour.do("context") == {
        "run_id": "run_local",
        "org_id": "local",
        "healthy": True,
        "analysis": "ostiary:echo",
        "trat": {"run_id": "run_local", "scope": "scan.execute scan.upload"},
    }


def test_invoke(tour: Tour, gateway: RunningGateway) -> None:
    found = tour.do("invoke", prompt="Which lines open sockets?")
    assert found["content"] == "Which lines open sockets?"
    assert found["tool_calls"] == []
    assert found["usage"]["total_tokens"] == (
        found["usage"]["input_tokens"] + found["usage"]["output_tokens"]
    )
    assert {"model", "usage"} <= set(found["metadata"])
    last = gateway.calls()[-1]
    assert (last.status, last.provider, last.model) == (200, "ostiary", "echo")
    assert last.run_id == "run_local"
    assert last.completion_tokens == found["usage"]["output_tokens"]


def test_its_settings_arrive(tour: Tour) -> None:
    short = tour.do("invoke", prompt="one two three four", settings={"max_tokens": 2})
    assert short["content"] == "one two"
    stopped = tour.do("invoke", prompt="one two three four", stop=["three"])
    assert stopped["content"] == "one two "


def test_a_tool_and_its_result(tour: Tour) -> None:
    found = tour.do("conversation")
    assert found["first"]["content"] == ""
    assert found["first"]["tool_calls"] == [
        {"name": "grep", "args": {"pattern": "socket", "limit": 5}}
    ]
    assert found["second"]["content"] == "The tool says: net.py:12"


def test_calls_that_providers_make_hard_for_it(tour: Tour) -> None:
    """Null contents and empty arguments, which would end it with a raw error."""
    assert tour.do("invoke", prompt="/call grep")["tool_calls"] == [{"name": "grep", "args": {}}]
    assert tour.do("invoke", prompt="/null")["content"] == ""
    two = tour.do("invoke", prompt='/call a {"x": 1}\n/call b {"y": "ü"}')["tool_calls"]
    assert two == [{"name": "a", "args": {"x": 1}}, {"name": "b", "args": {"y": "ü"}}]


def test_stream(tour: Tour) -> None:
    """Whole, and over at once: its socket is closed behind the last event."""
    found = tour.do("stream", prompt="one two three 世界 four")
    assert "".join(found["chunks"]) == "one two three 世界 four"
    assert len([chunk for chunk in found["chunks"] if chunk]) >= 5
    assert found["seconds"] < 60
    many = tour.do("stream", prompt="/words 3000")
    assert len("".join(many["chunks"]).split()) == 3000


def test_a_refused_stream_is_told_at_once(tour: Tour) -> None:
    for status, error in (("429", "RateLimitError"), ("502", "GatewayError")):
        assert tour.ask("stream", prompt=f"/fail {status}")["error"] == error


def test_async(tour: Tour) -> None:
    found = tour.do("ainvoke", prompt="both colours")
    assert found["whole"]["content"] == "".join(found["pieces"]) == "both colours"


def test_structured_output(tour: Tour) -> None:
    found = tour.do("structured", prompt='{"verdict": "real", "score": 7}')
    assert found == {"verdict": "real", "score": 7}


def test_embeddings(tour: Tour) -> None:
    found = tour.do("embeddings", texts=["alpha", "beta", "alpha"])
    one, two, again = found["documents"]
    assert one == again == found["query"]
    assert one != two
    assert math.isclose(math.hypot(*one), 1.0)


def test_the_token_comes_from_file_or_sidecar(
    tour: Tour, gateway: RunningGateway, tmp_path: Path
) -> None:
    file, sidecar = str(gateway.trat_file), str(gateway.sidecar_path)
    assert tour.do("trat", file=file) == ["run_local"]
    assert tour.do("trat", sidecar=sidecar, times=2) == ["run_local", "run_local"]
    assert tour.do("trat", file=file, sidecar=sidecar) == ["run_local"]
    # An expired file: the sidecar has a fresh one.
    old = gateway.issue("run_old", trat_ttl=1.0)
    kept = tmp_path / "old.jwt"
    kept.write_text(old.trat.reveal())
    while tour.ask("trat", file=str(kept)).get("error") != "TraTExpiredError":
        pass
    assert tour.do("trat", file=str(kept), sidecar=sidecar) == ["run_local"]
    # The whole way, with the sidecar alone.
    environment = gateway.environment
    assert tour.do("context", without=["TRAT_FILE"])["trat"]["run_id"] == "run_local"
    assert tour.do("invoke", prompt="by the sidecar")["content"] == "by the sidecar"
    tour.do("version", environment=environment)


def test_renewed_tokens_are_found(tour: Tour, gateway: RunningGateway) -> None:
    gateway.rotate()
    assert tour.do("invoke", prompt="again")["content"] == "again"
    gateway.revoke()
    assert tour.do("invoke", prompt="and again")["content"] == "and again"


def test_429_is_retried_after_what_it_says(tour: Tour, gateway: RunningGateway) -> None:
    gateway.faults.add(HttpFault(path="/v1/*", status=429, headers={"Retry-After": "1"}, times=2))
    found = tour.do("invoke", prompt="patience")
    assert found["content"] == "patience"
    assert found["seconds"] >= 2
    for status in (502, 503, 504):
        gateway.faults.add(HttpFault(path="/v1/*", status=status, times=1))
        assert tour.do("invoke", prompt="patience")["content"] == "patience"


def test_refusals_have_its_exit_codes(tour: Tour, gateway: RunningGateway) -> None:
    refused = tour.ask("invoke", prompt="/fail 400")
    assert (refused["error"], refused["exit_code"]) == ("GatewayError", 30)
    assert "invalid_request" in refused["message"]
    gateway.faults.add(HttpFault(path="/v1/*", status=429, times=4, headers={"Retry-After": "0"}))
    refused = tour.ask("invoke", prompt="no patience")
    assert (refused["error"], refused["exit_code"]) == ("RateLimitError", 31)
    unproved = tour.do("raw", method="POST", path="/v1/chat/completions", body={})
    assert unproved["status"] == 401
    assert json.loads(unproved["data"])["error"]["code"] == "svid_missing"


def test_another_run_is_held_to_its_own_list(tour: Tour, gateway: RunningGateway) -> None:
    run = gateway.issue(
        "run_small", allowed_models={"analysis": ["ostiary:echo-mini"]}, trat_ttl=600.0
    )
    environment = gateway.environment
    found = tour.do("context", environment=run.environment, without=["AUTH_SIDECAR_SOCKET"])
    assert found["analysis"] == "ostiary:echo-mini"
    assert tour.do("invoke", prompt="small")["content"] == "small"
    assert gateway.calls()[-1].run_id == "run_small"
    refused = tour.ask("embeddings", texts=["alpha"])
    assert refused["error"] == "GatewayError"
    assert "403" in refused["message"]
    assert gateway.calls()[-1].code == "model_not_allowed"
    tour.do("version", environment=environment)


def test_an_agent_under_its_runner(tour: Tour, gateway: RunningGateway, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import socket\n")
    found = tour.do(
        "agent",
        environment={"REPO_PATH": str(tmp_path), "OUTPUT_PATH": str(tmp_path / "out")},
    )
    assert found["exit_code"] == 0
    (result,) = found["sarif"]["runs"][0]["results"]
    assert result["message"]["text"] == "Is a socket without timeout a problem?"
    tour.do("version", environment=gateway.environment)
