"""Memory that was freed, given back to the operating system.

The tokenizer of an encoder is some hundred thousand small pieces. Once it is freed, glibc keeps
their pages for what comes next, and what comes next is another size: every bundle that is loaded
into a running service would leave a process that looks as large as two.
"""

from __future__ import annotations

import ctypes


def give_back_memory() -> None:
    """Return freed pages to the system, which takes milliseconds; elsewhere than on glibc nothing.

    Other threads run meanwhile.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
