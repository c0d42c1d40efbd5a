"""A gateway that runs beside the caller, whose methods may be called from any thread.

Neighbour: `ostiary.devserver.inprocess` makes these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, final

import msgspec

from ...errors import InvalidArgumentError
from ...secret import Secret
from ..http.staged import HttpFaults
from .calls import CallRecord
from .runs import Run

if TYPE_CHECKING:
    from .server import GatewayServer

__all__ = ["RunningGateway", "RunningRun"]

T = TypeVar("T")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class _Do(Protocol):
    def __call__(self, change: Callable[[], T], /) -> T: ...


@final
class RunningRun:
    """One run's identity: its files, its variables, and its tokens as they are now."""

    def __init__(self, run: Run, environment: Mapping[str, str], do: _Do) -> None:
        self._run = run
        self._do = do
        self.run_id = run.grant.run_id
        self.org_id = run.grant.org_id
        self.svid_file: Path = run.svid_file
        self.trat_file: Path = run.trat_file
        self.environment: dict[str, str] = dict(environment)

    @property
    def svid(self) -> Secret:
        """The JWT-SVID that the file holds."""
        return Secret(self._do(lambda: self._run.svid))

    @property
    def trat(self) -> Secret:
        """The transaction token that the file holds."""
        return Secret(self._do(lambda: self._run.trat))

    def headers(self) -> dict[str, str]:
        """Return the two headers that prove this run; they are secrets."""
        return {
            "Authorization": f"Bearer {self.svid.reveal()}",
            "Txn-Token": self.trat.reveal(),
        }

    def __repr__(self) -> str:
        return f"<RunningRun {self.run_id}>"


@final
class RunningGateway:
    """The gateway and sidecar of one embedded server; `default` is the run they begin with."""

    def __init__(self, server: GatewayServer, do: _Do) -> None:
        self._server = server
        self._do = do
        self.socket_path: Path = server.http.socket_path
        self.sidecar_path: Path = server.sidecar.socket_path
        self.unix_url: str = server.http.unix_url
        self.url: str | None = server.http.url
        self.faults: HttpFaults = server.http.faults
        self.sidecar_faults: HttpFaults = server.sidecar.faults
        self.default = RunningRun(server.run, server.environment, do)
        self.svid_file: Path = self.default.svid_file
        self.trat_file: Path = self.default.trat_file
        self.environment: dict[str, str] = self.default.environment

    def __repr__(self) -> str:
        return f"<RunningGateway {self.socket_path}>"

    def headers(self) -> dict[str, str]:
        """Return the two headers that prove the default run; they are secrets."""
        return self.default.headers()

    def issue(
        self,
        run_id: str,
        org_id: str = "local",
        *,
        allowed_models: Mapping[str, Sequence[str]] | None = None,
        allowed_providers: Sequence[str] | None = None,
        allowed_tools: Mapping[str, Sequence[str]] | None = None,
        **claims: Any,
    ) -> RunningRun:
        """Start another run, with tokens in files of its own.

        What is left out is as in the default run. `claims` are other members of `Grant`, such
        as `agent`, `scope`, `svid_ttl` and `trat_ttl`. The sidecar speaks for the default run
        alone, so that this one's environment has no `AUTH_SIDECAR_SOCKET`.
        """
        for name in (run_id, org_id, claims.get("agent", "agent")):
            if not _NAME.fullmatch(name):
                raise InvalidArgumentError(
                    f"{name!r} is no name; use letters, digits, dots, dashes and underscores"
                )
        changed: dict[str, Any] = {"run_id": run_id, "org_id": org_id, **claims}
        if allowed_models is not None:
            changed["allowed_models"] = {name: tuple(v) for name, v in allowed_models.items()}
        if allowed_providers is not None:
            changed["allowed_providers"] = tuple(allowed_providers)
        if allowed_tools is not None:
            changed["allowed_tools"] = {name: tuple(v) for name, v in allowed_tools.items()}
        server = self._server
        grant = msgspec.structs.replace(server.run.grant, **changed)
        run = self._do(lambda: server.runs.open(grant))
        return RunningRun(run, server.environment_of(run), self._do)

    def rotate(self) -> None:
        """Write new tokens into every run's files; those issued before stay good."""
        self._do(self._server.runs.renew_all)

    def revoke(self) -> None:
        """The same, under new keys: tokens that were issued before are refused."""
        self._do(self._server.revoke)

    def calls(self) -> list[CallRecord]:
        """Return the latest calls, oldest first; the audit log has them all."""
        return self._do(self._server.calls.latest)
