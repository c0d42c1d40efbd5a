"""What a caller may configure, checked; what of it may be shown.

Neighbour: `endpoints` reads one of these from a request, keeps it sealed, and makes its backend.
"""

from __future__ import annotations

import re
import ssl
from typing import Any, Final

import msgspec

from ....config import BaseUrl, TcpAddress, parse_base_url
from ....errors import InvalidArgumentError
from ...http.reading import invalid
from .backend import refused

__all__ = ["KINDS", "BackendConfig", "VaultConfig"]

KINDS: Final = ("vault", "encrypted_file", "os_keychain", "sealed")
_METHODS: Final = ("token", "approle", "kubernetes")
# A mount, a prefix or a namespace: segments without what would mean another path.
_PATH: Final = re.compile(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}){0,7}"
)
_SERVICE: Final = re.compile(r"[\x20-\x7e]{1,200}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")


class VaultConfig(msgspec.Struct, kw_only=True):
    """A HashiCorp Vault, and how to log in to it.

    `mount_path` is that of the KV version 2 engine; secrets lie there below `path_prefix`.
    `auth_mount` is where the login method is mounted, None its usual place. `ca_cert` is a
    certificate in PEM to be trusted beside the system's.
    """

    url: str
    auth_method: str
    token: str | None = None
    role_id: str | None = None
    secret_id: str | None = None
    kubernetes_role: str | None = None
    aws_role: str | None = None
    namespace: str | None = None
    mount_path: str = "secret"
    path_prefix: str = "ostiary"
    auth_mount: str | None = None
    ca_cert: str | None = None
    skip_verify: bool | None = None
    tls_skip_verify: bool | None = None

    def __repr__(self) -> str:
        # Its address may hold what somebody pasted there.
        return "VaultConfig()"

    @property
    def host(self) -> str:
        """The name of the server, as maps have it."""
        address = self.checked().address
        return address.host.lower() if isinstance(address, TcpAddress) else ""

    def checked(self) -> BaseUrl:
        """Return the server's URL, taken apart; refuse what cannot be used."""
        problem: str
        try:
            base = parse_base_url(self.url)
        except InvalidArgumentError as error:
            problem = str(error)
        else:
            self._check(base)
            return base
        raise _no("url", problem)

    def _check(self, base: BaseUrl) -> None:
        if not isinstance(base.address, TcpAddress):
            raise _no("url", "the url begins with https:// or http://")
        if self.skip_verify or self.tls_skip_verify:
            raise _no("skip_verify", "certificates are always verified; give ca_cert instead")
        method = self.auth_method
        if method == "aws_iam":
            raise refused(
                "SECRET_METHOD_UNSUPPORTED",
                "aws_iam is not supported: it needs signed requests to AWS; use token, approle "
                "or kubernetes",
                field="vault_config.auth_method",
            )
        if method not in _METHODS:
            raise _no("auth_method", f"auth_method is one of {', '.join(_METHODS)}")
        needed = {
            "token": ("token",),
            "approle": ("role_id", "secret_id"),
            "kubernetes": ("kubernetes_role",),
        }[method]
        for name in needed:
            value: str | None = getattr(self, name)
            if not value:
                raise _no(name, f"{name} is missing, and {method} needs it")
            if not _TOKEN.fullmatch(value):
                raise _no(name, f"{name} holds a character that cannot be sent")
        for name in ("namespace", "mount_path", "path_prefix", "auth_mount"):
            path: str | None = getattr(self, name)
            if path is not None and not _PATH.fullmatch(path.strip("/")):
                raise _no(name, f"{name} is no path: up to eight names, with slashes between them")
        if self.ca_cert is not None:
            self._check_authority(base, self.ca_cert)

    def _check_authority(self, base: BaseUrl, pem: str) -> None:
        if not base.tls:
            raise _no("ca_cert", "ca_cert is given, but the url does not begin with https://")
        fits = True
        try:
            ssl.create_default_context(cadata=pem)
        except (ssl.SSLError, ValueError):
            fits = False
        if not fits:
            raise _no("ca_cert", "ca_cert is no certificate in PEM")

    def shown(self) -> dict[str, object]:
        """Return what may be read back: no credential, and nothing one can be made from."""
        members: dict[str, object] = {
            "url": self.url,
            "auth_method": self.auth_method,
            "mount_path": self.mount_path,
            "path_prefix": self.path_prefix,
        }
        for name in ("namespace", "auth_mount", "kubernetes_role"):
            value: str | None = getattr(self, name)
            if value is not None:
                members[name] = value
        return members


class BackendConfig(msgspec.Struct, kw_only=True):
    """Where secrets are to lie from now on; `sealed` is the vault itself, as at first."""

    backend_type: str
    vault_config: VaultConfig | None = None
    file_path: str | None = None
    encryption_key: str | None = None
    service: str | None = None
    configured_at: str | None = None

    def __repr__(self) -> str:
        return f"BackendConfig(backend_type={self.backend_type!r})"

    def check(self) -> None:
        """Refuse what cannot be meant."""
        kind = self.backend_type
        if kind not in KINDS:
            raise invalid("backend_type", f"backend_type is one of {', '.join(KINDS)}")
        if kind == "vault":
            if self.vault_config is None:
                raise invalid("vault_config", "vault_config is missing, and a vault needs it")
            self.vault_config.checked()
        if kind == "encrypted_file" and not self.encryption_key:
            raise invalid("encryption_key", "encryption_key is missing; give the file's passphrase")
        if kind == "os_keychain" and not (self.service is None or _SERVICE.fullmatch(self.service)):
            raise invalid("service", "service has 1 to 200 printable characters")

    def shown(self) -> dict[str, Any]:
        """Return the members that hold no secret."""
        found: dict[str, Any] = {"backend_type": self.backend_type}
        if self.configured_at is not None:
            found["configured_at"] = self.configured_at
        if self.backend_type == "vault" and self.vault_config is not None:
            found["vault_config"] = self.vault_config.shown()
        return found


def _no(member: str, message: str) -> Exception:
    return invalid(f"vault_config.{member}", message)
