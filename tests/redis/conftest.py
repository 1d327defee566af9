"""A real redis-server per test, with the redis.conf, aclfile and scripts that redisop makes for an instance."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redisop.api import RedisConfig
from redisop.manifests import acl, scripts
from redisop.redisconf import directives, render
from tests.programs import redis_server

PASSWORDS = {"exporter": "exporter-secret", "operator": "operator-secret", "probe": "probe-secret"}


class Server:
    """One redis-server in its own folder: `data`, `config`, `acl`, `probe`. Stopped by the process it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("data", "config", "acl", "probe"):
            (folder / name).mkdir()
        (folder / "acl" / "users.acl").write_text(acl.text(PASSWORDS))
        (folder / "acl" / "users.acl").chmod(0o440)
        (folder / "probe" / scripts.PROBE_PASSWORD).write_text(PASSWORDS["probe"])
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def configure(self, config: RedisConfig, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Write redis.conf as for a Pod, but for the addresses and folders of this machine."""
        here = {
            "aclfile": str(self.folder / "acl" / "users.acl"),
            "bind": "127.0.0.1",
            "dir": str(self.data),
            "port": str(self.port),
        }
        found = {**directives(config), **here, **(more or {})}
        (self.folder / "config" / "redis.conf").write_text(render(found))
        return found

    def start(self, *, wait: bool = True) -> None:
        script = scripts.start(str(self.folder / "config"), str(self.data))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", script], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 15
        while True:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    break
            except OSError:
                time.sleep(0.02)
        while wait:
            try:
                self.client().ping()
                break
            except redis.exceptions.BusyLoadingError:
                time.sleep(0.02)

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(sent)
            self.process.wait(timeout=15)
            self.process = None

    def client(self, user: str = "operator", password: str | None = None) -> redis.Redis:
        return redis.Redis(
            port=self.port,
            username=user,
            password=PASSWORDS[user] if password is None else password,
            decode_responses=True,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )

    def get(self, directive: str) -> str:
        (found,) = self.client().config_get(directive).values()
        assert found is not None
        return found

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=20, check=False)

    def ready(self) -> subprocess.CompletedProcess[str]:
        return self.run(scripts.ready(str(self.folder / "probe"), self.port))

    def live(self) -> subprocess.CompletedProcess[str]:
        return self.run(scripts.live(str(self.folder / "probe"), self.port))

    def before_stop(self) -> subprocess.CompletedProcess[str]:
        return self.run(scripts.stop(str(self.data), str(self.folder / "probe"), self.port))


@pytest.fixture(scope="session", autouse=True)
def redis_programs() -> None:
    """Have redis-server and redis-cli on PATH; as root on Debian by installing them."""
    redis_server()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    yield found
    if found.process is not None:
        found.process.kill()
        found.process.wait()
