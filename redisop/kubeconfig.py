"""Which cluster to talk to: kubeconfig files found and merged as kubectl does, and cut down to one context.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
No text of a file is quoted in an error, because any of its lines may be a credential.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from redisop.errors import InputError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT = Path("~/.kube/config")

_FILES = {
    "clusters": ("certificate-authority",),
    "users": ("client-certificate", "client-key", "tokenFile"),
    "contexts": (),
}
_EXEC = "client.authentication.k8s.io/"


def find(explicit: Path | None, env: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the kubeconfig files to merge, in order; none means: this is a Pod, use its service account."""
    if explicit is not None:
        if not explicit.is_file():
            raise InputError("no such file", where=str(explicit))
        return (explicit,)
    if env.get("KUBECONFIG"):
        named = tuple(Path(name).expanduser() for name in env["KUBECONFIG"].split(os.pathsep) if name)
        found = tuple(path for path in named if path.is_file())
        if not found:
            raise InputError(f"none of these files exist: {', '.join(map(str, named))}", where="KUBECONFIG")
        return found
    if env.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").is_file():
        return ()
    default = DEFAULT.expanduser()
    if default.is_file():
        return (default,)
    raise InputError("no cluster to talk to: give --kubeconfig, set KUBECONFIG, or run in a Pod")


def load(files: tuple[Path, ...], context: str | None) -> dict[str, Any]:
    """Merge `files` (the first to name a thing wins) and return a kubeconfig that holds only the chosen context."""
    merged: dict[str, dict[str, Any]] = {"clusters": {}, "users": {}, "contexts": {}}
    current = context
    for path in files:
        document = _read(path)
        current = current or document.get("current-context")
        for section, entries in merged.items():
            for name, value in _entries(document, section, path):
                entries.setdefault(name, value)
    where = ", ".join(map(str, files))
    if not current:
        raise InputError("no current-context; set one, or give --context", where=where)
    chosen = _named(merged, "contexts", current, where)
    cluster = _named(merged, "clusters", chosen.get("cluster"), where)
    user = _named(merged, "users", chosen["user"], where) if chosen.get("user") else {}
    _check(cluster, user, where)
    return {
        "current-context": current,
        "contexts": [{"name": current, "context": {**chosen, "cluster": "cluster", "user": "user"}}],
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": _with_exec(user)}],
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", where=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise InputError(f"not a YAML file{line}", where=str(path)) from None
    if not isinstance(document, dict):
        raise InputError("not a kubeconfig: a mapping with clusters, contexts and users is expected", where=str(path))
    return document


def _entries(document: dict[str, Any], section: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for index, entry in enumerate(document.get(section) or ()):
        value = entry.get(section[:-1]) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or "name" not in entry or not isinstance(value or {}, dict):
            raise InputError(f"{section}[{index}] is not a name with a {section[:-1]}", where=str(path))
        absolute = dict(value or {})
        for field in _FILES[section]:
            if absolute.get(field):
                absolute[field] = str(path.parent / absolute[field])
        command = (absolute.get("exec") or {}).get("command", "")
        if "/" in command:
            absolute["exec"] = {**absolute["exec"], "command": str(path.parent / command)}
        found.append((str(entry["name"]), absolute))
    return found


def _named(merged: dict[str, dict[str, Any]], section: str, name: Any, where: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = merged[section][str(name)]
    except KeyError:
        known = ", ".join(sorted(merged[section])) or "none"
        raise InputError(f"there is no {section[:-1]} {name!r} (there are: {known})", where=where) from None
    return found


def _check(cluster: dict[str, Any], user: dict[str, Any], where: str) -> None:
    """Refuse what would otherwise be ignored silently, so that nobody acts as another user or trusts another name."""
    run = user.get("exec") or {}
    unsupported = {
        "cluster.tls-server-name": cluster.get("tls-server-name"),
        "user.as": user.get("as") or user.get("as-groups") or user.get("as-uid"),
        "user.auth-provider": user.get("auth-provider"),
        "user.exec.provideClusterInfo": run.get("provideClusterInfo"),
        "user.exec.interactiveMode: Always": run.get("interactiveMode") == "Always",
        f"user.exec.apiVersion {run.get('apiVersion')}": run
        and run.get("apiVersion") not in {_EXEC + "v1", _EXEC + "v1beta1"},
    }
    for field, present in unsupported.items():
        if present:
            raise InputError(
                f"{field} is not supported; use a token, a certificate or a plain exec plugin", where=where
            )


def _with_exec(user: dict[str, Any]) -> dict[str, Any]:
    """Spell an exec plugin as v1beta1, whose token reply is the same as v1's; the plugin itself is still told v1."""
    run = user.get("exec")
    if not run:
        return user
    info = {"kind": "ExecCredential", "apiVersion": run["apiVersion"], "spec": {"interactive": False}}
    told = {"name": "KUBERNETES_EXEC_INFO", "value": json.dumps(info)}
    return {**user, "exec": {**run, "apiVersion": _EXEC + "v1beta1", "env": [*(run.get("env") or ()), told]}}
