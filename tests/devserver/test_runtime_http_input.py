"""HTTP inputs of the runtime: set up over the API, called over sockets of their own."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils

from ostiary.devserver import RunningVault, running
from ostiary.devserver.options import RuntimeOptions
from ostiary.secret import Secret
from tests.devserver.api import Api
from tests.devserver.web import Reply, Web

KEY = "Bearer the-inputs-own-key"


@pytest.fixture(scope="module")
def vault() -> Iterator[RunningVault]:
    with running(tcp=False, runtime=RuntimeOptions(port=None)) as server:
        yield server


@pytest.fixture(scope="module")
def api(vault: RunningVault) -> Api:
    api = Api(vault)
    for name in ("front", "sales", "support"):
        assert api.post("agents", {"id": name, "name": name})[0] == 201
    return api


class Input:
    """One HTTP input under test."""

    def __init__(self, api: Api, server_id: str) -> None:
        self._api = api
        self.server_id = server_id
        self.path = f"http-input/servers/{server_id}"

    def start(self) -> str:
        status, started = self._api.post(f"{self.path}/start")
        assert (status, started["status"]) == (200, "running"), started
        return str(started["url"])

    @property
    def info(self) -> Any:
        return self._api.get(self.path)[1]

    @property
    def metrics(self) -> Any:
        return self._api.get(f"{self.path}/metrics")[1]

    @property
    def address(self) -> tuple[str, int]:
        config = self.info["config"]
        return config["bind_address"], config["port"]

    def send(
        self,
        document: Any = None,
        path: str = "/webhook",
        *,
        method: str = "POST",
        key: str | None = KEY,
        headers: dict[str, str | None] | None = None,
        **more: Any,
    ) -> Reply:
        with Web(self.address) as web:
            sent: dict[str, str | None] = {"Authorization": key, **(headers or {})}
            return web.call(method, path, document, headers=sent, **more)


Make = Callable[..., Input]


@pytest.fixture
def make(api: Api) -> Iterator[Make]:
    """`make(**config)` creates and starts an input for agent `front` on a free port."""
    made: list[Input] = []

    def make(*, start: bool = True, **config: Any) -> Input:
        config = {"agent_id": "front", "port": 0, "auth_header": KEY, **config}
        status, created = api.post("http-input/servers", {"config": config})
        assert status == 201, created
        made.append(Input(api, created["server_id"]))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for one in made:
        api.delete(one.path)


# --- from created to deleted


def test_an_input_is_created_started_stopped_and_deleted(api: Api, make: Make) -> None:
    one = make(start=False)
    assert one.info["status"] == "stopped"
    assert one.info in api.get("http-input/servers")[1]
    url = one.start()
    info = one.info
    assert (info["status"], info["url"]) == ("running", url)
    assert url == f"http://127.0.0.1:{info['config']['port']}/webhook"
    assert one.start() == url
    reply = one.send({"prompt": "hello"})
    assert reply.status == 200
    assert reply.document["response"] == "hello"
    assert one.info["requests_processed"] == 1

    address = one.address
    assert api.post(f"{one.path}/stop") == (
        200,
        {"server_id": one.server_id, "status": "stopped"},
    )
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    assert one.info["status"] == "stopped"
    assert api.post(f"{one.path}/stop")[0] == 200
    assert one.start().startswith("http://127.0.0.1:")
    assert one.send({"prompt": "again"}).status == 200
    assert one.metrics["requests_total"] == 2

    address = one.address
    assert api.delete(one.path) == (200, {"server_id": one.server_id, "status": "deleted"})
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for method, path in (
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/start"),
        ("POST", "/stop"),
        ("POST", "/trigger"),
        ("GET", "/metrics"),
    ):
        document = {"config": {}, "payload": {}} if method in {"PUT", "POST"} else None
        status, refused = api.ask(method, one.path + path, document)
        assert (status, refused["code"]) == (404, "HTTP_INPUT_NOT_FOUND")


@pytest.mark.parametrize("asked", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_it_listens_on_loopback_whatever_is_asked(make: Make, asked: str) -> None:
    one = make(bind_address=asked)
    assert one.address[0] == "127.0.0.1"
    assert one.info["config"]["bind_address"] == "127.0.0.1"


def test_what_the_original_client_sends_is_taken(api: Api) -> None:
    """All its members, with null where nothing was given."""
    config = {
        "bind_address": "0.0.0.0",
        "port": 0,
        "path": "/webhook",
        "agent_id": "front",
        "auth_header": None,
        "jwt_public_key_path": None,
        "max_body_bytes": 65536,
        "concurrency": 10,
        "routing_rules": None,
        "response_control": None,
        "forward_headers": [],
        "cors_enabled": False,
        "audit_enabled": True,
    }
    status, created = api.post("http-input/servers", {"config": config})
    assert status == 201
    assert set(config) <= set(created["config"])
    body = {"server_id": created["server_id"], "config": {**config, "concurrency": 2}}
    path = f"http-input/servers/{created['server_id']}"
    assert api.put(path, body)[1]["config"]["concurrency"] == 2
    assert api.put(path, {**body, "server_id": "another"})[0] == 422
    assert api.delete(path)[0] == 200


def test_the_newer_servers_words_are_read_too(make: Make) -> None:
    rules = [
        {"condition": {"HeaderEquals": ["X-Team", "sales"]}, "agent": "sales"},
        {"condition": {"PathPrefix": "/webhook/support"}, "agent": "support"},
    ]
    one = make(
        agent_id=None, agent="front", routing_rules=rules, cors_origins=["http://localhost:5000"]
    )
    config = one.info["config"]
    assert config["agent_id"] == "front"
    assert config["cors_enabled"] is True
    assert config["routing_rules"][0] == {
        "condition_type": "header_equals",
        "condition_value": "sales",
        "condition_target": "X-Team",
        "agent_id": "sales",
    }
    assert one.send({}, headers={"X-Team": "sales"}).document["agent_id"] == "sales"
    assert one.send({}, "/webhook/support/1").document["agent_id"] == "support"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"agent_id": ""}, "agent_id"),
        ({"port": 65536}, "port"),
        ({"path": "webhook"}, "path"),
        ({"path": "/a/../b"}, "path"),
        ({"path": "/a?b"}, "path"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"concurrency": 0}, "concurrency"),
        ({"auth_header": "two\nlines"}, "auth_header"),
        ({"auth_header": "[redacted]"}, "auth_header"),
        ({"forward_headers": ["Authorization"]}, "forward_headers"),
        ({"forward_headers": ["a b"]}, "forward_headers"),
        ({"cors_origins": ["*"]}, "cors_origins"),
        ({"response_control": {"error_status": 200}}, "response_control.error_status"),
        ({"response_control": {"default_status": 204}}, "response_control.default_status"),
        ({"routing_rules": [{"condition_type": "path_prefix"}]}, "routing_rules[0].agent_id"),
        (
            {"routing_rules": [{"condition_type": "header_equals", "agent_id": "front"}]},
            "routing_rules[0].condition_target",
        ),
        ({"routing_rules": [{"condition": {"X": 1}}]}, "routing_rules[0].condition"),
        ({"jwt_public_key_path": "/nonexistent.pem"}, "jwt_public_key_path"),
    ],
    ids=str,
)
def test_what_is_no_input_is_refused(api: Api, change: dict[str, Any], field: str) -> None:
    status, refused = api.post("http-input/servers", {"config": {"agent_id": "front", **change}})
    assert status == 422
    assert refused["details"]["field"] == f"config.{field}"


def test_its_agents_must_exist(api: Api) -> None:
    rule = {"condition_type": "path_prefix", "condition_value": "/", "agent_id": "nobody"}
    for change in ({"agent_id": "nobody"}, {"routing_rules": [rule]}):
        config = {"agent_id": "front", **change}
        status, refused = api.post("http-input/servers", {"config": config})
        assert (status, refused["code"]) == (404, "AGENT_NOT_FOUND")


def test_a_port_that_is_taken_is_told(api: Api, make: Make) -> None:
    first = make()
    second = make(start=False, port=first.address[1])
    status, refused = api.post(f"{second.path}/start")
    assert (status, refused["code"]) == (409, "HTTP_INPUT_PORT_IN_USE")
    assert second.info["status"] == "error"
    assert second.info["last_error"]
    api.post(f"{first.path}/stop")
    second.start()
    assert second.info["last_error"] is None


# --- who may call


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (KEY, 200),
        (KEY.replace("Bearer", "bearer"), 200),
        (KEY.upper(), 401),
        (KEY + "x", 401),
        (KEY.removeprefix("Bearer "), 401),
        ("Bearer", 401),
        ("", 401),
        (None, 401),
    ],
    ids=str,
)
def test_the_header_is_what_opens_an_input(make: Make, key: str | None, status: int) -> None:
    reply = make().send({"prompt": "x"}, key=key)
    assert reply.status == status
    if status == 401:
        assert reply["www-authenticate"] == "Bearer"
        assert set(reply.document) == {"error", "code", "timestamp"}


def test_an_input_without_credentials_asks_for_the_runtimes_own(
    vault: RunningVault, make: Make
) -> None:
    one = make(auth_header=None)
    assert vault.runtime_token is not None
    assert one.send({}, key=None).status == 401
    assert one.send({}, key=f"Bearer {vault.runtime_token.reveal()}").status == 200


def test_with_demo_an_input_without_credentials_is_open(tmp_path: Path) -> None:
    with running(tmp_path, tcp=False, demo=True, runtime=RuntimeOptions(port=None)) as vault:
        api = Api(vault)
        config: dict[str, Any] = {"agent_id": "agent-123", "port": 0}
        one = Input(api, api.post("http-input/servers", {"config": config})[1]["server_id"])
        one.start()
        assert one.send({"prompt": "x"}, key=None).status == 200
        # But no file of this user's is opened for somebody without a key.
        config["jwt_public_key_path"] = "/etc/ssl/certs/ca-certificates.crt"
        status, refused = api.post("http-input/servers", {"config": config})
        assert status == 422
        assert "below the home" in refused["error"]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    claims: dict[str, Any],
    *,
    alg: str | None = None,
) -> str:
    is_curve = isinstance(key, ec.EllipticCurvePrivateKey)
    header = {"alg": alg or ("ES256" if is_curve else "EdDSA"), "typ": "JWT"}
    signed = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    else:
        raw = key.sign(signed.encode())
    return f"Bearer {signed}.{b64(raw)}"


def written(path: Path, key: Any) -> str:
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path.write_bytes(pem)
    return str(path)


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_a_token_by_the_inputs_key_opens_it(make: Make, tmp_path: Path, kind: str) -> None:
    if kind == "P-256":
        key: Any = ec.generate_private_key(ec.SECP256R1())
        other: Any = ec.generate_private_key(ec.SECP256R1())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
        other = ed25519.Ed25519PrivateKey.generate()
    one = make(auth_header=None, jwt_public_key_path=written(tmp_path / "key.pem", key))
    now = time.time()
    good = {"exp": now + 600, "sub": "caller"}

    def status(key: str | None) -> int:
        return one.send({"prompt": "x"}, key=key).status

    assert status(token(key, good)) == 200
    assert status(None) == 401
    assert status(token(other, good)) == 401
    assert status(token(key, {**good, "exp": now - 60})) == 401
    assert status(token(key, {"sub": "for ever"})) == 401
    assert status(token(key, {**good, "exp": "soon"})) == 401
    assert status(token(key, {**good, "nbf": now + 300})) == 401
    for alg in ("none", "HS256", "RS256"):
        assert status(token(key, good, alg=alg)) == 401
    assert status(token(key, good)[:-4] + "AAAA") == 401
    assert status(f"Bearer {b64(b'{}')}..") == 401


def test_a_key_of_another_kind_is_refused_when_it_is_given(api: Api, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    config = {"agent_id": "front", "jwt_public_key_path": written(tmp_path / "rsa.pem", key)}
    status, refused = api.post("http-input/servers", {"config": config})
    assert status == 422
    assert "P-256 or Ed25519" in refused["error"]


def test_the_header_is_shown_and_kept_nowhere(vault: RunningVault, api: Api, make: Make) -> None:
    one = make()
    shown = one.info
    assert shown["config"]["auth_header"] == "[redacted]"
    # What was shown may be sent back, and changes nothing.
    status, updated = api.put(one.path, {"config": {**shown["config"], "concurrency": 3}})
    assert (status, updated["config"]["concurrency"]) == (200, 3)
    assert one.send({"prompt": "x"}).status == 200
    everything = str([shown, api.get("http-input/servers"), one.metrics])
    assert "the-inputs-own-key" not in everything
    for file in vault.home.rglob("*"):
        if file.is_file():
            assert b"the-inputs-own-key" not in file.read_bytes(), file


def signed(secret: str, body: bytes) -> dict[str, str | None]:
    """Return the headers of a body as GitHub sends it."""
    digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}


def test_a_signed_body_is_proof_where_the_input_knows_the_secret(api: Api, make: Make) -> None:
    secret = "what both sides know"
    one = make(auth_header=None, webhook_verify={"provider": "github", "secret": secret})
    body = b'{ "prompt": "pushed" }'

    def status(headers: dict[str, str | None], content: bytes = body) -> int:
        return one.send(body=content, key=None, headers=headers).status

    assert status(signed(secret, body)) == 200
    assert status(signed("another", body)) == 401
    assert status(signed(secret, body), body + b" ") == 401
    assert status({"Content-Type": "application/json"}) == 401
    assert one.metrics["rejected"] == {"unauthorized": 3}
    shown = one.info["config"]
    assert shown["webhook_verify"] == {"provider": "github", "secret": "[redacted]"}
    assert api.put(one.path, {"config": {**shown, "concurrency": 3}})[0] == 200
    assert status(signed(secret, body)) == 200
    # A header opens it as well, when there is one.
    assert api.put(one.path, {"config": {**shown, "auth_header": KEY}})[0] == 200
    assert one.send({"prompt": "x"}).status == 200
    assert status(signed(secret, body)) == 200


def test_while_the_vault_is_locked_an_input_with_secrets_does_not_start(tmp_path: Path) -> None:
    options: dict[str, Any] = {"tcp": False, "runtime": RuntimeOptions(port=None)}
    with running(tmp_path, passphrase=Secret("a long passphrase"), **options) as vault:
        api = Api(vault)
        api.post("agents", {"id": "a", "name": "a"})
        config = {"agent_id": "a", "port": 0, "auth_header": KEY}
        one = Input(api, api.post("http-input/servers", {"config": config})[1]["server_id"])
        vault.admin.lock()
        status, refused = api.post(f"{one.path}/start")
        assert (status, refused["code"]) == (503, "VAULT_LOCKED")
        assert one.info["status"] == "error"
        assert api.post("http-input/servers", {"config": config})[0] == 503
        vault.admin.unlock("a long passphrase")
        one.start()
        assert one.send({"prompt": "x"}).status == 200


# --- what is let in


def test_what_is_not_for_it_is_refused(make: Make) -> None:
    one = make(max_body_bytes=200)
    for status, code, reply in (
        (404, "NOT_FOUND", one.send({}, "/other")),
        (404, "NOT_FOUND", one.send({}, "/webhooks")),
        (405, "METHOD_NOT_ALLOWED", one.send(method="GET")),
        (400, "BAD_REQUEST", one.send(body=b"{", headers={"Content-Type": "application/json"})),
        (413, "PAYLOAD_TOO_LARGE", one.send({"prompt": "x" * 200})),
        (415, "UNSUPPORTED_MEDIA_TYPE", one.send(body=b"a=b")),
        (421, "HOST_REFUSED", one.send({}, headers={"Host": "attacker.example"})),
        (403, "ORIGIN_REFUSED", one.send({}, headers={"Origin": "https://attacker.example"})),
    ):
        assert (reply.status, reply.document["code"]) == (status, code)
        assert set(reply.document) == {"error", "code", "timestamp"}
    assert one.send({"prompt": "x" * 100}, "/webhook/below").status == 200
    assert one.send().status == 200
    metrics = one.metrics
    assert (metrics["requests_succeeded"], metrics["requests_rejected"]) == (2, 8)


def test_a_chunked_body_is_counted_too(make: Make) -> None:
    one = make(max_body_bytes=100)
    with Web(one.address, headers={"Authorization": KEY}) as web:
        web.send(
            "POST",
            "/webhook",
            headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"},
        )
        piece = b'"' + b"x" * 150 + b'"'
        web.sock.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(piece), piece))
        assert web.read().status == 413


def test_pages_may_call_only_where_they_are_listed(make: Make) -> None:
    page = "http://localhost:5000"
    one = make(cors_origins=[page])
    asked = {"Origin": page, "Access-Control-Request-Method": "POST"}
    preflight = one.send(method="OPTIONS", key=None, headers=asked)
    assert preflight.status == 204
    assert preflight["access-control-allow-origin"] == page
    assert one.send({}, headers={"Origin": page})["access-control-allow-origin"] == page
    assert one.send({}, headers={"Origin": "http://localhost:5001"}).status == 403
    closed = make()
    assert closed.send(method="OPTIONS", key=None, headers=asked).status == 403
    default = make(cors_enabled=True)
    assert default.send({}, headers={"Origin": "http://localhost:3000"}).status == 200
    assert default.send({}, headers={"Origin": page}).status == 403


def test_more_at_once_than_allowed_are_told_to_wait(make: Make) -> None:
    one = make(concurrency=1)
    with Web(one.address, headers={"Authorization": KEY}) as slow:
        body = b'{"prompt": "slow"}'
        slow.send(
            "POST",
            "/webhook",
            headers={"Content-Length": str(len(body)), "Content-Type": "application/json"},
        )
        while not one.metrics["requests_in_progress"]:
            time.sleep(0.005)
        reply = one.send({"prompt": "x"})
        assert (reply.status, reply["retry-after"]) == (429, "1")
        assert one.metrics["rejected"]["too_many_requests"] == 1
        slow.sock.sendall(body)
        assert slow.read().document["response"] == "slow"
    assert one.send({"prompt": "x"}).status == 200


# --- which agent


RULES = [
    {"condition_type": "path_prefix", "condition_value": "/sales", "agent_id": "sales"},
    {
        "condition_type": "header_equals",
        "condition_target": "X-Team",
        "condition_value": "Support",
        "agent_id": "support",
    },
    {
        "condition_type": "json_field_equals",
        "condition_target": "order.count",
        "condition_value": "5",
        "agent_id": "sales",
    },
    {
        "condition_type": "json_field_equals",
        "condition_target": "a.b",
        "condition_value": "true",
        "agent_id": "support",
    },
]


@pytest.mark.parametrize(
    ("document", "path", "headers", "agent"),
    [
        ({}, "", {}, "front"),
        ({}, "/sales/eu", {}, "sales"),
        ({}, "/other", {}, "front"),
        ({}, "", {"x-team": "Support"}, "support"),
        ({}, "", {"X-Team": "support"}, "front"),
        ({}, "/sales", {"X-Team": "Support"}, "sales"),
        ({"order": {"count": 5}}, "", {}, "sales"),
        ({"order": {"count": "5"}}, "", {}, "sales"),
        ({"order": {"count": 6}}, "", {}, "front"),
        ({"order": [5]}, "", {}, "front"),
        ({"a.b": True}, "", {}, "support"),
        ([1, 2], "", {}, "front"),
    ],
    ids=str,
)
def test_the_first_rule_that_fits_names_the_agent(
    make: Make, document: Any, path: str, headers: dict[str, str], agent: str
) -> None:
    one = make(routing_rules=RULES)
    assert one.send(document, f"/webhook{path}", headers=headers).document["agent_id"] == agent  # type: ignore[arg-type]
    assert one.metrics["by_agent"] == {agent: 1}


# --- what comes back


def test_the_response_is_as_the_configuration_has_it(make: Make) -> None:
    plain = make(response_control={"default_status": 202, "agent_output_to_json": False})
    reply = plain.send({"prompt": "said"})
    assert (reply.status, reply.body) == (202, b"said")
    assert reply["content-type"] == "text/plain; charset=utf-8"
    failing = make(response_control={"error_status": 503, "echo_input_on_error": True})
    reply = failing.send({"prompt": "/fail 429"})
    assert reply.status == 503
    assert reply.document["code"] == "MODEL_FAILED"
    assert reply.document["input"] == {"prompt": "/fail 429"}
    assert "input" not in make().send({"prompt": "/fail 429"}).document
    assert failing.metrics["requests_failed"] == 1


def test_a_request_is_a_task_of_the_agent_and_on_record(
    vault: RunningVault, api: Api, make: Make
) -> None:
    before = api.get("agents/support/metrics")[1]["tasks_completed"]
    one = make(agent_id="support")
    one.send({"prompt": "not for the record"})
    assert api.get("agents/support/metrics")[1]["tasks_completed"] == before + 1
    assert api.get("agents/support/history")[1]["history"][0]["status"] == "completed"

    def recorded() -> list[Any]:
        entries = vault.admin.audit(resource=one.server_id)
        return [entry for entry in entries if entry.action == "request"]

    (entry,) = recorded()
    assert (entry.agent_name, entry.metadata) == ("support", {"status": 200})
    assert "not for the record" not in str(entry)
    one.send({}, key="Bearer wrong")
    assert recorded()[-1].reason == "UNAUTHORIZED"
    silent = make(audit_enabled=False)
    silent.send({"prompt": "x"})
    assert not [e for e in vault.admin.audit(resource=silent.server_id) if e.action == "request"]


def test_it_can_be_triggered_without_its_socket(api: Api, make: Make) -> None:
    one = make(routing_rules=RULES, max_body_bytes=100)

    def trigger(payload: Any, **more: Any) -> tuple[int, Any]:
        body = {"server_id": one.server_id, "payload": payload, **more}
        return api.post(f"{one.path}/trigger", body)

    status, done = trigger({"prompt": "hello"})
    assert status == 200
    assert (done["status"], done["response_code"], done["agent_id"]) == ("success", 200, "front")
    assert done["response_body"]["response"] == "hello"
    assert done["processing_time_ms"] >= 0
    assert trigger({}, headers={"X-Team": "Support"})[1]["agent_id"] == "support"
    assert trigger({}, path="/webhook/sales")[1]["agent_id"] == "sales"
    failed = trigger({"prompt": "/fail 500"})[1]
    assert (failed["status"], failed["response_code"]) == ("error", 500)
    assert trigger({"prompt": "x" * 100})[0] == 413
    assert trigger({}, server_id="another")[0] == 422
    assert one.metrics["requests_total"] == 4
    api.post(f"{one.path}/stop")
    status, refused = trigger({})
    assert (status, refused["code"]) == (409, "HTTP_INPUT_NOT_RUNNING")


HOOKED = """
agent hooked {
    name: "Hooked"
    trigger github_webhook {
        on_push: main
    }
    action process_webhook {
        validate_signature()
        parse_payload()
    }
}
"""


def test_an_agent_of_the_language_runs_its_action(api: Api, make: Make) -> None:
    compiled = api.post("dsl/compile", {"dsl_content": HOOKED, "agent_name": "hooked"})[1]
    assert compiled["success"], compiled
    one = make(agent_id="hooked", forward_headers=["X-GitHub-Event"])
    body = b'{"ref": "refs/heads/main"}'
    pushed = {"Content-Type": "application/json", "X-GitHub-Event": "push"}
    done = one.send(body=body, headers=dict(pushed)).document
    assert done["output"]["parse_payload"]["event"] == "push"
    assert done["output"]["parse_payload"]["branch"] == "main"
    # Once the agent has a secret, it takes what is signed with it, byte for byte.
    secret = {"agent_id": "hooked", "secret_name": "webhook_secret", "secret_value": "s-1"}
    assert api.post("secrets", secret)[0] == 201
    refused = one.send(body=body, headers=dict(pushed))
    assert (refused.status, refused.document["code"]) == (403, "DENIED")
    taken = one.send(body=body, headers={**pushed, **signed("s-1", body)})
    assert taken.document["output"]["validate_signature"]["by"] == "github"


# --- changes


def test_a_running_input_takes_a_new_configuration(api: Api, make: Make) -> None:
    one = make()
    config = one.info["config"]
    with Web(one.address, headers={"Authorization": KEY}) as kept:
        assert kept.post("/webhook", {"prompt": "x"}).document["agent_id"] == "front"
        changed = {**config, "agent_id": "sales", "path": "/hook"}
        assert api.put(one.path, {"config": changed})[0] == 200
        # The same port, the same connection.
        assert kept.post("/webhook", {"prompt": "x"}).status == 404
        assert kept.post("/hook", {"prompt": "x"}).document["agent_id"] == "sales"
    old = one.address
    assert api.put(one.path, {"config": {**changed, "port": 0}})[0] == 200
    assert one.address != old
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(old)
    assert one.send({"prompt": "x"}, "/hook").status == 200
    other = make()
    taken = {**changed, "port": other.address[1]}
    status, refused = api.put(one.path, {"config": taken})
    assert (status, refused["code"]) == (409, "HTTP_INPUT_PORT_IN_USE")
    # What cannot be is not half done.
    assert one.send({"prompt": "x"}, "/hook").status == 200
    assert one.info["config"]["port"] != other.address[1]


def test_two_starts_at_once_make_one_listener(api: Api, make: Make) -> None:
    one = make(start=False)
    urls: list[str] = []
    threads = [threading.Thread(target=lambda: urls.append(one.start())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 4
    assert len(set(urls)) == 1


def test_inputs_outlive_the_runtime_and_do_not_start_by_themselves(tmp_path: Path) -> None:
    options: dict[str, Any] = {"tcp": False, "runtime": RuntimeOptions(port=None)}
    config = {"agent_id": "a", "port": 0, "auth_header": KEY}
    with running(tmp_path, **options) as vault:
        api = Api(vault)
        api.post("agents", {"id": "a", "name": "a"})
        one = Input(api, api.post("http-input/servers", {"config": config})[1]["server_id"])
        one.start()
        address = one.address
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    with running(tmp_path, **options) as vault:
        again = Input(Api(vault), one.server_id)
        assert again.info["status"] == "stopped"
        again.start()
        assert again.send({"prompt": "kept"}).document["response"] == "kept"
        assert again.send({}, key=None).status == 401
