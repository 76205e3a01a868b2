"""SHA-256 without hashlib, whose import costs more than the hashing.

Python has the code in an extension module of its own, whose name changed in 3.12. An import that is merely
tried would make a bare interpreter look through its whole path.

See docs/decisions/0008.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 12):
    from _sha2 import sha256
else:
    from _sha256 import sha256

__all__ = ["sha256"]
