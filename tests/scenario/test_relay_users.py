"""pgcascade relay --new-user; and what it costs to be a stranger."""

import os
import pty
import select
import signal
import struct
import termios
import time

import psycopg2
import pytest

from relay_clients import RawSession, address_of, error_fields
from test_relay import relay, shop  # noqa: F401 (fixtures)
from test_relay_login import PASSWORD, enter, refusal, start, write_users
from waiting import wait_for

NEW = "new, ä'\\ and \"long\""


# -- --new-user -------------------------------------------------------------------------------------------------


def secret_in(file, user):
    """That user's line, as it stands in the file."""
    return file.read_text().partition(f"[user.{user}]\n")[2].partition("\n")[0]


def test_new_user_gets_in_after_a_reload_and_its_password_is_written_nowhere(shop, relay, pgcascade):
    start(relay, shop, {"bob": "pass_through = true"})
    file = relay.directory / "users.toml"
    before = file.read_text()
    add = lambda password: pgcascade("relay", "--new-user", "alice", relay.file, stdin=password + "\n").expect(0)
    told = add(NEW)
    assert "on SIGHUP" in told.stderr and NEW not in told.stderr + told.stdout
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith(before) and NEW not in file.read_text()
    assert secret_in(file, "alice").startswith('secret = "SCRAM-SHA-256$4096:')
    assert "password authentication failed" in refusal(relay, "alice", NEW)
    relay.reload()
    assert enter(relay, "alice", NEW)[3] == enter(relay, "bob")[3] == "postgres"

    add("another")
    relay.reload()
    assert enter(relay, "alice", "another")[3] == "postgres"
    assert "password authentication failed" in refusal(relay, "alice", NEW)
    assert file.read_text().startswith(before)


def test_first_user_makes_the_users_file(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])}, users='"users.toml"', trust="[]")
    pgcascade("relay", "--new-user", "alice", relay.file, stdin=NEW).expect(0)
    assert (relay.directory / "users.toml").stat().st_mode & 0o777 == 0o600
    relay.start()
    assert enter(relay, "alice", NEW)[3] == "postgres"


def test_no_password_makes_no_user(shop, relay, pgcascade):
    relay.write_file({"shop": (shop, ["pub"])}, users='"users.toml"')
    for typed in ("", "\n"):
        assert "password" in pgcascade("relay", "--new-user", "alice", relay.file, stdin=typed).expect(1).stderr
    assert not (relay.directory / "users.toml").exists()


class Terminal:
    """Where a person types."""

    def __init__(self):
        self.controller, self.terminal = pty.openpty()

    def type(self, text):
        os.write(self.controller, text.encode() + b"\n")

    def shows_what_is_typed(self):
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)

    def shown(self):
        seen = b""
        while select.select([self.controller], [], [], 0)[0]:
            seen += os.read(self.controller, 4096)
        return seen.decode()

    def close(self):
        os.close(self.terminal)
        os.close(self.controller)


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


@pytest.mark.parametrize("again", [NEW, "something else"], ids=["the_same", "another"])
def test_password_is_asked_for_twice_and_not_shown(shop, relay, pgcascade_background, terminal, again):
    file = write_users(relay, bob="")
    before = file.read_text()
    relay.write_file({"shop": (shop, ["pub"])}, users='"users.toml"', trust="[]")
    assert terminal.shows_what_is_typed()
    program = pgcascade_background("relay", "--new-user", "alice", relay.file, stdin=terminal.terminal)
    program.wait_for_stderr("password of alice: ")
    assert not terminal.shows_what_is_typed()
    terminal.type(NEW)
    program.wait_for_stderr("once more: ")
    assert not terminal.shows_what_is_typed()
    terminal.type(again)
    ended = program.wait()
    assert terminal.shows_what_is_typed()
    for typed in (NEW, again):
        assert typed not in terminal.shown() + ended.stderr + ended.stdout
    if again != NEW:
        assert ended.code == 1 and "two different passwords" in ended.stderr
        assert file.read_text() == before
        return
    assert ended.code == 0
    relay.start()
    assert enter(relay, "alice", NEW)[3] == "postgres"


def test_terminal_shows_what_is_typed_again_after_ctrl_c(shop, relay, pgcascade_background, terminal):
    relay.write_file({"shop": (shop, ["pub"])}, users='"users.toml"', trust="[]")
    program = pgcascade_background("relay", "--new-user", "alice", relay.file, stdin=terminal.terminal)
    program.wait_for_stderr("password of alice: ")
    program.stop(signal.SIGINT)
    assert terminal.shows_what_is_typed()
    assert not (relay.directory / "users.toml").exists()


# -- Strangers --------------------------------------------------------------------------------------------------


def test_who_has_guessed_wrong_waits_for_the_answer(shop, relay):
    start(relay, shop, {"alice": ""})
    for name in ("alice", "nobody"):
        began = time.monotonic()
        assert "password authentication failed" in refusal(relay, name, "a guess")
        assert time.monotonic() - began >= 1
    enter(relay, "alice")


LARGE_FIRST = [
    struct.pack("!I", 0x7FFFFFFF),
    struct.pack("!I", 0xFFFFFFFF),
    struct.pack("!I", 10_001) + bytes(100),
    struct.pack("!I", 4),
    b"GET / HTTP/1.1\r\n\r\n",
]
LARGE_LATER = [
    b"p" + struct.pack("!I", 65_540) + b"x",
    b"p" + struct.pack("!I", 0x7FFFFFFF),
    b"Q" + struct.pack("!I", 8) + b"x\0\0\0",
]


def test_what_is_too_long_is_not_waited_for(shop, relay):
    start(relay, shop, {"alice": ""}, login_timeout='"60s"')
    for data in LARGE_FIRST:
        with RawSession(address_of(relay)) as session:
            session.socket.sendall(data)
            assert session.is_closed()  # within the socket's own time-out of 30 s
    for data in LARGE_LATER:
        with RawSession(address_of(relay)) as session:
            session.start(user="alice")
            session.read_until(b"R")
            session.socket.sendall(data)
            assert session.is_closed()
    enter(relay, "alice")


def test_so_many_connections_there_are_and_no_more(shop, relay):
    relay.write_file({"shop": (shop, ["pub"])}, connections=2)
    relay.start()
    sessions = [RawSession(address_of(relay)) for _ in range(2)]
    for session in sessions:
        session.log_in()
    with RawSession(address_of(relay)) as refused:
        refused.start()
        [(_, error)] = refused.read_until(b"E")
        fields = error_fields(error)
        assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "53300", "sorry, too many clients already")
        assert refused.is_closed()
    for session in sessions:
        assert session.ask("IDENTIFY_SYSTEM")[-2][1] == b"IDENTIFY_SYSTEM\0"
    assert "as many connections as it may" in relay.program.stderr()
    sessions.pop().socket.close()

    def gets_in():
        try:
            return enter(relay, "postgres", PASSWORD)
        except psycopg2.OperationalError:
            return None

    wait_for(gets_in)
    sessions.pop().socket.close()
