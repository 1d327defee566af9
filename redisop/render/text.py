"""A Plan as text for a terminal."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from redisop.fieldset import MISSING, Op, entry, project, restrict
from redisop.kinds import MANAGER, Object, Ref
from redisop.plan import Action, Change, Plan, Step
from redisop.render.mask import mask_change, mask_objects
from redisop.values import Pending

_MARKS = {
    Action.CREATE: ("+", "32"),
    Action.APPLY: ("~", "33"),
    Action.REPLACE: ("-/+", "31"),
    Action.DELETE: ("-", "31"),
    Action.RESTART: ("*", "36"),
    Action.CONFLICT: ("!", "35"),
    Action.UNCHANGED: ("=", "2"),
}
_COUNTED = {
    Action.CREATE: "to create",
    Action.APPLY: "to change",
    Action.REPLACE: "to replace",
    Action.DELETE: "to delete",
    Action.RESTART: "to restart",
    Action.CONFLICT: "in conflict",
    Action.UNCHANGED: "unchanged",
}
_WITH_BODY = {Action.CREATE, Action.APPLY, Action.REPLACE, Action.DELETE}
_LINE = {"+": "32", "-": "31", "@": "36"}
_WIDTH = 120


def text(
    plans: Iterable[Plan],
    *,
    color: bool = False,
    show_unchanged: bool = False,
    diff: bool = False,
    notes: Mapping[Ref, Sequence[str]] | None = None,
) -> str:
    """Return the plans as text, ending in a newline and a line of counts.

    `diff` shows each object as a unified diff of the YAML of our fields instead of field by field. `notes` are remarks by key of
    a Plan. Control characters in what the cluster holds are escaped.
    """
    plans = tuple(plans)
    lines: list[str] = []
    for plan in plans:
        said = (notes or {}).get(plan.key, ())
        steps = [step for step in plan.steps if show_unchanged or step.action is not Action.UNCHANGED or step.reasons]
        if not steps and not said:
            continue
        lines.append(f"{plan.key.kind} {plan.key.namespace}/{plan.key.name}")
        for step in steps:
            lines += _step(step, diff=diff, color=color)
        lines += [_clean(f"  {note}") for note in said]
        lines.append("")
    return "\n".join([*lines, _summary(plans)]) + "\n"


def _summary(plans: Sequence[Plan]) -> str:
    counts = {action: sum(plan.counts()[action] for plan in plans) for action in Action}
    if all(plan.empty for plan in plans):
        count = counts[Action.UNCHANGED]
        return f"No changes: {count} object{'' if count == 1 else 's'} as wanted."
    return (
        "Plan: " + ", ".join(f"{counts[action]} {words}" for action, words in _COUNTED.items() if counts[action]) + "."
    )


def _step(step: Step, *, diff: bool, color: bool) -> Iterator[str]:
    mark, code = _MARKS[step.action]
    what = f"{step.ref}/{step.subresource}" if step.subresource else str(step.ref)
    yield _paint(_clean(f"  {mark:<3} {step.action.value:<9} {what}"), code, color=color)
    for reason in step.reasons:
        yield _clean(f"        {reason}")
    if step.pending:
        yield _clean(f"        waits for {', '.join(sorted(set(_pending(step.want))))}")
    if diff and step.action in _WITH_BODY:
        yield from (_paint("      " + line, _LINE.get(line[:1], ""), color=color) for line in _unified(step))
    else:
        for change in step.changes:
            yield from _change(step.ref.kind, change, color=color)


def _change(kind: str, change: Change, *, color: bool) -> Iterator[str]:
    old, new = mask_change(kind, change.path, change.old, change.new)
    by = f"  (by {change.manager}{' at ' + change.time if change.time else ''})" if change.manager is not None else ""
    if change.op is Op.OWN:
        yield _paint(
            _clean(f"      = {change.path}{'' if new is MISSING else ': ' + _value(new)}  (to own)") + _clean(by),
            "2",
            color=color,
        )
    elif isinstance(old, str) and isinstance(new, str) and "\n" in old + new:
        yield _paint(_clean(f"      ~ {change.path}:{by}"), "33", color=color)
        for line in _lines(old.splitlines(), new.splitlines()):
            yield _paint("          " + line, _LINE.get(line[:1], ""), color=color)
    elif old is MISSING:
        yield _paint(_clean(f"      + {change.path}: {_value(new)}{by}"), "32", color=color)
    elif new is MISSING:
        yield _paint(_clean(f"      - {change.path}: {_value(old)}{by}"), "31", color=color)
    else:
        yield _paint(_clean(f"      ~ {change.path}: {_value(old)} → {_value(new)}{by}"), "33", color=color)


def _value(value: Any) -> str:
    shown = value if isinstance(value, str) and value.startswith("(") else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _WIDTH else shown[: _WIDTH - 1] + "…"


def _unified(step: Step) -> Iterator[str]:
    before, after = mask_objects(_ours(step), step.want)
    return _lines(_yaml(before), _yaml(after), f"{step.ref} (live)", f"{step.ref} (planned)")


def _ours(step: Step) -> Object | None:
    if step.live is None:
        return None
    mine = entry(step.live, MANAGER, step.subresource)
    fields = (mine.fields or None) if mine else None
    shown: Object
    if step.want is None:
        shown = {
            "apiVersion": step.ref.api_version,
            "kind": step.ref.kind,
            **(project(fields, step.live) if fields else {}),
        }
    else:
        shown = restrict(step.want, fields, step.live)
    return shown


def _yaml(obj: Object | None) -> list[str]:
    return (
        []
        if obj is None
        else yaml.dump(obj, Dumper=_Dumper, sort_keys=True, width=_WIDTH, allow_unicode=True).splitlines()
    )


def _lines(old: Sequence[str], new: Sequence[str], before: str = "", after: str = "") -> Iterator[str]:
    found = difflib.unified_diff(old, new, before, after, lineterm="")
    return (_clean(line) for number, line in enumerate(found) if before or number > 1)


def _pending(value: Any) -> Iterator[str]:
    if isinstance(value, Pending):
        yield value.on
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _pending(item)


def _clean(line: str) -> str:
    """Escape what could steer a terminal: anything in the cluster may have been written by somebody else."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def _paint(line: str, code: str, *, color: bool) -> str:
    return f"\x1b[{code}m{line}\x1b[0m" if color and code else line


class _Dumper(yaml.SafeDumper):
    """Writes texts of many lines as blocks, so that a diff goes line by line."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the name is PyYAML's
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
