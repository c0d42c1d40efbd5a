"""What can become of an input, or of a fleet, but for what the work itself raises.

FleetError
├── ExecutorError          the executor takes no more work, or is not there; also a RuntimeError
├── NotPortableError       work, an input or a value cannot go to another process; also a TypeError
├── WorkerLostError        the process that worked on the input ended, also when it did nothing else
├── WorkTimeoutError       an attempt took longer than allowed; also a builtin TimeoutError
├── WorkEndedError         the work raised what ends a process: SystemExit, a cancellation
├── AgentFailedError       an agent's result says that it failed; `exit_code`
└── RemoteError            an exception that could not come back as it was, as its text
"""

from __future__ import annotations

from ..errors import OstiaryError

__all__ = [
    "AgentFailedError",
    "ExecutorError",
    "FleetError",
    "NotPortableError",
    "RemoteError",
    "WorkEndedError",
    "WorkTimeoutError",
    "WorkerLostError",
    "told",
]


class FleetError(OstiaryError):
    """Root of what the fleet raises, or gives as an input's error."""


class ExecutorError(FleetError, RuntimeError):
    """The executor takes no more work; inputs without a result are to be run again."""


class NotPortableError(FleetError, TypeError):
    """Work, an input or a value cannot be sent to another process or back."""


class WorkerLostError(FleetError):
    """The worker ended each time it had this input, at last with no other beside it."""


class WorkTimeoutError(FleetError, TimeoutError):
    """An attempt took longer than the fleet's `timeout`.

    `began` is False for a function that had no thread in all that time.
    """

    began: bool

    def __init__(self, message: str = "", *, began: bool = True) -> None:
        super().__init__(message)
        self.began = began


class WorkEndedError(FleetError):
    """The work raised what would end a process or a task; only its input has failed."""


class AgentFailedError(FleetError):
    """An agent returned a result that names an error; the result is the input's value."""

    exit_code: int = 1

    def __init__(self, message: str = "", *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RemoteError(FleetError):
    """What the work raised in another process, where it could not be pickled."""


def told(error: BaseException) -> str:
    """Return an error's name and text; only the name where it cannot say its text."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:  # noqa: BLE001 - anybody's __str__
        return name
