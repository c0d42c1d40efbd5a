"""Who may do what: tokens that expire, policies by path, and the roles that log in.

Tokens and secret ids are compared by their digests. Knows no HTTP. Neighbour: `endpoints`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Final, final

import msgspec

from ...errors import InvalidArgumentError
from ...secret import Secret

__all__ = ["AppRole", "KubernetesRole", "Policy", "Token", "Tokens"]

ROOT: Final = "root"
_WORDS: Final = frozenset({"create", "read", "update", "patch", "delete", "list", "deny"})


class Policy(msgspec.Struct, frozen=True):
    """Capabilities by path: `*` ends a prefix, `+` stands for one segment."""

    name: str
    paths: dict[str, frozenset[str]]

    def capabilities(self, path: str) -> frozenset[str]:
        """Return what the most specific matching rule allows."""
        found = [rule for rule in self.paths if _matches(rule, path)]
        return self.paths[max(found, key=_weight)] if found else frozenset()


def _weight(rule: str) -> tuple[bool, int, int]:
    return not rule.endswith("*"), -rule.count("+"), len(rule)


def _matches(rule: str, path: str) -> bool:
    whole = not rule.endswith("*")
    wanted = rule.removesuffix("*").split("/")
    given = path.split("/")
    if (whole and len(wanted) != len(given)) or len(wanted) > len(given):
        return False
    *head, last = zip(wanted, given, strict=False)
    if any(want not in ("+", got) for want, got in head):
        return False
    return last[0] in ("+", last[1]) if whole else last[1].startswith(last[0])


class Token(msgspec.Struct, kw_only=True):
    """One token that was issued; what it says is not kept, only its digest is."""

    accessor: str
    policies: list[str]
    namespace: str = ""
    display_name: str = "token"
    issued: float = 0.0
    ttl: float = 0.0
    """Seconds; 0 is for ever."""
    renewable: bool = False

    @property
    def expires(self) -> float | None:
        return self.issued + self.ttl if self.ttl else None


class AppRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role that logs in by role id and secret id."""

    name: str
    role_id: str
    secret_id: Secret
    policies: tuple[str, ...]
    namespace: str = ""
    ttl: float = 1200.0


class KubernetesRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role that logs in with a service account's token.

    The real server has the cluster review the token; here it is the one that was agreed on.
    """

    name: str
    jwt: Secret
    policies: tuple[str, ...]
    namespace: str = ""
    ttl: float = 1200.0


@final
class Tokens:
    """Issue, find, renew and revoke tokens; log roles in."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens: dict[bytes, Token] = {}
        self._policies: dict[str, Policy] = {}
        self._approles: dict[tuple[str, str], AppRole] = {}
        self._kubernetes: dict[tuple[str, str], KubernetesRole] = {}

    # -- what there is --------------------------------------------------------

    def add_policy(self, name: str, paths: Mapping[str, Iterable[str]]) -> None:
        rules = {path: frozenset(allowed) for path, allowed in paths.items()}
        for path, allowed in rules.items():
            if unknown := allowed - _WORDS:
                raise InvalidArgumentError(
                    f"policy {name} allows {sorted(unknown)} at {path}, which no server knows; "
                    f"its words are {sorted(_WORDS)}"
                )
        self._policies[name] = Policy(name, rules)

    def add_approle(self, role: AppRole) -> None:
        self._approles[role.namespace, role.role_id] = role

    def add_kubernetes(self, role: KubernetesRole) -> None:
        self._kubernetes[role.namespace, role.name] = role

    def issue(
        self,
        policies: Iterable[str],
        *,
        token: Secret | None = None,
        namespace: str = "",
        display_name: str = "token",
        ttl: float = 0.0,
        renewable: bool = False,
    ) -> tuple[Secret, Token]:
        """Issue a token, a new one unless it is given."""
        made = token or Secret("hvs." + secrets.token_urlsafe(24))
        known = self._tokens[_digest(made.reveal_bytes())] = Token(
            accessor=secrets.token_urlsafe(18),
            policies=sorted(set(policies)),
            namespace=namespace,
            display_name=display_name,
            issued=self._clock(),
            ttl=ttl,
            renewable=renewable,
        )
        return made, known

    # -- asking ---------------------------------------------------------------

    def find(self, token: str, namespace: str) -> Token | None:
        """Return a live token that counts in a namespace."""
        found = self._tokens.get(_digest(token.encode("utf-8", "surrogatepass")))
        if found is None:
            return None
        if found.expires is not None and self._clock() >= found.expires:
            return None
        inside = not found.namespace or f"{namespace}/".startswith(f"{found.namespace}/")
        return found if inside else None

    def capabilities(self, token: Token, path: str) -> list[str]:
        """Return what a token may do at a path, as `sys/capabilities-self` says it."""
        if ROOT in token.policies:
            return [ROOT]
        allowed: set[str] = set()
        for name in token.policies:
            policy = self._policies.get(name)
            if policy is not None:
                rules = policy.capabilities(path)
                if "deny" in rules:
                    return ["deny"]
                allowed |= rules
        return sorted(allowed) or ["deny"]

    def allowed(self, token: Token, path: str, capability: str) -> bool:
        found = self.capabilities(token, path)
        return found == [ROOT] or capability in found

    def sees(self, token: Token, prefix: str) -> bool:
        """Return whether a token may do anything at all below a path."""
        if ROOT in token.policies:
            return True
        return any(
            rule.startswith(prefix) and "deny" not in allowed
            for name in token.policies
            if name in self._policies
            for rule, allowed in self._policies[name].paths.items()
        )

    def remaining(self, token: Token) -> int:
        """Return the seconds a token has left; 0 for one that has no end."""
        return 0 if token.expires is None else max(0, round(token.expires - self._clock()))

    # -- changing -------------------------------------------------------------

    def renew(self, token: Token) -> bool:
        """Begin a token's time anew; False for one that is not renewable."""
        if not token.renewable or not token.ttl:
            return False
        token.issued = self._clock()
        return True

    def revoke(self, token: Token) -> None:
        for digest, known in list(self._tokens.items()):
            if known is token:
                del self._tokens[digest]

    def revoke_all(self) -> None:
        """End every token, as an operator would after a leak."""
        self._tokens.clear()

    def login_approle(
        self, role_id: str, secret_id: str, namespace: str
    ) -> tuple[Secret, Token] | None:
        role = self._approles.get((namespace, role_id))
        if role is None or not _same(role.secret_id, secret_id):
            return None
        return self.issue(
            role.policies,
            namespace=namespace,
            display_name="approle",
            ttl=role.ttl,
            renewable=True,
        )

    def login_kubernetes(self, name: str, jwt: str, namespace: str) -> tuple[Secret, Token] | None:
        role = self._kubernetes.get((namespace, name))
        if role is None or not _same(role.jwt, jwt):
            return None
        return self.issue(
            role.policies,
            namespace=namespace,
            display_name=f"kubernetes-{name}",
            ttl=role.ttl,
            renewable=True,
        )


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _same(secret: Secret, given: str) -> bool:
    return hmac.compare_digest(
        _digest(secret.reveal_bytes()), _digest(given.encode("utf-8", "surrogatepass"))
    )
