"""Shows a Plan: text for people, a document for programs. No format shows a value of a Secret, its length or its digest."""

from redisop.render.document import document
from redisop.render.text import text

__all__ = ["document", "text"]
