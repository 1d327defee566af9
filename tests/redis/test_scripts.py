"""The scripts of the Redis container against a real Redis."""

import signal
import subprocess
import time

import pytest
import redis

from redisop.api import RedisConfig
from redisop.manifests import scripts
from tests.redis.conftest import PASSWORDS, Server

SAVED = RedisConfig(persistence=True)
APPENDED = RedisConfig(persistence=True, append_only=True)


def test_ready_and_live_where_redis_answers(server: Server):
    server.configure(RedisConfig())
    server.start()
    assert server.ready().returncode == 0
    assert server.live().returncode == 0


def test_wrong_password_is_alive_but_not_ready(server: Server):
    server.configure(RedisConfig())
    server.start()
    (server.folder / "probe" / scripts.PROBE_PASSWORD).write_text("old-password")
    ready = server.ready()
    assert ready.returncode != 0
    assert "AUTH" in ready.stdout
    assert "old-password" not in ready.stdout + ready.stderr
    assert server.live().returncode == 0


def test_neither_where_redis_is_gone(server: Server):
    server.configure(RedisConfig())
    server.start()
    server.stop(signal.SIGKILL)
    assert server.ready().returncode != 0
    live = server.live()
    assert live.returncode != 0
    assert "Could not connect" in live.stdout


def test_reads_stay_possible_while_snapshots_fail(server: Server):
    server.configure(SAVED)
    server.start()
    client = server.client()
    client.set("a", "1")
    server.data.rmdir()
    client.bgsave()
    deadline = time.monotonic() + 10
    while client.info("persistence")["rdb_last_bgsave_status"] != "err":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(redis.exceptions.ResponseError, match="MISCONF"):
        client.ping()
    assert client.get("a") == "1"
    assert server.ready().returncode == 0
    assert server.live().returncode == 0


def test_hung_redis_is_left_to_the_probe_timeout(server: Server):
    server.configure(RedisConfig())
    server.start()
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", scripts.live(str(server.folder / "probe"), server.port)], stdout=subprocess.PIPE
        ) as probe:
            time.sleep(1)
            assert probe.poll() is None
            server.process.send_signal(signal.SIGCONT)
            assert probe.wait(timeout=10) == 0
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_loading_is_alive_but_not_ready(server: Server):
    server.configure(SAVED)
    server.start()
    client = server.client()
    with client.pipeline(transaction=False) as pipeline:
        for number in range(3000):
            pipeline.set(f"key:{number}", "x" * 100)
        pipeline.execute()
    server.stop()
    # Hidden settings of Redis' own tests: microseconds per key, and how often it looks at clients meanwhile.
    server.configure(SAVED, {"key-load-delay": "2000", "loading-process-events-interval-bytes": "1024"})
    server.start(wait=False)
    ready = server.ready()
    assert ready.returncode != 0
    assert "LOADING" in ready.stdout
    assert server.live().returncode == 0


def test_no_password_in_any_argv(server: Server):
    for text in scripts.SCRIPTS.values():
        assert "-a " not in text
        assert "--pass" not in text
    server.configure(RedisConfig())
    server.start()
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", scripts.ready(str(server.folder / "probe"), server.port)], stdout=subprocess.DEVNULL
        ) as probe:
            time.sleep(0.5)
            listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
            assert f"-p {server.port} --user probe" in listed
            assert PASSWORDS["probe"] not in listed
            server.process.send_signal(signal.SIGCONT)
            assert probe.wait(timeout=10) == 0
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_saves_at_sigterm_and_keeps_the_data(server: Server):
    server.configure(SAVED)
    server.start()
    server.client().set("a", "1")
    server.stop()
    server.start()
    assert server.client().get("a") == "1"


def test_without_persistence_nothing_is_written(server: Server):
    server.configure(RedisConfig())
    server.start()
    server.client().set("a", "1")
    server.stop()
    assert list(server.data.iterdir()) == []


def test_turning_the_append_only_file_on_keeps_the_data(server: Server):
    server.configure(SAVED)
    server.start()
    server.client().set("a", "1")
    server.stop()

    server.configure(APPENDED)
    server.start()
    client = server.client()
    assert client.get("a") == "1"
    assert server.get("appendonly") == "no"  # the operator's to turn on, from the data in memory
    client.config_set("appendonly", "yes")
    client.set("b", "2")
    _until_written(server)
    server.stop(signal.SIGKILL)

    server.start()
    assert server.client().mget("a", "b") == ["1", "2"]
    assert server.get("appendonly") == "yes"


def test_append_only_file_of_an_empty_redis_is_on_from_the_start(server: Server):
    server.configure(APPENDED)
    server.start()
    assert server.get("appendonly") == "yes"


def test_a_stale_append_only_file_is_never_loaded(server: Server):
    server.configure(APPENDED)
    server.start()
    server.client().set("a", "old")
    server.client().config_set("appendonly", "no")
    server.client().set("a", "new")
    assert server.before_stop().returncode == 0
    server.stop()
    assert not (server.data / "appendonlydir").exists()

    server.start()
    assert server.client().get("a") == "new"


def test_an_append_only_file_in_use_survives_the_stop(server: Server):
    server.configure(APPENDED)
    server.start()
    server.client().set("a", "1")
    assert server.before_stop().returncode == 0
    assert (server.data / "appendonlydir" / "appendonly.aof.manifest").exists()


def test_starting_without_puts_the_append_only_file_aside(server: Server):
    server.configure(APPENDED)
    server.start()
    server.client().set("a", "1")
    server.before_stop()
    server.stop()

    server.configure(SAVED)
    server.start()
    assert server.client().get("a") == "1"
    assert (server.data / "appendonlydir.old" / "appendonly.aof.manifest").exists()
    server.client().set("a", "2")
    server.before_stop()
    server.stop()

    server.configure(APPENDED)
    server.start()
    assert server.client().get("a") == "2"


def _until_written(server: Server) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        found = server.client().info("persistence")
        busy = found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"]
        if not busy and (server.data / "appendonlydir" / "appendonly.aof.manifest").exists():
            return
        time.sleep(0.05)
    raise AssertionError(server.log)
