"""Make `go.mod` and `go.sum` of a Kubernetes version, once, to be committed.

The checksums in `go.sum` are what makes later builds trustworthy: look at the difference before
committing it.
"""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .gobuild import go_command, go_run
from .progress import say
from .versions import GO_DIR


def add_version(version: str) -> Path:
    """Write the version's folder below `go/`, and return it. Compiles everything once."""
    go = go_command()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "go.mod").write_text("module redisop.test/cluster\n")
        upstream = _download(go, f"k8s.io/kubernetes@v{version}", scratch)
        (scratch / "go.mod").write_text(go_mod(version, Path(upstream["GoMod"]).read_text()))
        shutil.copy(GO_DIR / "main.go", scratch)
        target = GO_DIR / version
        target.mkdir(exist_ok=True)
        for extra in target.glob("*.go"):
            shutil.copy(extra, scratch)
        go_run(f"modules of {version}", go, ["build", "-v", "-mod=mod", "-o", "unused", "."], cwd=scratch)
        for name in ("go.mod", "go.sum"):
            shutil.copy(scratch / name, target / name)
    say(f"no node for {version} unless you add {target.name}/node.go; compare with another version's")
    return target


def go_mod(version: str, upstream: str) -> str:
    """A go.mod that builds Kubernetes `version` as a library, from Kubernetes' own go.mod.

    Its staging modules (`k8s.io/api`, …) are folders for Kubernetes itself, and released as v0.<minor>.<patch>.
    """
    go = _one(r"^go (\S+)$", upstream)
    etcd = _one(r"^\s+go\.etcd\.io/etcd/client/v3 (\S+)", upstream)
    staging = re.findall(r"^\s+(k8s\.io/\S+) => \./staging/", upstream, re.MULTILINE)
    released = "v0." + version.partition(".")[2]
    lines = [
        "module redisop.test/cluster",
        "",
        f"go {go}",
        "",
        "require (",
        f"\tgo.etcd.io/etcd/server/v3 {etcd}",
        f"\tk8s.io/kubernetes v{version}",
        ")",
        "",
        "replace (",
        *(f"\t{module} => {module} {released}" for module in staging),
        ")",
    ]
    return "\n".join(lines) + "\n"


def _download(go: Path, module: str, cwd: Path) -> dict[str, str]:
    answer = subprocess.run(
        [go, "mod", "download", "-json", module], capture_output=True, text=True, check=False, cwd=cwd
    )
    found: dict[str, str] = json.loads(answer.stdout or "{}")
    if answer.returncode or "GoMod" not in found:
        raise RuntimeError(f"cannot get {module}: {found.get('Error') or answer.stderr.strip()}")
    return found


def _one(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise ValueError(f"nothing matches {pattern} in Kubernetes' go.mod")
    return match[1]
