"""The link between this machine and a node.

    this machine                      the node                     pods
    10.n.0.1 redisopn ────────── 10.n.0.2 eth0 ────── 10.n.16.0/20, one link each (CNI plugin ptp)

The apiserver listens on loopback only. Its port on 10.n.0.1 leads there, for what comes from the node.
"""

import subprocess
from pathlib import Path

from tests.cluster.addresses import Addresses


def connect(addresses: Addresses, init_pid: int, api_port: int) -> None:
    name, host, node = addresses.link_name, addresses.host, addresses.node
    _run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(init_pid))
    _run("ip", "address", "add", f"{host}/24", "dev", name)
    _run("ip", "link", "set", name, "up")
    for network in (addresses.pods, addresses.services):
        _run("ip", "route", "add", network, "via", node, "dev", name)
    inside = ("nsenter", "--target", str(init_pid), "--net", "ip")
    _run(*inside, "address", "add", f"{node}/24", "dev", "eth0")
    _run(*inside, "link", "set", "eth0", "up")
    _run(*inside, "route", "add", "default", "via", host)
    # Lets a packet from the node be redirected to loopback; only what the rule below matches is.
    Path(f"/proc/sys/net/ipv4/conf/{name}/route_localnet").write_text("1")
    rules = f"""
        table ip {name} {{
            chain prerouting {{
                type nat hook prerouting priority dstnat;
                iifname "{name}" ip daddr {host} tcp dport {api_port} dnat to 127.0.0.1:{api_port}
            }}
            chain input {{
                type filter hook input priority filter;
                iifname "{name}" ip daddr 127.0.0.0/8 ct status dnat accept
                iifname "{name}" ip daddr 127.0.0.0/8 drop
            }}
        }}
    """
    _run("nft", "-f", "-", stdin=rules)


def _run(*argv: str, stdin: str = "") -> None:
    answer = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {answer.stderr.strip()}")
