"""A trust domain of one machine: it issues JWT-SVIDs and transaction tokens, and reads them.

Two keys, as in production, where identities and transactions are signed by different
servers. What a token must be is in docs/protocol.md. Neighbours: `jose` signs,
`gate` compares the two tokens, `runs` writes them to files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, final

import msgspec

from ..._decoders import convert
from ..clock import Clock
from ..faults import DevserverError
from ..home import create_private, refuse_loose
from ..http.refusals import HttpRefusal
from ..jose import BadToken, SigningKey, Token, VerifyingKey, read
from ..options import CATEGORIES

__all__ = ["Grant", "Trat", "TrustDomain"]

T = TypeVar("T")

SVID_ALGORITHMS: Final = frozenset(
    f"{family}{bits}" for family in ("RS", "ES", "PS") for bits in (256, 384, 512)
)
TRAT_TYPE: Final = "txntoken+jwt"
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._-]+)+")
_LONGEST_ID: Final = 2048
_REMEMBERED: Final = 1024


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one run may do: the claims of its tokens, and how long each lives in seconds."""

    run_id: str
    org_id: str
    agent: str = "agent"
    scope: str = "scan.execute"
    allowed_models: Mapping[str, tuple[str, ...]] = {}
    allowed_providers: tuple[str, ...] = ()
    allowed_tools: Mapping[str, tuple[str, ...]] = {}
    repo_url: str = ""
    agent_mode: str = "standard"
    svid_ttl: float = 1800.0
    trat_ttl: float = 300.0


class _Context(msgspec.Struct, frozen=True):
    run_id: str = ""
    org_id: str = ""
    allowed_models: dict[str, list[str]] = {}
    allowed_providers: list[str] = []
    allowed_tools: dict[str, list[str]] = {}


class Trat(msgspec.Struct, frozen=True):
    """The claims of a transaction token that was verified."""

    txn: str
    sub: str
    scope: str
    req_wl: str
    iat: float
    exp: float
    aud: str | list[str]
    tctx: _Context = _Context()


class _Svid(msgspec.Struct, frozen=True):
    sub: str
    aud: str | list[str]
    exp: float
    iat: float | None = None
    nbf: float | None = None


