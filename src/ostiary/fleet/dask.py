"""Dask: its own executor, over a connection of the fleet's or the caller's; extra `dask`."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, cast

from .errors import ExecutorError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["connect", "slots"]


def connect(place: str) -> Executor:
    """Connect to a scheduler at HOST:PORT; return its executor.

    Raises `ExecutorError` where the package or the scheduler is missing.
    """
    try:
        import distributed  # pyright: ignore
    except ImportError:
        reason = "it is not installed; run pip install 'ostiary[dask]'"
    else:
        try:
            client = cast("Any", distributed).Client(f"tcp://{place}", set_as_default=False)
            return DaskExecutor(client)
        except (OSError, ValueError) as error:  # its TimeoutError is an OSError
            reason = f"the scheduler at {place} cannot be reached: {error}"
    raise ExecutorError(f"Dask: {reason}")


class DaskExecutor(Executor):
    """The executor of a client that ends with it."""

    pickler = "cloudpickle"

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor: Executor = client.get_executor()

    @property
    def slots(self) -> int:
        """How many calls run at once."""
        return slots(self._executor)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a worker make a call."""
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, which goes on."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close()


def slots(executor: Executor) -> int:
    """Return how many threads the workers have that a client's executor sends to."""
    client = cast("Any", executor)._client
    if not client.nthreads():
        client.wait_for_workers(1)
    return max(1, int(sum(client.nthreads().values())))
