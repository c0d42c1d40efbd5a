"""Connections that misbehave: split, flood, stall, never say who they are."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver import RunningVault, running
from tests.devserver.conftest import Connect, key_of
from tests.devserver.wire import Hands, Refused, Wire, wire


def frame(id: int, method: str, **params: Any) -> bytes:
    body = json.dumps({"id": id, "method": method, "params": params}).encode()
    return struct.pack(">I", len(body)) + body


def test_every_split(connect: Connect) -> None:
    one = connect("demo")
    data = frame(11, "list") + frame(12, "retrieve", path="maps/token") + frame(13, "lease_status")
    for cut in range(len(data) + 1):
        one.sock.sendall(data[:cut])
        one.sock.sendall(data[cut:])
        assert [one.receive()["id"] for _ in range(3)] == [11, 12, 13]
    for at in range(len(data)):
        one.sock.sendall(data[at : at + 1])
    assert [one.receive()["id"] for _ in range(3)] == [11, 12, 13]


def test_a_flood_that_nobody_reads(vault: RunningVault, connect: Connect) -> None:
    """The server stops reading: what it holds for one peer is bounded."""
    for number in range(10):
        vault.put(f"long/{number}", "x", description="d" * 10_000)
    one = connect("demo")
    count = 20_000  # 2 GB of answers, were they all made
    data = b"".join(frame(id, "list") for id in range(1, count + 1))
    one.sock.setblocking(False)
    sent = 0
    stalled = 0
    while sent < len(data) and stalled < 20:
        try:
            sent += one.sock.send(data[sent : sent + 65536])
            stalled = 0
        except BlockingIOError:
            stalled += 1
            time.sleep(0.01)
    assert sent < len(data) // 2, "the server took far more than it could have answered"
    # Others are served meanwhile, and what was taken is answered in order.
    assert connect("demo").retrieve("maps/token")
    recorded = len(vault.admin.audit(limit=10_000, action="list"))
    assert recorded < 500
    one.sock.setblocking(True)
    one.sock.settimeout(30)
    for id in range(1, 101):
        assert one.receive()["id"] == id


def test_a_pipelining_peer_that_reads_gets_everything(connect: Connect) -> None:
    one = connect("demo")
    count = 5_000
    data = b"".join(
        frame(id, "use", path="hook/key", operation="sign", params={"data": str(id)})
        for id in range(1, count + 1)
    )
    sender = threading.Thread(target=one.sock.sendall, args=(data,))
    sender.start()
    assert [one.receive()["id"] for _ in range(count)] == list(range(1, count + 1))
    sender.join()


def test_half_closed(connect: Connect) -> None:
    one = connect("demo")
    one.sock.sendall(frame(21, "list") + frame(22, "list"))
    one.sock.shutdown(socket.SHUT_WR)
    assert [one.receive()["id"] for _ in range(2)] == [21, 22]
    assert one.at_end()


def test_cut_off_in_a_frame(vault: RunningVault, connect: Connect) -> None:
    one = connect("demo")
    one.retrieve("maps/token")
    one.sock.sendall(frame(21, "list")[:-3])
    one.close()
    for _ in range(500):
        if vault.admin.status().sessions == 0:
            break
        time.sleep(0.01)
    assert vault.admin.lease_list() == []


def test_an_announced_frame_is_not_allocated(connect: Connect) -> None:
    one = connect()
    one.sock.sendall(b"\xff\xff\xff\xff")
    assert one.receive()["id"] == 0
    assert one.at_end()


def test_a_stranger_may_not_fill_memory(connect: Connect) -> None:
    one = connect(tcp=True)
    one.sock.sendall(struct.pack(">I", 4_000_000) + b"x" * 200_000)
    answer = one.receive()
    assert answer["error"]["code"] == "AUTH_FAILED"
    assert one.at_end()


def test_strangers_are_sent_away(vault: RunningVault, connect: Connect, hands: Hands) -> None:
    silent, asking, tcp = connect(), connect(), connect(tcp=True)
    asking.call("authenticate", agent_name="demo")
    known, owner = connect("demo"), connect()
    owner.call("admin.status")
    hands.forward(29)
    late = connect()
    hands.forward(2)
    for stranger in (silent, asking, tcp):
        assert stranger.at_end()
    # Those who said who they are may be silent for longer, and `late` has time left.
    assert known.list()
    assert owner.call("admin.status")["sessions"] == 1
    late.login("demo", key_of(vault, "demo"))


def test_connections_are_bounded() -> None:
    with running(max_connections=3) as vault:
        key = vault.add_agent("demo")
        crowd = [Wire(vault.socket_path).login("demo", key) for _ in range(3)]
        try:
            with wire(vault.socket_path) as late:
                answer = late.receive()
                assert answer["error"]["code"] == "RATE_LIMITED"
                assert answer["error"]["context"]["retry_after"] > 0
                assert late.at_end()
            assert crowd[0].list() == []
            crowd.pop().close()
            for _ in range(500):
                try:
                    with wire(vault.socket_path) as later:
                        later.login("demo", key)
                    break
                except (Refused, AssertionError, OSError):
                    time.sleep(0.01)
            else:
                pytest.fail("a free place was not given away")
        finally:
            for one in crowd:
                one.close()


def test_administration_is_the_owners(
    vault: RunningVault, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcp = connect("demo", tcp=True)
    for method in ("admin.status", "admin.get", "admin.lock", "admin.put"):
        with pytest.raises(Refused) as caught:
            tcp.call(method, path="maps/token", value="00")
        assert caught.value.code == "ACCESS_DENIED"
    assert connect().call("admin.status")["locked"] is False
    monkeypatch.setattr("ostiary.devserver.listener.peer_uid", lambda _: 4242)
    stranger = connect("demo")
    with pytest.raises(Refused) as caught:
        stranger.call("admin.get", path="maps/token")
    assert caught.value.code == "ACCESS_DENIED"
    assert stranger.retrieve("maps/token")["value"] == "6869"


def test_unknown_params_are_passed_over(connect: Connect) -> None:
    one = connect("demo")
    assert one.call("retrieve", path="maps/token", trace="x", nested={"a": [1]})["lease_id"]
    id = one.send("list", {}, jsonrpc="2.0", extra=None)
    assert one.receive()["id"] == id


@pytest.mark.parametrize("params", [b"null", b"{}", b"[]"])
def test_empty_params(connect: Connect, params: bytes) -> None:
    one = connect("demo")
    one.send_raw(b'{"id":5,"method":"list","params":' + params + b"}")
    assert one.receive()["result"]["credentials"]
    one.send_raw(b'{"id":6,"method":"list"}')
    assert one.receive()["id"] == 6


def test_text_in_either_spelling(vault: RunningVault, connect: Connect) -> None:
    vault.put("straße/€", "grün")
    one = connect("demo")
    for ascii_only in (True, False):
        body = json.dumps(
            {"id": 5, "method": "retrieve", "params": {"path": "straße/€"}},
            ensure_ascii=ascii_only,
        )
        one.send_raw(body.encode())
        assert bytes.fromhex(one.receive()["result"]["value"]).decode() == "grün"


@pytest.mark.parametrize("path", ["", "x" * 513])
def test_paths_that_are_none(connect: Connect, path: str) -> None:
    one = connect("demo")
    with pytest.raises(Refused) as caught:
        one.retrieve(path)
    assert caught.value.code == "INVALID_REQUEST"
    assert one.list()


def test_half_a_character_is_no_json(connect: Connect) -> None:
    one = connect("demo")
    one.send("retrieve", {"path": "\ud800"})
    assert one.receive()["error"]["code"] == "INVALID_REQUEST"
    assert one.at_end()


def test_when_the_record_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret goes out that is not on record, then or later."""
    from ostiary.devserver.store import Store

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with running(tmp_path / "home") as vault:
        vault.put("maps/token", "hi")
        key = vault.add_agent("demo")
        with wire(vault.socket_path) as one, wire(vault.socket_path) as other:
            one.login("demo", key)
            other.login("demo", key)
            with monkeypatch.context() as patch:
                patch.setattr(Store, "log", full)
                one.send("retrieve", {"path": "maps/token"})
                with pytest.raises(EOFError) as caught:
                    one.receive()
                assert caught.value.args == (b"",)
            with pytest.raises(Refused) as refused:
                other.retrieve("maps/token")
            assert refused.value.code == "INTERNAL_ERROR"
    with running(tmp_path / "home") as vault:
        assert vault.admin.audit_verify().valid
        assert vault.admin.audit(action="retrieve") == []


def test_many_agents_at_once(vault: RunningVault) -> None:
    names = [f"agent-{number}" for number in range(20)]
    for name in names:
        vault.add_agent(name)
    problems: list[object] = []

    def work(name: str) -> None:
        try:
            with wire(vault.socket_path) as one:
                one.login(name, key_of(vault, name))
                for _ in range(20):
                    granted = one.retrieve("maps/token")
                    assert granted["value"] == "6869"
                    assert one.use("hook/key", "sign", data="ping")["signature"].startswith("PaMP2")
                    one.release(granted["lease_id"])
        except BaseException as error:  # noqa: BLE001 - shown below
            problems.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert vault.admin.lease_list() == []
    assert vault.admin.status().leases_granted == 400
    assert vault.admin.audit_verify().valid
