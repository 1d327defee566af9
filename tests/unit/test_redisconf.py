import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisop.api import Parameters, RedisConfig
from redisop.errors import InputError
from redisop.redisconf import (
    DEFAULTS,
    LIVE,
    ConfigChange,
    changed,
    directives,
    equivalent,
    parse,
    render,
    restart_digest,
)

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True).filter(lambda name: name not in {"bind", "save"})
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
NASTY = st.text("\"'\\ \n\r\t#x0a☃\x7f\x85\u2028", max_size=20)


def config(**fields: object) -> RedisConfig:
    return RedisConfig.model_validate(fields)


@given(st.dictionaries(NAMES, TEXTS | NASTY))
def test_what_is_rendered_is_read_back(found: dict[str, str]):
    assert parse(render(found)) == found


@given(st.dictionaries(NAMES, TEXTS | NASTY, min_size=1))
def test_a_value_never_becomes_another_line(found: dict[str, str]):
    text = render(found)
    assert text.isascii()
    assert text.count("\n") == len(found)
    assert all(line == "\n" or " " <= char <= "~" for line in text.splitlines(keepends=True) for char in line[:-1])


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_refuses_what_no_line_can_hold(value: str):
    with pytest.raises(InputError, match="the value of dbfilename"):
        render({"dbfilename": value})


@pytest.mark.parametrize("name", ["", "a b", "a\nrename-command", "#x", "Port", "a\0"])
def test_refuses_names_that_are_none(name: str):
    with pytest.raises(InputError, match="not the name"):
        render({name: "1"})


@pytest.mark.parametrize("text", ['dir "a', 'dir "a"b', 'dir a"b', 'a 1\ndir "\\"'])
def test_parse_names_the_line_that_is_wrong(text: str):
    with pytest.raises(InputError, match=f"line {text.count(chr(10)) + 1} "):
        parse(text)


def test_parse_reads_comments_blank_lines_case_and_repetition():
    assert parse("# c\n\n  Port 1 \r\nport 2\nsave 1 2 3 4\nsave ''".replace("''", '""')) == {"port": "2", "save": ""}


@given(st.text())
def test_parse_raises_nothing_but_input_error(text: str):
    with contextlib.suppress(InputError):
        parse(text)


def test_directives_of_the_defaults():
    found = directives(RedisConfig())
    assert {name: found[name] for name in found.keys() - DEFAULTS.keys()} == {
        "aclfile": "/etc/redis-acl/users.acl",
        "appendonly": "no",
        "bind": "* -::*",
        "dir": "/data",
        "maxmemory": "268435456",
        "maxmemory-policy": "noeviction",
        "port": "6379",
        "protected-mode": "yes",
        "save": "",
    }
    assert {name: found[name] for name in DEFAULTS} == dict(DEFAULTS)
    assert list(found) == sorted(found)


def test_every_parameter_has_a_default_and_the_other_way_round():
    assert {field.replace("_", "-") for field in Parameters.model_fields} == set(DEFAULTS)


def test_rendered_lines_are_plain():
    text = render(directives(config(memory="1Gi", persistence=True, appendOnly=True)))
    assert "maxmemory 1073741824\n" in text
    assert "save 3600 1 300 100 60 10000\n" in text
    assert "appendonly yes\n" in text
    assert 'notify-keyspace-events ""\n' in text
    assert "bind * -::*\n" in text
    assert 'save ""\n' in render(directives(RedisConfig()))


def test_the_digest_follows_only_what_needs_a_restart():
    digest = restart_digest(directives(RedisConfig()))
    live = config(
        memory="1Gi",
        maxmemoryPolicy="allkeys-lru",
        persistence=True,
        appendOnly=True,
        parameters={"timeout": 5, "hz": 20},
    )
    assert restart_digest(directives(live)) == digest
    assert restart_digest(directives(config(parameters={"databases": 3}))) != digest


def test_changed_tells_live_from_restart():
    old = render(directives(config(parameters={"timeout": 5})))
    new = render(directives(config(memory="1Gi", parameters={"databases": 3})))
    assert changed(old, new) == (
        ConfigChange("databases", "16", "3", live=False),
        ConfigChange("maxmemory", "268435456", "1073741824", live=True),
        ConfigChange("timeout", "5", "0", live=True),
    )
    assert changed(new, new) == ()


def test_changed_survives_a_redis_conf_that_somebody_broke():
    new = render({"port": "6379"})
    assert changed('dir "', new) == (ConfigChange("port", None, "6379", live=False),)


def test_a_directive_that_vanishes_needs_a_restart():
    assert changed("timeout 5\n", "port 1\n")[1] == ConfigChange("timeout", "5", None, live=False)


def test_live_leaves_out_what_must_not_change_under_a_running_pod():
    assert LIVE.isdisjoint({"port", "bind", "dir", "aclfile", "protected-mode", "databases"})


def test_keyspace_events_are_equal_by_meaning_and_others_by_text():
    assert equivalent("notify-keyspace-events", "AKE", "KEg$lshzxetd")
    assert not equivalent("notify-keyspace-events", "Kn", "K")
    assert not equivalent("save", "1 2", "2 1")
