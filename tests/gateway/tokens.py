"""Tokens as they come: made here by hand, so that a shared mistake cannot hide."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

SVID_HEADER = {"alg": "ES256", "typ": "JWT", "kid": "k1"}
TRAT_HEADER = {"alg": "ES256", "typ": "txntoken+jwt", "kid": "k2"}

ID = "spiffe://sanctum.example/scanner/run_8841"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(header: object, payload: object, signature: str = "c2lnbmF0dXJl") -> str:
    """Return a compact JWT whose signature nobody could verify."""
    parts = [
        part if isinstance(part, str) else b64(json.dumps(part).encode())
        for part in (header, payload)
    ]
    return ".".join([*parts, signature])


def svid(ttl: float = 1800, **claims: Any) -> str:
    """Return a JWT-SVID that ends in `ttl` seconds."""
    now = time.time()
    members = {"sub": ID, "aud": ["llm-gateway"], "iat": now, "exp": now + ttl} | claims
    return jwt(SVID_HEADER, {k: v for k, v in members.items() if v is not ...})


def trat(ttl: float = 300, **claims: Any) -> str:
    """Return a Transaction Token that ends in `ttl` seconds."""
    now = time.time()
    members: dict[str, Any] = {
        "txn": "run_8841",
        "sub": "forge|org-77",
        "scope": "scan.execute scan.upload",
        "req_wl": ID,
        "iat": now,
        "exp": now + ttl,
        "aud": "sanctum.example",
        "iss": "https://tts.sanctum.example",
        "tctx": {
            "run_id": "run_8841",
            "org_id": "77",
            "repo_url": "https://forge.example/acme/app",
            "agent_type": "scanner",
            "agent_mode": "standard",
            "allowed_models": {
                "triage": ["openai:gpt-test-mini"],
                "analysis": ["anthropic:claude-test", "openai:gpt-test-1"],
                "reasoning": [],
                "embeddings": ["openai:embed-test-small"],
            },
            "allowed_providers": ["openai", "anthropic"],
            "allowed_tools": {"files": ["read"]},
        },
        "rctx": {
            "trigger": "pull_request",
            "pr_number": 9,
            "actor": "ci-bot",
            "source_ip": "192.0.2.10",
        },
    }
    members |= claims
    return jwt(TRAT_HEADER, {k: v for k, v in members.items() if v is not ...})


def write(path: Path, text: str | bytes, *, age: float = 10.0) -> Path:
    """Replace a file as one who renews tokens does, and have it look `age` seconds old."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    new.chmod(0o600)
    moment = time.time() - age
    os.utime(new, (moment, moment))
    new.replace(path)
    return path
