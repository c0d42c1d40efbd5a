"""The one multiplexed channel of an asyncio client, and who waits for it. Twin of `blocking_pool`.

Whoever needs it first opens it, in a task that outlives a cancelled caller while others wait.
"""

from libc.math cimport INFINITY

from .aio cimport AsyncChannel, another_loop

import copy

from ..errors import ClientStateError, DeadlineError
from .sockets import forget_after_fork, seconds_left


class AsyncChannelPool:
    """The one multiplexed channel of a client, opened by whoever needs it first."""

    def __init__(self, opener, limit):
        self._opener = opener
        self._channel = None
        self._opening = None
        self._closed = False
        forget_after_fork(self)

    def ready(self):
        cdef AsyncChannel channel = self._channel
        if channel is not None and channel.usable():
            return channel
        return None

    async def open(self, deadline, /):
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            if self._closed:
                raise ClientStateError("the client is closed; connect it again, or make another")
            channel = self.ready()
            if channel is not None:
                return channel
            task = self._opening
            if task is not None and task.done():
                self._opened(task)      # in the turn in which it ended, before its callback
                continue
            if task is not None and task.get_loop() is not loop:
                if task.get_loop().is_running():
                    raise another_loop()
                task = None             # that loop has ended, and with it the opening
            mine = task is None
            if mine:
                # A task of its own: whoever began it may be cancelled while others wait.
                task = self._opening = loop.create_task(self._opener(deadline))
                task.add_done_callback(self._opened)
            left = seconds_left(deadline)
            await asyncio.wait((task,), timeout=None if left == INFINITY else left)
            if not task.done():
                raise DeadlineError("the call's time ran out while the connection was opened")
            if task.cancelled():
                continue
            error = task.exception()
            if error is None:
                continue
            if mine or not isinstance(error, DeadlineError):
                # One instance per waiter: a shared one would collect all their tracebacks.
                raise error if mine else copy.copy(error)

    def _opened(self, task):
        if self._opening is task:
            self._opening = None
        if task.cancelled() or task.exception() is not None:
            return
        channel = task.result()
        if channel is self._channel or channel.closed:
            return                      # seen before
        if self._closed:
            channel.close()
        else:
            self._channel = channel

    def release(self, channel, /):
        pass

    def channels(self):
        channel = self._channel
        return [] if channel is None or channel.closed else [channel]

    def close(self):
        self._closed = True
        if self._opening is not None and not self._opening.get_loop().is_closed():
            self._opening.cancel()
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def abandon(self):
        if self._channel is not None:
            self._channel.abandon()
        self._channel = None
        self._opening = None
