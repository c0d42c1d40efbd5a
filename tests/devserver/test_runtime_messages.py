"""Messages wait for agents, once, for as long as they live; channels answer who is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ostiary.devserver import RunningVault, running
from tests.devserver.api import Api
from tests.devserver.wire import Hands


@pytest.fixture
def server(hands: Hands) -> Iterator[RunningVault]:
    with running(demo=True, tcp=False, clock=hands.clock()) as one:
        yield one


@pytest.fixture
def api(server: RunningVault) -> Api:
    return Api(server)


def send(api: Api, payload: Any, **more: Any) -> str:
    body = {"sender": "me", "payload": payload, **more}
    status, answer = api.post("agents/agent-123/messages", body)
    assert (status, answer["status"]) == (201, "pending")
    found: str = answer["message_id"]
    return found


def test_a_message_is_fetched_once_and_in_order(api: Api) -> None:
    first, second = send(api, "hi"), send(api, {"n": None}, topic="news", agentpin_jwt=None)
    assert api.get("metrics")[1]["messages_waiting"] == 2
    assert api.get(f"messages/{first}/status")[1] == {"message_id": first, "status": "pending"}
    found = api.get("agents/agent-123/messages")[1]["messages"]
    assert [one["message_id"] for one in found] == [first, second]
    assert found[0] == {
        "message_id": first,
        "sender": "me",
        "recipient": "agent-123",
        "topic": None,
        "payload": "hi",
        "message_type": "direct",
        "timestamp_secs": 1_900_000_000,
        "ttl_seconds": 300,
    }
    assert (found[1]["message_type"], found[1]["payload"]) == ("publish", {"n": None})
    assert api.get("agents/agent-123/messages")[1] == {"messages": []}
    assert api.get(f"messages/{first}/status")[1]["status"] == "delivered"


def test_messages_expire(api: Api, hands: Hands) -> None:
    short, long = send(api, "a", ttl_seconds=10), send(api, "b", ttl_seconds=10**6)
    hands.forward(10)
    assert api.get(f"messages/{short}/status")[1]["status"] == "expired"
    (kept,) = api.get("agents/agent-123/messages")[1]["messages"]
    assert (kept["message_id"], kept["ttl_seconds"]) == (long, 24 * 3600)
    assert api.get(f"messages/{short}/status")[1]["status"] == "expired"


def test_a_full_queue_makes_room_for_what_expired(api: Api, hands: Hands) -> None:
    for number in range(1_000):
        send(api, number, ttl_seconds=5)
    body = {"sender": "me", "payload": 1}
    status, answer = api.post("agents/agent-123/messages", body)
    assert (status, answer["code"]) == (409, "QUEUE_FULL")
    hands.forward(5)
    last = send(api, "last")
    (found,) = api.get("agents/agent-123/messages")[1]["messages"]
    assert found["message_id"] == last


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"payload": 1}, 422),
        ({"sender": "", "payload": 1}, 422),
        ({"sender": "me", "payload": 1, "ttl_seconds": 0}, 422),
        ({"sender": "me", "payload": "x" * 256 * 1024}, 413),
        ({"sender": "me", "payload": 1, "agentpin_jwt": "x"}, 401),
    ],
    ids=["no-sender", "empty-sender", "no-life", "long", "proof"],
)
def test_refused_messages(api: Api, body: Any, status: int) -> None:
    assert api.post("agents/agent-123/messages", body)[0] == status
    assert api.get("agents/agent-123/messages")[1] == {"messages": []}


def test_unknown_recipients_and_messages(api: Api) -> None:
    body = {"sender": "me", "payload": 1}
    assert api.post("agents/who/messages", body)[1]["code"] == "AGENT_NOT_FOUND"
    assert api.get("agents/who/messages")[1]["code"] == "AGENT_NOT_FOUND"
    assert api.get("messages/who/status")[1]["code"] == "MESSAGE_NOT_FOUND"


def test_a_new_agent_does_not_get_the_old_ones_messages(api: Api) -> None:
    body = {"id": "a", "name": "n"}
    api.post("agents", body)
    sent = api.post("agents/a/messages", {"sender": "me", "payload": 1})[1]
    api.delete("agents/a")
    api.post("agents", body)
    assert api.get("agents/a/messages")[1] == {"messages": []}
    assert api.get(f"messages/{sent['message_id']}/status")[1]["status"] == "expired"


# -- channels -----------------------------------------------------------------


def register(api: Api, **more: Any) -> Any:
    body = {"name": "team", "platform": "slack", "config": {"agent": "agent-123"}} | more
    status, channel = api.post("channels", body)
    assert status == 201, channel
    return channel


def test_a_channel_answers_the_users_it_knows(api: Api, hands: Hands) -> None:
    channel = register(api)
    path = f"channels/{channel['id']}"
    assert api.get("channels")[1] == [
        {"id": channel["id"], "name": "team", "platform": "slack", "status": "stopped"}
    ]
    post = {"user_id": "U1", "text": "hello"}
    assert api.post(f"{path}/messages", post)[1]["code"] == "CHANNEL_STOPPED"
    started = {"id": channel["id"], "action": "start", "status": "running"}
    assert api.post(f"{path}/start") == (200, started)
    assert api.post(f"{path}/messages", post)[1]["code"] == "USER_UNKNOWN"
    mapping = {"platform_user_id": "U1", "symbiont_user_id": "bob", "roles": ["user"]}
    status, known = api.post(f"{path}/mappings", mapping)
    assert status == 201
    assert known.keys() == {
        *("platform_user_id", "platform", "symbiont_user_id", "email", "display_name"),
        *("roles", "verified", "created_at"),
    }
    assert api.get(f"{path}/mappings")[1] == [known]
    answer = api.post(f"{path}/messages", post)[1]
    assert (answer["agent_id"], answer["response"]) == ("agent-123", "hello")
    hands.forward(5)
    health = api.get(f"{path}/health")[1]
    assert (health["connected"], health["uptime_secs"]) == (True, 5)
    entries = api.get(f"{path}/audit?limit=2")[1]["entries"]
    assert [one["event_type"] for one in entries] == ["message.received", "mapping.added"]
    assert "hello" not in str(api.get(f"{path}/audit")[1])
    assert api.delete(f"{path}/mappings/U1")[1] == {"platform_user_id": "U1", "deleted": True}
    assert api.delete(f"{path}/mappings/U1")[1]["code"] == "MAPPING_NOT_FOUND"
    assert api.post(f"{path}/stop")[1]["status"] == "stopped"
    assert api.get(f"{path}/health")[1]["connected"] is False
    assert api.delete(path) == (200, {"id": channel["id"], "deleted": True})
    assert api.get(path)[1]["code"] == "CHANNEL_NOT_FOUND"


def test_a_channel_is_changed(api: Api) -> None:
    path = f"channels/{register(api)['id']}"
    changed = api.put(path, {"name": "crew", "config": {"agent": "Sample agent"}})[1]
    assert (changed["name"], changed["config"]) == ("crew", {"agent": "Sample agent"})
    assert api.post(f"{path}/start")[0] == 200
    api.put(path, {"config": {"agent": "who"}})
    assert api.post(f"{path}/start")[1]["code"] == "CHANNEL_WITHOUT_AGENT"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"platform": "pigeon"}, 422),
        ({"name": ""}, 422),
        ({"config": {"bot_token": "xoxb-1"}}, 422),
        ({}, 409),
    ],
    ids=["platform", "name", "secret", "again"],
)
def test_refused_channels(api: Api, change: Any, status: int) -> None:
    register(api)
    body = {"name": "team", "platform": "slack", "config": {}} | change
    assert api.post("channels", body)[0] == status
    assert "xoxb" not in str(api.get("channels")[1])
