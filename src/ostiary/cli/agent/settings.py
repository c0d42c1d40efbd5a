"""`ostiary agent settings`: what an agent that is started here would read from its environment.

Shows where tokens and keys are, and none of them.
"""

from __future__ import annotations

import os
from typing import Final

from ..session import Json, reporting

__all__ = ["settings"]

_INPUT: Final = ("REPO_PATH", "REPO_REF", "REPO_URL")


def settings(json: Json = False) -> None:
    """Show what the environment says to an agent: its run, its mode, its places, its limits.

    Where it names no directories, `ostiary agent run` has its own, which its help names. API keys
    are shown as set or not set. Exits 1 when the environment contradicts itself.
    """
    with reporting(json) as screen:
        # Here, because --help and completion need none of it.
        from ...gateway import providers
        from ...gateway.runner import grace_period
        from ...gateway.settings import DEFAULT_MODEL, GatewaySettings

        found = GatewaySettings.from_environment()
        shown: dict[str, object] = {
            "mode": "direct" if found.direct else "gateway",
            "run": found.run_id or None,
            "organisation": found.org_id or None,
            "repository": os.environ.get(_INPUT[0]) or None,
            "reference": os.environ.get(_INPUT[1]) or None,
            "work directory": found.work_dir,
            "output directory": found.output_dir,
        }
        if found.direct:
            shown["model"] = found.model or DEFAULT_MODEL
            for one in providers.providers():
                if one.key_env:
                    shown[f"{one.name} key"] = "set" if os.environ.get(one.key_env) else None
        else:
            shown["gateway"] = found.gateway
            shown["SVID"] = found.spiffe_jwt_path or found.workload_socket
            shown["Transaction Token"] = found.trat_file
            shown["auth sidecar"] = found.sidecar_socket
        shown["timeout"] = f"{found.timeout:g} s"
        shown["retries"] = found.max_retries
        shown["grace period"] = f"{grace_period():g} s"
        shown["log format"] = found.log_format
        if json:
            screen.document({name.replace(" ", "_").lower(): v for name, v in shown.items()})
        else:
            screen.facts(shown)
