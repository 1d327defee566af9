"""Conventions of terminals."""

import os


def color_of(*, terminal: bool) -> bool:
    """Tell whether to colour output, by the conventions of NO_COLOR (no-color.org) and of FORCE_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (terminal and os.environ.get("TERM") != "dumb")
