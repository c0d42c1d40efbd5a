"""The gateway and its sidecar on their sockets; started beside a vault, on its event loop.

Neighbour: `ostiary.devserver.server` owns one of these.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec

from ..faults import DevserverError
from ..home import create_private
from ..http.domain import HttpDomain
from ..options import GatewayOptions, Options
from ..vault import Vault
from . import sample
from .builtin import BuiltIn
from .calls import Calls
from .endpoints import Endpoints
from .gate import Gate
from .provider import Provider
from .quota import Quota
from .runs import Run, Runs
from .sidecar import Sidecar
from .trust import Grant, TrustDomain
from .upstream import Upstream
from .wire import gateway_error

if TYPE_CHECKING:
    from .mcp import McpServers

__all__ = ["GatewayServer"]

# What the original client calls its peer, on whatever socket.
_ORIGINAL_HOST: Final = "gateway.local"


class _Uncounted:
    """Nothing here measures requests; the calls are on record instead."""

    def began(self) -> None: ...

    def ended(self, seconds: float) -> None: ...


@final
class GatewayServer:
    """A gateway in `home`; start and stop once."""

    def __init__(self, vault: Vault, home: Path, options: Options, gateway: GatewayOptions) -> None:
        self.options = gateway
        self.directory = home / "gateway"
        self.directory.mkdir(mode=0o700, exist_ok=True)
        clock = options.clock
        self.trust = TrustDomain(
            gateway.trust_domain,
            gateway.audience,
            self.directory,
            clock,
            leeway=gateway.leeway,
        )
        self.runs = Runs(self.trust, self.directory / "runs", clock, rotate=gateway.rotate)
        self.calls = Calls(vault)
        self._demo = options.demo
        self._providers = self._make_providers(options, vault)
        self._mcp = _mcp_servers(gateway.mcp)
        self._endpoints = Endpoints(
            gateway,
            Gate(self.trust, required_scope=gateway.required_scope),
            self._providers,
            Quota(gateway.quota, gateway.quota_window, clock),
            self.calls,
            clock,
            mcp=self._mcp,
        )
        self.http = HttpDomain(
            "gateway",
            home,
            self._endpoints.app,
            _Uncounted(),
            options,
            port=gateway.port,
            own_judgement=True,
            error=gateway_error,
            prepare=self._endpoints.prepare,
            hosts=(_ORIGINAL_HOST,),
        )
        self.environment: dict[str, str] = {}
        self.run: Run
        self.sidecar: HttpDomain
        self._home = home
        self._all = options

    async def start(self) -> None:
        """Issue the first tokens, and listen."""
        self.run = self.runs.open(self.grant(), directory=self.directory)
        self._write_bundle()
        sidecar = Sidecar(self.runs, self.run, self.calls, self.environment)
        self.sidecar = HttpDomain(
            "sidecar",
            self._home,
            sidecar.app,
            _Uncounted(),
            self._all,
            port=None,
            own_judgement=True,
            error=gateway_error,
            prepare=sidecar.prepare,
            hosts=(_ORIGINAL_HOST,),
        )
        self.environment.update(self.environment_of(self.run))
        await self.http.start()
        await self.sidecar.start()

    async def stop(self, grace: float) -> None:
        """Stop listening, end what is in hand, write no more tokens."""
        self.runs.close()
        sidecar = getattr(self, "sidecar", None)
        if sidecar is not None:
            await sidecar.stop(grace)
        await self.http.stop(grace)
        if self._mcp is not None:
            await self._mcp.stop()
        for provider in self._providers.values():
            await provider.close()

    def grant(self) -> Grant:
        """Return what the default run may do."""
        options = self.options
        models = options.allowed_models
        if models is None:
            models = sample.models(demo=self._demo)
        providers = options.allowed_providers
        if providers is None:
            named = (one.partition(":")[0] for each in models.values() for one in each)
            providers = tuple(dict.fromkeys(named))
        return Grant(
            run_id=options.run_id,
            org_id=options.org_id,
            agent=options.agent,
            scope=options.scope,
            allowed_models=models,
            allowed_providers=providers,
            allowed_tools=options.allowed_tools,
            svid_ttl=options.svid_ttl,
            trat_ttl=options.trat_ttl,
        )

    def environment_of(self, run: Run) -> dict[str, str]:
        """Return the variables that an agent of this run needs."""
        found = {
            "RUN_ID": run.grant.run_id,
            "ORG_ID": run.grant.org_id,
            "SPIFFE_JWT_PATH": str(run.svid_file),
            "TRAT_FILE": str(run.trat_file),
            "LLM_GATEWAY_SOCKET": str(self.http.socket_path),
            "WORK_DIR": str(run.work_dir),
            "OUTPUT_PATH": str(run.output_dir),
        }
        if run is self.run:
            # The sidecar speaks for one run, as it does in a pod.
            found["AUTH_SIDECAR_SOCKET"] = str(self.sidecar.socket_path)
        return found

    def revoke(self) -> None:
        """Replace the keys: tokens issued so far are refused, and every file has new ones."""
        self.trust.replace_keys()
        self._write_bundle()
        self.runs.renew_all()

    def _make_providers(self, options: Options, vault: Vault) -> Mapping[str, Provider]:
        gateway = self.options
        names = gateway.stand_ins
        if names is None:
            names = sample.STAND_INS if options.demo else ()
        clock, pace = options.clock, gateway.pace
        found: dict[str, Provider] = {
            name: BuiltIn(clock, pace=pace, any_model=True) for name in names
        }
        found[sample.BUILT_IN] = BuiltIn(clock, pace=pace, any_model=False)
        if sample.BUILT_IN in gateway.forward:
            raise DevserverError(
                f"{sample.BUILT_IN} is the built-in provider; forward another name"
            )
        for name, forward in gateway.forward.items():
            found[name] = Upstream(forward, vault)
        return found

    def _write_bundle(self) -> None:
        """Write the public keys beside the tokens, for whoever verifies them elsewhere."""
        path = self.directory / "bundle.json"
        path.unlink(missing_ok=True)
        create_private(path, msgspec.json.encode(self.trust.bundle()))


def _mcp_servers(commands: Mapping[str, tuple[str, ...]]) -> McpServers | None:
    if not commands:
        return None
    if importlib.util.find_spec("mcp") is None:
        raise DevserverError(
            "MCP servers need the extra: `pip install 'ostiary[mcp]'`, or leave them out"
        )
    from .mcp import McpServers

    return McpServers(commands)
