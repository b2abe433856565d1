"""Keys: read from the environment, sent in a header, taken out of every text that comes back.

No message of this module repeats what a recipe holds in the place of a variable's name: it may be
the key itself, pasted there by mistake.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from rlvr.errors import ConfigError
from rlvr.teacher.teacher_config import EndpointSection

__all__ = ["check_endpoints", "key_of", "without_key"]

# keys as they are handed out have small letters or hyphens in them
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def check_endpoints(endpoints: Sequence[EndpointSection], *, section: str) -> None:
    """Raises ConfigError: no address, a password in it, a key that is not in the environment."""
    for number, endpoint in enumerate(endpoints):
        key = f"{section}.endpoints.{number}"
        parts = urlsplit(endpoint.url)
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                f"{key}.url: holds a user, password or query; the key comes from the environment, "
                "by key_env"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{key}.url: {endpoint.url!r} is no address; allowed: http(s)://HOST[:PORT]/v1"
            )
        _check_key(endpoint, key=f"{key}.key_env")


def key_of(endpoint: EndpointSection) -> str | None:
    """The key, for the header alone."""
    return os.environ[endpoint.key_env] if endpoint.key_env is not None else None


def without_key(text: str, key: str | None) -> str:
    """A text of the other side, which may repeat the key ("Incorrect API key: ...")."""
    return text.replace(key, "[key]") if key else text


def _check_key(endpoint: EndpointSection, *, key: str) -> None:
    if endpoint.key_env is None:
        return
    if _VARIABLE.fullmatch(endpoint.key_env) is None:
        raise ConfigError(
            f"{key}: is not the name of a variable in capitals, such as DEEPSEEK_API_KEY; "
            "a key itself never stands in a recipe"
        )
    value = os.environ.get(endpoint.key_env, "")
    if not value.strip():
        raise ConfigError(
            f"{key}: the environment does not hold {endpoint.key_env}; "
            f"export {endpoint.key_env}=... and start again"
        )
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"{key}: {endpoint.key_env} holds what cannot be sent in a header")
