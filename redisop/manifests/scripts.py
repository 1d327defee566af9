"""Shell scripts that run in the Redis container. They read a password from its mounted file, never from argv."""

from shlex import quote

from redisop.redisconf import DATA_DIR, PORT

CONFIG_DIR = "/etc/redis"
PROBE_DIR = "/etc/redis-probe"
PROBE_PASSWORD = "probe-password"  # noqa: S105 - name of a key, not a password


def start(config_dir: str = CONFIG_DIR, data_dir: str = DATA_DIR) -> str:
    """Start Redis so that turning the append-only file on or off never loses data.

    Redis that starts with `appendonly yes` and has no append-only file ignores its snapshot and starts empty. Then it is started
    without, and the operator turns it on by CONFIG SET, which writes the file from the data in memory. One left from before it was
    turned off is put aside, so that it is never loaded in place of a newer snapshot.
    """
    return f"""\
set -eu
cd {quote(data_dir)}
conf={quote(f"{config_dir}/redis.conf")}
if grep -qx 'appendonly yes' "$conf"; then
  if [ -e dump.rdb ] && [ ! -e appendonlydir/appendonly.aof.manifest ]; then
    echo 'There is a snapshot but no append-only file: starting from the snapshot.'
    exec redis-server "$conf" --appendonly no
  fi
elif [ -d appendonlydir ]; then
  echo 'appendonly is off: moving appendonlydir to appendonlydir.old.'
  rm -rf appendonlydir.old
  mv appendonlydir appendonlydir.old
fi
exec redis-server "$conf"
"""


def stop(data_dir: str = DATA_DIR, probe_dir: str = PROBE_DIR, port: int = PORT) -> str:
    """Before SIGTERM, by which Redis saves a snapshot: remove an append-only file that is no longer written to.

    It would be loaded in place of the snapshot if the append-only file were turned on again before the next start.
    """
    return f"""\
{_ask(probe_dir, port, "info persistence")}
case "$reply" in
  *aof_enabled:0*) rm -rf {quote(f"{data_dir}/appendonlydir")} ;;
esac
"""


def ready(probe_dir: str = PROBE_DIR, port: int = PORT) -> str:
    """Succeed where Redis serves commands to the user `probe`: not while it loads its data.

    MISCONF is Redis' answer while its snapshots fail: it refuses writes, but reads must stay possible.
    """
    return f"""\
{_ask(probe_dir, port, "ping")}
case "$reply" in
  PONG | MISCONF*) exit 0 ;;
esac
echo "$reply"
exit 1
"""


def live(probe_dir: str = PROBE_DIR, port: int = PORT) -> str:
    """Succeed where Redis answers anything: a restart helps neither one that loads nor one that refuses the password."""
    return f"""\
{_ask(probe_dir, port, "ping")}
case "$reply" in
  PONG | *LOADING* | *BUSY* | *MISCONF* | *WRONGPASS* | *NOAUTH* | *NOPERM*) exit 0 ;;
esac
echo "$reply"
exit 1
"""


def _ask(probe_dir: str, port: int, command: str) -> str:
    password = quote(f"{probe_dir}/{PROBE_PASSWORD}")
    return f"""\
REDISCLI_AUTH=$(cat {password}) || exit 1
export REDISCLI_AUTH
reply=$(redis-cli -h 127.0.0.1 -p {port} --user probe --no-auth-warning {command} 2>&1)"""


SCRIPTS = {"live.sh": live(), "ready.sh": ready(), "start.sh": start(), "stop.sh": stop()}
