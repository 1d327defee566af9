"""The aclfile: Redis' own users, by the SHA-256 of their passwords."""

import base64
from collections.abc import Mapping
from hashlib import sha256

from redisop.api import RedisHttpInstance
from redisop.kinds import SECRET, Object
from redisop.manifests import credentials
from redisop.manifests.base import Manifest, manifest
from redisop.manifests.names import Names
from redisop.values import Pending

ACL_KEY = "users.acl"

RULES = {
    # What redis_exporter asks for without touching a key. SLOWLOG GET is left out: it shows the arguments of commands.
    "exporter": "resetkeys resetchannels -@all +ping +info +config|get +client|setname +latency|latest +latency|histogram +slowlog|len",
    "operator": "~* &* +@all",
    "probe": "resetkeys resetchannels -@all +ping +info",
}


def build(instance: RedisHttpInstance, names: Names, secret: Object | None) -> Manifest:
    """Return the Secret of the aclfile, Pending until the live `secret` holds every password."""
    found = {user: credentials.password(secret, user) for user in credentials.users(instance)}
    passwords = {user: value for user, value in found.items() if value is not None}
    value: str | Pending = Pending(f"{SECRET.name}/{names.credentials}")
    if len(passwords) == len(found):
        value = base64.b64encode(text(passwords).encode()).decode()
    return manifest(1, SECRET, names.acl, names, {"type": "Opaque", "data": {ACL_KEY: value}})


def text(passwords: Mapping[str, str]) -> str:
    """Return the aclfile for users of RULES with their passwords. `default` is off: nobody gets in without a name."""
    lines = [
        f"user {user} on #{sha256(passwords[user].encode()).hexdigest()} {RULES[user]}" for user in sorted(passwords)
    ]
    return "\n".join(["user default off resetkeys resetchannels -@all", *lines, ""])