@final
class TrustDomain:
    """Its keys, and the runs it has issued tokens for.

    The keys lie in `directory`, 0600, and survive a restart.
    """

    def __init__(
        self, name: str, audience: str, directory: Path, clock: Clock, *, leeway: float
    ) -> None:
        self.name = name
        self.audience = audience
        self.grants: dict[str, Grant] = {}
        self._clock = clock
        self._leeway = leeway
        self._directory = directory
        # A token comes with each call of its run: its signature is checked once.
        self._svids: dict[str, _Svid] = {}
        self._trats: dict[str, Trat] = {}
        self._svid_key = _key(directory / "svid.key.pem")
        self._trat_key = _key(directory / "trat.key.pem")

    def replace_keys(self) -> None:
        """Make new keys: every token that was issued is refused from now on."""
        self._svids.clear()
        self._trats.clear()
        for name in ("svid.key.pem", "trat.key.pem"):
            (self._directory / name).unlink(missing_ok=True)
        self._svid_key = _key(self._directory / "svid.key.pem")
        self._trat_key = _key(self._directory / "trat.key.pem")

    def bundle(self) -> dict[str, object]:
        """Return the public keys as the trust domain's JWK set."""
        return {
            "keys": [
                self._svid_key.public.jwk("jwt-svid"),
                self._trat_key.public.jwk("sig"),
            ]
        }

    # -- issuing ------------------------------------------------------------

    def subject(self, grant: Grant) -> str:
        """Return the SPIFFE ID of a run's workload."""
        return f"spiffe://{self.name}/{grant.agent}/{grant.run_id}"

    def admit(self, grant: Grant) -> str:
        """Make a run known; return its SPIFFE ID."""
        subject = self.subject(grant)
        if len(subject) > _LONGEST_ID:
            raise DevserverError("the names of the run make a SPIFFE ID that is too long")
        self.grants[subject] = grant
        return subject

    def issue_svid(self, grant: Grant) -> tuple[str, float]:
        """Return a new JWT-SVID, and when it expires."""
        now = self._clock.wall()
        expiry = now + grant.svid_ttl
        claims: dict[str, Any] = {
            "sub": self.subject(grant),
            "aud": [self.audience],
            "iat": int(now),
            "exp": _seconds(expiry),
        }
        return self._svid_key.sign(claims, typ="JWT"), expiry

    def issue_trat(self, grant: Grant) -> tuple[str, float]:
        """Return a new transaction token, and when it expires."""
        now = self._clock.wall()
        expiry = now + grant.trat_ttl
        models = {name: list(grant.allowed_models.get(name, ())) for name in CATEGORIES}
        claims: dict[str, Any] = {
            "txn": grant.run_id,
            "sub": f"ostiary|{grant.org_id}",
            "scope": grant.scope,
            "req_wl": self.subject(grant),
            "iat": int(now),
            "exp": _seconds(expiry),
            "aud": self.name,
            "iss": f"https://tts.{self.name}",
            "tctx": {
                "run_id": grant.run_id,
                "org_id": grant.org_id,
                "repo_url": grant.repo_url,
                "agent_type": grant.agent,
                "agent_mode": grant.agent_mode,
                "allowed_models": models,
                "allowed_providers": list(grant.allowed_providers),
                "allowed_tools": {name: list(v) for name, v in grant.allowed_tools.items()},
            },
            "rctx": {"trigger": "manual", "actor": "ostiary-dev", "source_ip": "127.0.0.1"},
        }
        return self._trat_key.sign(claims, typ=TRAT_TYPE), expiry

    # -- reading ------------------------------------------------------------

    def verify_svid(self, text: str) -> str:
        """Return the SPIFFE ID a JWT-SVID speaks for, or raise the 401."""
        claims = self._svids.get(text)
        if claims is None:
            try:
                token = read(text)
            except BadToken as problem:
                raise _refused(
                    "svid_malformed", f"the JWT-SVID cannot be read: {problem}"
                ) from None
            try:
                claims = self._svid(token)
            except BadToken as problem:
                raise _refused("svid_invalid", f"the JWT-SVID is not valid: {problem}") from None
            _remember(self._svids, text, claims)
        if self._over(claims.exp):
            raise _refused("svid_expired", "the JWT-SVID has expired; read its file again")
        return claims.sub

    def _svid(self, token: Token) -> _Svid:
        if token.header.get("alg") not in SVID_ALGORITHMS:
            raise BadToken("its algorithm is none that an SVID may have")
        if token.header.get("typ", "JWT") not in {"JWT", "JOSE"}:
            raise BadToken("its type is neither JWT nor JOSE")
        self._signed_by(token, self._svid_key.public)
        claims = _claims(token, _Svid)
        if self.audience not in _audiences(claims.aud):
            raise BadToken("it is not for this gateway's audience")
        self._begun(claims.iat, claims.nbf)
        domain, slash, path = claims.sub.removeprefix("spiffe://").partition("/")
        if (
            not claims.sub.startswith("spiffe://")
            or domain != self.name
            or not _PATH.fullmatch(slash + path)
            or not {".", ".."}.isdisjoint(path.split("/"))
            or len(claims.sub) > _LONGEST_ID
        ):
            raise BadToken("its subject is no SPIFFE ID of this trust domain")
        return claims

    def verify_trat(self, text: str) -> Trat:
        """Return the claims of a transaction token, or raise the 401."""
        known = self._trats.get(text)
        if known is None:
            known = self._trat(text)
            _remember(self._trats, text, known)
        if self._over(known.exp):
            raise _refused(
                "txn_token_expired", "the transaction token has expired; fetch a new one"
            )
        return known

    def _trat(self, text: str) -> Trat:
        try:
            token = read(text)
            if token.header.get("typ") != TRAT_TYPE:
                raise BadToken(f"its type is not {TRAT_TYPE}")
            self._signed_by(token, self._trat_key.public)
            claims = _claims(token, Trat)
            if self.name not in _audiences(claims.aud):
                raise BadToken("it is not for this trust domain")
            if not (claims.txn and claims.sub and claims.req_wl):
                raise BadToken("a claim that it must have is empty")
            self._begun(claims.iat, None)
        except BadToken as problem:
            raise _refused(
                "txn_token_invalid", f"the transaction token is not valid: {problem}"
            ) from None
        return claims

    def _signed_by(self, token: Token, key: VerifyingKey) -> None:
        if token.header.get("kid") != key.kid:
            raise BadToken("it names no key of this trust domain")
        key.check(token)

    def _over(self, expiry: float) -> bool:
        return self._clock.wall() >= expiry + self._leeway

    def _begun(self, issued: float | None, begins: float | None) -> None:
        # One second more: `iat` is cut to whole seconds by some and rounded by others.
        latest = self._clock.wall() + self._leeway + 1
        if (issued or 0) > latest or (begins or 0) > latest:
            raise BadToken("it is not valid yet")


def _remember(known: dict[str, T], text: str, claims: T) -> None:
    known[text] = claims
    if len(known) > _REMEMBERED:
        del known[next(iter(known))]


def _seconds(moment: float) -> int | float:
    """Whole seconds where it makes no difference: some readers take nothing else."""
    whole = int(moment)
    return whole if whole == moment else round(moment, 3)


def _claims(token: Token, kind: type[T]) -> T:
    try:
        return convert(token.claims, kind)
    except msgspec.ValidationError as error:
        problem = str(error).replace("Object", "it")  # names claims and types, no values
    raise BadToken(problem)


def _audiences(claim: str | list[str]) -> list[str]:
    return [claim] if isinstance(claim, str) else claim


def _refused(code: str, message: str) -> HttpRefusal:
    return HttpRefusal(401, code, message, headers=((b"www-authenticate", b"Bearer"),))


def _key(path: Path) -> SigningKey:
    """Return the key kept at `path`, made now if there is none."""
    if not path.exists():
        create_private(path, SigningKey().pem())
    refuse_loose(path)
    try:
        return SigningKey(path.read_bytes())
    except (ValueError, TypeError):
        pass
    raise DevserverError(f"{path} holds no P-256 key; delete it, and another is made")
