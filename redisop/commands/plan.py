"""`redisop plan`: what the operator would do, from the same decision the operator makes."""

import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import click
import yaml

from redisop import documents, render
from redisop.api import parse
from redisop.decide import Decision, decide, notes
from redisop.errors import InputError
from redisop.kinds import INSTANCE, Object, Ref, ref_of
from redisop.settings import Settings
from redisop.terminal import color_of

Decided: TypeAlias = list[tuple[Decision, dict[Ref, Object]]]
"""Decisions, each with the live objects it was made from."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which instances to plan for: one by name, those given in files, or all of a namespace or of the cluster."""

    name: str | None
    given: tuple[Object, ...] | None
    everywhere: bool
    namespace: str | None


@click.command()
@click.argument("name", required=False)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    metavar="FILE",
    help="Plan for the instances in FILE as if it were applied; - is stdin.",
)
@click.option(
    "--all",
    "everywhere",
    is_flag=True,
    help="Plan for every instance of every namespace: previews a new operator version.",
)
@click.option("-n", "--namespace", help="Namespace; the default is that of the kubeconfig's context.")
@click.option("--offline", is_flag=True, help="Ask no cluster: plan for -f as if nothing were there yet.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
@click.option("--show-unchanged", is_flag=True, help="List the objects that would be left as they are, too.")
@click.option("--diff", is_flag=True, help="Show each object as a unified diff of the fields that are ours.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    help="Kubeconfig file; the default is KUBECONFIG or ~/.kube/config.",
)
@click.option("--context", help="Context of the kubeconfig.")
def plan(
    *,
    name: str | None,
    files: tuple[str, ...],
    everywhere: bool,
    namespace: str | None,
    offline: bool,
    output: str,
    show_unchanged: bool,
    diff: bool,
    kubeconfig: Path | None,
    context: str | None,
) -> int:
    """Show what the operator would do, field by field. Changes nothing.

    Without NAME and -f, plans for all instances of the namespace. Each field that differs is shown with its path as the API
    server writes it, old and new value, and who changed it if it was somebody else. Values of Secrets are never shown.

    The operator's settings (REDISOP_… variables) are read from the environment: give the same ones as the operator has.

    \b
      redisop plan demo
      redisop plan -f instance.yaml --diff
      kubectl kustomize overlays/prod | redisop plan -f -
      redisop plan --all -o json

    Exit codes: 0 no changes, 1 changes, 2 error.
    """
    if sum([name is not None, bool(files), everywhere]) > 1:
        raise click.UsageError("NAME, --filename and --all exclude each other.")
    if offline and not files:
        raise click.UsageError("--offline has no cluster to read from: give --filename.")
    if everywhere and namespace is not None:
        raise click.UsageError("--all means all namespaces: leave out --namespace.")
    settings = Settings.from_env(os.environ)
    given = _read(files)
    if offline:
        decisions: Decided = [
            (decide(documents.as_new(_placed(obj, namespace, "default")), {}, {}, settings), {}) for obj in given
        ]
    else:
        chosen = Choice(name, given if files else None, everywhere, namespace)
        decisions = _with_cluster(kubeconfig, context, lambda client: _decide(client, chosen, settings))
    click.echo(_shown(decisions, output, show_unchanged=show_unchanged, diff=diff), nl=False)
    if any(decision.refusal is not None for decision, _ in decisions):
        return 2
    return 0 if all(decision.plan.empty for decision, _ in decisions) else 1


def _read(files: tuple[str, ...]) -> tuple[Object, ...]:
    with ExitStack() as stack:
        found = documents.read([_opened(stack, file) for file in files])
    for obj in found.others:
        parse(obj)
        _note(f"{obj['kind']}/{obj['metadata']['name']} is valid; this version plans instances only")
    if found.foreign:
        kinds = ", ".join(f"{kind} ×{count}" for kind, count in sorted(found.foreign.items()))
        _note(f"ignored {found.foreign.total()} object(s) of other kinds: {kinds}")
    if files and not found.instances:
        _note("no RedisHttpInstance found")
    for obj in found.instances:
        parse(obj)
    return found.instances


def _opened(stack: ExitStack, file: str) -> tuple[str, IO[str]]:
    if file == "-":
        return "<stdin>", sys.stdin
    try:
        return file, stack.enter_context(Path(file).open(encoding="utf-8"))
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", where=file) from None


def _placed(obj: Object, namespace: str | None, default: str) -> Object:
    own = obj["metadata"].get("namespace")
    if own and namespace and own != namespace:
        raise InputError(f"is {own!r}, but --namespace is {namespace!r}", where=f"{ref_of(obj)}: metadata.namespace")
    return {**obj, "metadata": {**obj["metadata"], "namespace": own or namespace or default}}


def _with_cluster(kubeconfig: Path | None, context: str | None, work: Callable[[Any], Awaitable[Decided]]) -> Decided:
    import anyio

    from redisop.client import Client

    async def session() -> Decided:
        async with Client.connect(kubeconfig, context) as client:
            return await work(client)

    return anyio.run(session)


async def _decide(client: Any, chosen: Choice, settings: Settings) -> Decided:
    from redisop import observe

    where = None if chosen.everywhere else chosen.namespace or client.namespace
    if chosen.given is not None:
        placed = [_placed(obj, chosen.namespace, client.namespace) for obj in chosen.given]
        objects = [await observe.propose(client, obj, note=_note) for obj in placed]
    elif chosen.name is not None:
        objects = [await client.get(INSTANCE, where, chosen.name)]
    else:
        objects = await observe.instances(client, where)
    namespaces = [None] if chosen.everywhere else [obj["metadata"]["namespace"] for obj in objects]
    store = await observe.observe(client, namespaces)
    return [await observe.decide_now(client, store, obj, settings) for obj in objects]


def _shown(decisions: Decided, output: str, *, show_unchanged: bool, diff: bool) -> str:
    plans = [decision.plan for decision, _ in decisions]
    said = {decision.plan.key: notes(decision, live) for decision, live in decisions}
    if output == "text":
        color = color_of(terminal=sys.stdout.isatty())
        return render.text(plans, color=color, show_unchanged=show_unchanged, diff=diff, notes=said)
    document = render.document(plans, said)
    if output == "yaml":
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)
