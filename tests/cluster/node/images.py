"""Container images made here, without a registry.

Each is an OCI archive in the cache folder, keyed by its recipe.
"""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.gobuild import cached, go_command, go_install, go_run
from tests.cluster.paths import cache_dir

PAUSE = "redisop.test/pause:1"
COREDNS = "redisop.test/coredns:1.15.0"

_PAUSE_GO = """package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
"""


@dataclass(frozen=True)
class ImageConfig:
    """What the image says about how to run it."""

    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    user: str = ""
    workdir: str = "/"
    env: Mapping[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )


def pause_image() -> Path:
    """Holds the namespaces of a pod."""
    key = _key(_PAUSE_GO, PAUSE)
    target = cache_dir() / "images" / f"pause-{key}.tar"

    def build(scratch: Path) -> None:
        (scratch / "main.go").write_text(_PAUSE_GO)
        go_run(
            "pause", go_command(), ["build", "-trimpath", "-ldflags", "-s -w", "-o", "pause", "main.go"], cwd=scratch
        )
        write_image(
            scratch / target.name,
            PAUSE,
            ImageConfig(["/pause"], user="65535:65535"),
            files={"pause": scratch / "pause"},
        )

    return cached(target, build)


def coredns_image() -> Path:
    version = COREDNS.rpartition(":")[2]
    program = go_install(["github.com/coredns/coredns"], f"v{version}") / "coredns"
    target = cache_dir() / "images" / f"coredns-{_key(COREDNS, str(program))}.tar"

    def build(scratch: Path) -> None:
        write_image(scratch / target.name, COREDNS, ImageConfig(["/coredns"]), files={"coredns": program})

    return cached(target, build)


def write_image(
    target: Path,
    name: str,
    config: ImageConfig,
    *,
    files: Mapping[str, Path] | None = None,
    rootfs: Path | None = None,
) -> None:
    """Write an OCI archive of one layer: single executables, or a whole file system tree."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for path, source in (files or {}).items():
            member = layer.gettarinfo(str(source), path)
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755
            with source.open("rb") as program:
                layer.addfile(member, program)
        if rootfs:
            # Names of users are the image's own, not those of this machine.
            layer.add(rootfs, ".", filter=_numeric_owner)
    layer_bytes = plain.getvalue()
    packed = gzip.compress(layer_bytes, compresslevel=1, mtime=0)
    image = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {
            "Entrypoint": list(config.entrypoint),
            "Cmd": list(config.cmd),
            "User": config.user,
            "WorkingDir": config.workdir,
            "Env": [f"{k}={v}" for k, v in config.env.items()],
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer_bytes)]},
    }
    blobs: dict[str, bytes] = {}

    def blob(media_type: str, content: bytes) -> dict[str, Any]:
        digest = _digest(content)
        blobs[f"blobs/{digest.replace(':', '/')}"] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    prefix = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{prefix}.manifest.v1+json",
        "config": blob(f"{prefix}.config.v1+json", json.dumps(image).encode()),
        "layers": [blob(f"{prefix}.layer.v1.tar+gzip", packed)],
    }
    entry = blob(f"{prefix}.manifest.v1+json", json.dumps(manifest).encode())
    entry["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name,
    }
    index = {"schemaVersion": 2, "mediaType": f"{prefix}.index.v1+json", "manifests": [entry]}
    blobs["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    blobs["index.json"] = json.dumps(index).encode()
    with tarfile.open(target, "w") as archive:
        for path, content in blobs.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _numeric_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uname = entry.gname = ""
    return entry


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
