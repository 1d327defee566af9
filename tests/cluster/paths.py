"""Where the test cluster keeps what it builds and what it runs."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Folder for builds and images; may be deleted at any time."""
    return _folder("XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Folder that tells which clusters run."""
    return _folder("XDG_STATE_HOME", ".local/state")


def _folder(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable) or str(Path.home() / fallback)
    folder = Path(base) / "redisop"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
