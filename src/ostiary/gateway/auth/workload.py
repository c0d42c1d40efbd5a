"""One call to the SPIFFE Workload API; needs the extra `spiffe`.

A channel lives as long as its call: SVIDs are fetched minutes apart, and a gRPC channel that
is kept does not survive a fork.
"""

from __future__ import annotations

from spiffe import SpiffeId, WorkloadApiClient
from spiffe.errors import ArgumentError, PySpiffeError
from spiffe.spiffe_id.spiffe_id import SpiffeIdError

from ...secret import Secret
from .jwt import ReadFailure

__all__ = ["fetch"]

_ADVICE = {
    "PERMISSION_DENIED": "knows no identity of this workload; register one",
    "INVALID_ARGUMENT": "refused the request; see the audience and the SPIFFE ID",
    "UNAVAILABLE": "cannot be reached; see that the agent is running",
    "DEADLINE_EXCEEDED": "did not answer in time",
}


def fetch(socket: str, audience: str, spiffe_id: str | None, timeout: float) -> Secret:
    """Return a fresh JWT-SVID for `audience`; raise `ReadFailure` that says why there is none.

    `spiffe_id` chooses among several identities. Blocks for at most `timeout` seconds.
    """
    try:
        subject = None if spiffe_id is None else SpiffeId(spiffe_id)
        with WorkloadApiClient(socket) as client:
            return Secret(client.fetch_jwt_svid({audience}, subject, timeout=timeout).token)
    except (ArgumentError, SpiffeIdError) as error:
        problem = f"cannot be asked: {error}"
    except PySpiffeError as error:
        problem = _ADVICE.get(_status(error), "gave no JWT-SVID")
    raise ReadFailure(problem)


def _status(error: PySpiffeError) -> str:
    """Return the name of the gRPC status behind an error; empty when there is none."""
    code = getattr(error.__cause__, "code", None)
    return str(getattr(code(), "name", "")) if callable(code) else ""
