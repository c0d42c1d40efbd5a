"""What an agent does, in both colours: `_async.py` is written by hand, `_sync.py` from it."""

from ._async import take_part as take_part_on_loop
from ._sync import take_part as take_part_on_thread

__all__ = ["take_part_on_loop", "take_part_on_thread"]
