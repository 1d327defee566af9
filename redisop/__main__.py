"""`python -m redisop` is the `redisop` command."""

from redisop.cli import main

main()
