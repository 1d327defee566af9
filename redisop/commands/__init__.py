"""The commands of `redisop`, one module each."""
