"""One client for the services between an agent and the world.

Each domain is a package of its own, imported when it is used: `ostiary.vault` today. This
module imports none of them, so that `import ostiary` costs next to nothing.
"""

from __future__ import annotations

from .errors import OstiaryError
from .secret import Secret

__all__ = ["OstiaryError", "Secret", "__version__"]

# Written here and read by the build: asking the installed metadata costs more than all the rest.
__version__ = "0.1.0"
