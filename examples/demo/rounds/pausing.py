"""Either colour's sleep, under the names that tools/unasync.py has for them."""

from asyncio import sleep as async_sleep
from time import sleep

__all__ = ["async_sleep", "sleep"]
