"""What is put on the vault's record: who had what done, and how it ended; never what was said.

Neighbour: `ostiary.devserver.audit` chains the entries.
"""

from __future__ import annotations

import logging

from ..audit import Event
from .context import Context

__all__ = ["record"]

_log = logging.getLogger(__name__)


def record(context: Context, event: Event) -> None:
    """Put an event on record, and on file.

    A vault that has never been unlocked records nothing yet; one that cannot write says so
    in the log, and refuses work of its own from then on.
    """
    vault = context.vault
    if vault.failed:
        return
    vault.record(event)
    try:
        vault.flush()
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing was recorded
        _log.critical("the vault cannot write its record: %s", error)
