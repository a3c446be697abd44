"""The key that feedback tokens are signed with: from a setting, or made once and kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from app.core.errors import FeedbackLogError
from app.core.feedback.tokens import MIN_KEY_BYTES

KEY_FILE = "feedback.key"
_KEY_BYTES = 32


def feedback_key(data_dir: Path, configured: SecretStr | None) -> bytes:
    """Return the key; where none is configured, that of the data directory, which is made once.

    Several processes may start at once: the first one's file is the one that all of them read.

    Args:
        data_dir: Where the key is kept, readable by its owner alone.
        configured: The key as it was set.

    Raises:
        FeedbackLogError: The file cannot be read or written, or holds no key.
    """
    if configured is not None:
        return configured.get_secret_value().encode()
    path = data_dir / KEY_FILE
    try:
        if not path.exists():
            _make(path)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise FeedbackLogError(
            f"The key of feedback tokens, {path}, cannot be read or written: {error.strerror}."
        ) from error
    except ValueError:
        key = b""
    if len(key) < MIN_KEY_BYTES:
        raise FeedbackLogError(
            f"{path} holds no key of feedback tokens. Remove it to have a new one made; tokens "
            "that are out are then refused."
        )
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link, not a rename: it fails where another process was first.
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()
