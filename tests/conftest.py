"""What every test may rely on."""

from __future__ import annotations

import signal

from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("isoglot", deadline=None)
settings.load_profile("isoglot")


def pytest_configure() -> None:
    """Hear Ctrl-C even where a shell started the tests in the background with it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
