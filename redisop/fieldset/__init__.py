"""Compares a manifest with a live object by the fields the server says are ours (`metadata.managedFields`, FieldsV1).

So the live object brings its own schema, and no OpenAPI is needed. Source: KEP-555; structured-merge-diff's fieldpath package.
"""

from redisop.fieldset.diff import MISSING, Difference, Missing, Op, diff
from redisop.fieldset.fields import Entry, Fields, Path, divided, entry, holder, path_text, project, restrict, same

__all__ = [
    "MISSING",
    "Difference",
    "Entry",
    "Fields",
    "Missing",
    "Op",
    "Path",
    "diff",
    "divided",
    "entry",
    "holder",
    "path_text",
    "project",
    "restrict",
    "same",
]
