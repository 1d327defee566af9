import io
import json
import logging
import traceback

import pytest

from redisop import logs
from redisop.errors import InputError, RedisopError

PLANTED = "hunter2-correct-horse"


@pytest.fixture
def lines():
    """Yield a function that configures logging and returns where it goes; whatever stood before comes back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    touched = ["redisop", "redisop.reflector", "httpx2"]
    levels = {name: logging.getLogger(name).level for name in touched}

    def configure(style="json", *wanted):
        stream = io.StringIO()
        logs.configure(style, wanted, stream)
        return stream

    yield configure
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def parsed(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_has_the_fields_and_the_reconcile_it_belongs_to(lines):
    stream = lines()
    logger = logging.getLogger("redisop.controller")
    with logs.within(key="team/a") as trace:
        logger.info("reconciled", extra=logs.fields(generation=3, plan={"create": 2}, ms=1.5))
        logger.warning("x\ny")
    logger.info("outside")
    first, second, third = parsed(stream)
    assert (first["level"], first["logger"], first["message"]) == ("info", "redisop.controller", "reconciled")
    assert (first["key"], first["generation"], first["plan"], first["ms"]) == ("team/a", 3, {"create": 2}, 1.5)
    assert first["trace"] == second["trace"] == trace
    assert len(first["time"]) == len("2026-01-01T00:00:00.000000Z")
    assert "trace" not in third


def test_each_reconcile_has_its_own_trace(lines):
    lines()
    with logs.within(key="a") as one:
        pass
    with logs.within(key="a") as other:
        pass
    assert one != other


def test_a_field_cannot_replace_what_every_line_has(lines):
    stream = lines()
    logging.getLogger("redisop").warning("said", extra=logs.fields(message="forged", level="debug"))
    assert parsed(stream)[0]["message"] == "said"
    assert parsed(stream)[0]["level"] == "warning"


@pytest.mark.parametrize("style", ["json", "console"])
def test_what_others_wrote_cannot_fake_a_line_or_steer_the_terminal(lines, style):
    stream = lines(style)
    logging.getLogger("redisop").warning("a\nFAKE \x1b[31m\u2028z", extra=logs.fields(name="b\nFAKE\x1b[0m"))
    assert len(stream.getvalue().rstrip("\n").split("\n")) == 1
    assert "\x1b" not in stream.getvalue()


def test_a_console_line_is_made_for_reading(lines):
    stream = lines("console")
    with logs.within(key="team/a"):
        logging.getLogger("redisop.controller").info("reconciled", extra=logs.fields(done=2, why="a b"))
    line = stream.getvalue()
    assert " INFO    redisop.controller reconciled key=team/a trace=" in line
    assert line.endswith(' done=2 why="a b"\n')


def test_levels_are_for_all_or_for_one_module(lines):
    stream = lines("json", "warning,redisop.reflector=debug", "httpx2=info")
    for name in ("redisop.controller", "redisop.reflector", "httpx2", "httpcore"):
        logging.getLogger(name).info("info of %s", name)
        logging.getLogger(name).debug("debug of %s", name)
    assert [line["message"] for line in parsed(stream)] == [
        "info of redisop.reflector",
        "debug of redisop.reflector",
        "info of httpx2",
    ]


@pytest.mark.parametrize("wrong", ["loud", "redisop.x=", "=info", "a b=info", "redisop.x=loud"])
def test_a_wrong_level_is_an_error_that_names_the_flag(lines, wrong):
    with pytest.raises(InputError, match="--log-level"):
        lines("json", wrong)


@pytest.mark.parametrize("style", ["json", "console"])
def test_an_exception_shows_where_but_what_only_if_it_is_ours(lines, style):
    stream = lines(style)

    def broken(error):
        raise error

    for error in (
        ValueError(PLANTED),
        RedisopError("the cause, in our words"),
        ExceptionGroup(PLANTED, [KeyError(PLANTED)]),
    ):
        try:
            broken(error)
        except Exception:
            logging.getLogger("redisop").exception("failed")
            assert PLANTED in traceback.format_exc() or isinstance(error, RedisopError)
    text = stream.getvalue()
    assert PLANTED not in text
    assert all(word in text for word in ("ValueError", "KeyError", "the cause, in our words", "in broken"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abcdef.ghijklmn", "Authorization: Bearer "),
        (f"redis://operator:{PLANTED}@demo.team.svc:6379", "@demo.team.svc:6379"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0xxxx.c2lnbmF0dXJl", ""),
        ("key rk_0123456789_" + "a" * 43 + "_abc123 made", "key "),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", ""),
    ],
)
@pytest.mark.parametrize("style", ["json", "console"])
def test_what_has_the_shape_of_a_credential_is_struck_out(lines, style, text, kept):
    stream = lines(style)
    logging.getLogger("redisop").warning("%s", text)
    logging.getLogger("redisop").warning("field", extra=logs.fields(value=text))
    shown = stream.getvalue()
    assert shown.count(logs.REDACTED) == 2
    assert kept in shown
    for secret in ("abcdef.ghijklmn", PLANTED, "c2lnbmF0dXJl", "a" * 43, "MIIE"):
        assert secret not in shown


def test_an_address_is_no_credential():
    for text in ("redis://demo-redis.team.svc:6379", "Basic features", "the key rk_0123456789 expires"):
        assert logs.redact(text) == text
