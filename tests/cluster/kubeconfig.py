"""Kubeconfig files with the credentials inside, so that one file can be copied anywhere."""

import base64
import json
import os
from pathlib import Path

from .certs import KeyPair


def write_kubeconfig(target: Path, url: str, ca: Path, client: KeyPair) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": _b64(ca)}}],
        "users": [
            {
                "name": "test",
                "user": {
                    "client-certificate-data": _b64(client.cert),
                    "client-key-data": _b64(client.key),
                },
            }
        ],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    scratch.touch(mode=0o600)
    # JSON is YAML, and needs no library.
    scratch.write_text(json.dumps(content, indent=1))
    scratch.rename(target)
    return target


def _b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
