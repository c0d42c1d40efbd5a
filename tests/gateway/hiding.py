"""What an error may show: nothing that was secret, in words or in the frames it passed."""

from __future__ import annotations

import traceback

from ostiary.errors import OstiaryError
from tests.frames import OURS


def assert_hides(error: OstiaryError, *secrets: str) -> None:
    """Neither the error nor the locals of our frames that raised it show a token."""
    texts = [str(error), repr(error), repr(error.__dict__)]
    found = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in found.stack:
        if frame.filename.startswith(OURS):
            texts += [str(value) for value in (frame.locals or {}).values()]
    for text in texts:
        for secret in secrets:
            if len(secret) > 3:
                assert secret not in text
