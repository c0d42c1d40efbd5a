"""Ray, which brings no executor: its tasks as one; extra `ray`."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Final, cast

from .errors import ExecutorError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RayExecutor"]

_STORE_BYTES: Final = 256 * 1024 * 1024


class RayExecutor(Executor):
    """Calls as Ray tasks, on the cluster this process is connected to or on another.

    `address` is `ray://HOST:PORT` or what else `ray.init` takes; None uses what is connected,
    and starts a cluster on this machine when nothing is. What was started or connected here
    ends by `shutdown`. A task whose worker dies is not repeated by Ray: its future says so.
    Raises `ExecutorError` where the package or the cluster is missing.
    """

    pickler = "ray.cloudpickle"

    def __init__(self, address: str | None = None) -> None:
        self._ray, self._ours = _joined(address)
        self._task = self._ray.remote(max_retries=0, num_cpus=1)(_call)

    @property
    def slots(self) -> int:
        """How many calls run at once: as many as there are CPUs."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a worker make a call."""
        reference = self._task.remote(fn, args, kwargs)
        future = cast("Future[Any]", reference.future())

        def dropped(future: Future[Any]) -> None:
            if future.cancelled():
                self._ray.cancel(reference)

        future.add_done_callback(dropped)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster if it was joined here, and end it if it was started here."""
        if self._ours:
            self._ours = False
            self._ray.shutdown()


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)


def _joined(address: str | None) -> tuple[Any, bool]:
    """Return the package, and whether the connection was made here."""
    try:
        import ray  # pyright: ignore
    except ImportError:
        reason = "it is not installed; run pip install 'ostiary[ray]'"
    else:
        found = cast("Any", ray)
        if address is None and found.is_initialized():
            return found, False
        try:
            # The fleet itself tells of workers that died.
            found.init(address, log_to_driver=False, logging_level="ERROR", **_here(address))
            return found, True
        except Exception as error:  # noqa: BLE001 - Ray's, gRPC's, or what is missing for them
            reason = f"the cluster {address or 'on this machine'} cannot be joined: {error}"
    raise ExecutorError(f"Ray: {reason}")


def _here(address: str | None) -> dict[str, Any]:
    # What passes through it are batches and their results, and not data sets.
    return {} if address else {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
