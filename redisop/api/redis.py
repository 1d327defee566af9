"""What of redis.conf an instance may choose; everything else is the operator's."""

from typing import Annotated, Literal

from pydantic import Field

from redisop import quantity
from redisop.api.base import Bool, Int, Model
from redisop.api.markers import Rule
from redisop.api.quantity import MemoryText

Memory = Annotated[
    MemoryText,
    Rule(
        "quantity(self).compareTo(quantity('16Mi')) >= 0 && quantity(self).compareTo(quantity('4096Gi')) <= 0",
        "must be between 16Mi and 4096Gi",
        lambda text: quantity.parse("16Mi") <= quantity.parse(text) <= quantity.parse("4096Gi"),
    ),
]

MaxmemoryPolicy = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]

Milliseconds = Annotated[Int, Field(ge=0, le=3_600_000)]
Entries = Annotated[Int, Field(ge=0, le=1_000_000)]
Percent = Annotated[Int, Field(ge=0, le=1000)]


class Parameters(Model):
    """More redis.conf directives, each typed. The directive's name is the field's in kebab case: tcpKeepalive sets tcp-keepalive.

    All of them exist in Redis 7.0 and later. What is left out keeps Redis' own default.
    """

    maxclients: Annotated[Int, Field(ge=16, le=65_000)] | None = None
    """Clients connected at the same time."""
    timeout: Annotated[Int, Field(ge=0, le=604_800)] | None = None
    """Seconds after which an idle client is disconnected; 0 never."""
    tcp_keepalive: Annotated[Int, Field(ge=0, le=86_400)] | None = None
    """Seconds between TCP keep-alive probes; 0 sends none."""
    databases: Annotated[Int, Field(ge=1, le=1024)] | None = None
    """Number of databases for SELECT. Takes effect by a restart."""
    hz: Annotated[Int, Field(ge=1, le=500)] | None = None
    """Background cycles per second: expiry, timeouts, rehashing."""
    dynamic_hz: Bool | None = None
    """Raise hz while many clients are connected."""
    maxmemory_samples: Annotated[Int, Field(ge=1, le=64)] | None = None
    """Keys sampled per eviction: more is closer to true LRU or LFU, and slower."""
    maxmemory_eviction_tenacity: Annotated[Int, Field(ge=0, le=100)] | None = None
    """How long an eviction may take, 0 (least) to 100 (no limit)."""
    lfu_log_factor: Annotated[Int, Field(ge=0, le=255)] | None = None
    """How many hits saturate the LFU counter."""
    lfu_decay_time: Annotated[Int, Field(ge=0, le=525_600)] | None = None
    """Minutes after which the LFU counter is halved; 0 never."""
    lazyfree_lazy_eviction: Bool | None = None
    """Free evicted values in the background."""
    lazyfree_lazy_expire: Bool | None = None
    """Free expired values in the background."""
    lazyfree_lazy_server_del: Bool | None = None
    """Free values that a command overwrites in the background."""
    lazyfree_lazy_user_del: Bool | None = None
    """Let DEL behave like UNLINK."""
    lazyfree_lazy_user_flush: Bool | None = None
    """Let FLUSHALL and FLUSHDB be ASYNC unless SYNC is given."""
    notify_keyspace_events: Annotated[str, Field(pattern="^[KEg$lshzxeAtdmn]*$", max_length=32)] | None = None
    """Classes of keyspace notifications to publish, as in redis.conf, for example Ex; empty publishes none."""
    slowlog_log_slower_than: Annotated[Int, Field(ge=-1, le=3_600_000_000)] | None = None
    """Microseconds from which a command is logged as slow; -1 logs none, 0 all."""
    slowlog_max_len: Annotated[Int, Field(ge=0, le=100_000)] | None = None
    """Entries that the slow log keeps."""
    latency_monitor_threshold: Milliseconds | None = None
    """Milliseconds from which an event is recorded by the latency monitor; 0 turns it off."""
    busy_reply_threshold: Milliseconds | None = None
    """Milliseconds after which other clients get BUSY while a script runs; 0 never."""
    activerehashing: Bool | None = None
    """Rehash the main dictionary in idle time."""
    hash_max_listpack_entries: Entries | None = None
    """Fields up to which a hash is stored compactly."""
    hash_max_listpack_value: Entries | None = None
    """Bytes per field or value up to which a hash is stored compactly."""
    list_max_listpack_size: Annotated[Int, Field(ge=-5, le=65_535)] | None = None
    """Entries per node of a list, or -1 to -5 for 4, 8, 16, 32, 64 kB per node."""
    list_compress_depth: Annotated[Int, Field(ge=0, le=10_000)] | None = None
    """Nodes at each end of a list that are not compressed; 0 compresses nothing."""
    set_max_intset_entries: Entries | None = None
    """Members up to which a set of integers is stored compactly."""
    zset_max_listpack_entries: Entries | None = None
    """Members up to which a sorted set is stored compactly."""
    zset_max_listpack_value: Entries | None = None
    """Bytes per member up to which a sorted set is stored compactly."""
    stream_node_max_entries: Entries | None = None
    """Entries per node of a stream; 0 sets no limit."""
    appendfsync: Literal["always", "everysec", "no"] | None = None
    """When the append-only file is flushed to disk. Quote "no": YAML reads it as false."""
    auto_aof_rewrite_percentage: Percent | None = None
    """Growth in percent after which the append-only file is rewritten; 0 never."""
    rdbcompression: Bool | None = None
    """Compress strings in snapshots."""


class RedisConfig(Model):
    """How Redis is configured."""

    memory: Memory = "256Mi"
    """Memory for data (maxmemory), in Mi or Gi, at least 16Mi. The container's limit is larger: Redis needs more than its data."""
    maxmemory_policy: MaxmemoryPolicy = "noeviction"
    """What happens when memory is full: writes fail (noeviction), or keys are evicted."""
    persistence: Bool = False
    """Keep the data on a PersistentVolumeClaim by snapshots (RDB). Without it, a restart starts empty."""
    append_only: Bool = False
    """Also write every change to an append-only file (AOF). Needs persistence."""
    parameters: Parameters = Parameters()
    """More directives, from an allow-list."""

    rules = (
        Rule(
            "!self.appendOnly || self.persistence",
            "appendOnly needs persistence: true",
            lambda config: not config.append_only or config.persistence,
            ".appendOnly",
        ),
    )

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes."""
        return int(quantity.parse(self.memory))
