"""Secrets: where they are kept, and what is told of them. What is secret is not shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from ..enums import SecretBackendType, VaultAuthMethod
from .model import Model, Request

__all__ = [
    "SecretBackendConfig",
    "SecretBackendInfo",
    "SecretListResponse",
    "SecretRequest",
    "SecretResponse",
    "VaultConfig",
]

# What each way of logging in cannot do without.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "token": ("token",),
    "approle": ("role_id", "secret_id"),
    "kubernetes": ("kubernetes_role",),
    "aws_iam": ("aws_role",),
}


class VaultConfig(Request):
    """A HashiCorp Vault, and how to log in to it.

    `token` logs in by `token`, `role_id` and `secret_id` by `approle`, `kubernetes_role` by
    `kubernetes`, `aws_role` by `aws_iam`. `mount_path` is where its KV store is mounted,
    `auth_mount` where the way of logging in is, `path_prefix` what secrets are stored below,
    `ca_cert` PEM text.
    """

    url: str
    auth_method: VaultAuthMethod
    token: str | None = None
    role_id: str | None = None
    secret_id: str | None = None
    kubernetes_role: str | None = None
    aws_role: str | None = None
    namespace: str | None = None
    mount_path: str | None = None
    auth_mount: str | None = None
    path_prefix: str | None = None
    ca_cert: str | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset({"token", "secret_id"})

    def _rules(self) -> Iterator[tuple[str, str]]:
        scheme, mark, rest = self.url.partition("://")
        if scheme not in {"http", "https"} or not mark or not rest:
            yield "url", "is an http:// or https:// address"
        elif "@" in rest.partition("/")[0]:
            yield "url", "holds no user and no password"
        for name in _NEEDED.get(self.auth_method.value, ()):
            if not getattr(self, name):
                yield name, f"is required with auth_method {self.auth_method}"


class SecretBackendConfig(Request):
    """Where the server is to keep secrets.

    `vault_config` is for `vault`, `file_path` and `encryption_key` for `encrypted_file`,
    `service` for `os_keychain`.
    """

    backend_type: SecretBackendType
    vault_config: VaultConfig | None = None
    file_path: str | None = None
    encryption_key: str | None = None
    service: str | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset({"encryption_key"})

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.backend_type == SecretBackendType.VAULT and self.vault_config is None:
            yield "vault_config", "is required with backend_type vault"


class SecretBackendInfo(Model):
    """Where the server keeps secrets, without what is secret of it."""

    backend_type: str
    status: str | None = None
    configured_at: datetime | None = None
    file_path: str | None = None
    service: str | None = None
    vault_config: dict[str, Any] | None = None


class SecretRequest(Request):
    """A secret to be stored for an agent."""

    agent_id: str
    secret_name: str
    secret_value: str | None = None
    description: str | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset({"secret_value"})
    _filled: ClassVar[tuple[str, ...]] = ("agent_id", "secret_name")


class SecretResponse(Model):
    """A secret that is stored, without its value."""

    secret_name: str
    agent_id: str
    created_at: datetime
    updated_at: datetime | None = None


class SecretListResponse(Model):
    """The names of an agent's secrets."""

    secrets: list[str]
    agent_id: str
