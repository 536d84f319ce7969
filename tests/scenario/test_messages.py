"""--message-format: what the program says, for programs. Each message is one JSON object on one line, with what it is
about; no secret is in any."""

import json
import re

import psycopg2
import pytest

from pg_node import PASSWORD, SUPERUSER, free_port
from relay_clients import answers, for_replication, secret_of
from test_relay import relay, shop  # noqa: F401 (fixtures)
from waiting import wait_for

ALICE_S = "alice's pass-word 4711"
GUESS = "a guess, 0815"


def messages(stderr):
    """Every line is one, and no line is anything else."""
    assert stderr.endswith("\n"), stderr
    found = [json.loads(line) for line in stderr.split("\n")[:-1]]
    for message in found:
        assert list(message)[:3] == ["timestamp", "level", "message"], message
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message["timestamp"]), message
        assert message["level"] in ("debug", "info", "warning", "error"), message
        assert all(isinstance(value, str) and value for value in message.values()), message
    return found


def the_one(found, text, **fields):
    """The message with this text in it, which has these fields."""
    [message] = [message for message in found if text in message["message"]]
    assert {name: message.get(name) for name in fields} == fields, message
    return message


@pytest.fixture
def json_relay(shop, relay):
    """A relay of a feed and WAL that writes JSON. Its upstream's password is in its file; alice needs hers."""
    users = relay.directory / "users.toml"
    users.write_text(f'[user.alice]\nsecret = "{secret_of(ALICE_S)}"\nphysical = true\n')
    users.chmod(0o600)
    relay.write_file({"shop": (shop, ["pub"])}, wal=shop, users=f'"{users}"', trust="[]", wal_sender_timeout='"1s"')
    relay.start(wait=False, env={"PGCASCADE_MESSAGE_FORMAT": "json"})
    for log in ("feed shop", "wal"):
        relay.program.wait_for_stderr(f'"{log}: receiving from')
    return relay


def test_every_message_of_a_relay_is_a_json_object_that_says_what_it_is_about(shop, json_relay):
    relay = json_relay
    alice = {"user": "alice", "password": ALICE_S}
    create_slot_as_alice(relay, alice)
    stream_until_given_up(relay, alice)
    with pytest.raises(psycopg2.OperationalError):
        relay.connect(user="alice", password=GUESS)
    shop.stop()
    relay.program.wait_for_stderr('"feed shop: .*trying again')
    relay.program.wait_for_stderr('"wal: .*trying again')
    shop.start()
    wait_for(lambda: len(re.findall('"wal: receiving from', relay.program.stderr())) == 2, describe=relay.program.stderr)
    stderr = relay.stop().expect(0).stderr

    found = messages(stderr)
    for secret in (PASSWORD, ALICE_S, GUESS):
        assert secret not in stderr
    upstream = f"127.0.0.1:{shop.port}"
    address = f"127.0.0.1:{relay.port}"
    the_one(found, f"listening on {address}", level="info", component="listener", address=address)
    the_one(found, 'wal: created slot "relay_wal"', component="wal", slot="relay_wal", upstream=upstream)
    received = [message for message in found if "receiving from" in message["message"]]
    assert {(message["component"], message.get("feed")) for message in received} == {("wal", None), ("feed", "shop")}
    assert all(message["upstream"] == upstream and re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", message["lsn"]) for message in received)
    assert all(message["timeline"] == "1" for message in received if message["component"] == "wal")
    warnings = [message for message in found if message["level"] == "warning"]
    assert {message["component"] for message in warnings} == {"wal", "feed"}
    the_one(
        found, "replication timeout", level="info", component="session", client="127.0.0.1", user="alice",
        database="postgres", application_name="silent", slot="s", sqlstate="08006",
    )
    the_one(found, "password authentication failed", component="session", client="127.0.0.1", sqlstate="28P01")
    the_one(found, "stopping", component="relay")


def create_slot_as_alice(relay, alice):
    [made] = answers(relay, "CREATE_REPLICATION_SLOT s LOGICAL pgoutput NOEXPORT_SNAPSHOT", **alice)
    assert made[0][0] == "s", made


def stream_until_given_up(relay, alice):
    """A client that streams and says nothing any more."""
    connection = for_replication(relay, application_name="silent", **alice)
    cursor = connection.cursor()
    cursor.start_replication(slot_name="s", options={"proto_version": "1", "publication_names": "pub"})
    relay.program.wait_for_stderr("replication timeout")
    connection.close()


def test_people_read_the_same_without_the_fields(shop, relay):
    relay.write_file(wal=shop)
    relay.start()
    stderr = relay.stop().expect(0).stderr
    assert f"pgcascade: listening on 127.0.0.1:{relay.port}\n" in stderr
    assert all(line.startswith("pgcascade: ") for line in stderr.splitlines()) and "listener" not in stderr


@pytest.mark.parametrize("told_by", ["option", "environment"])
def test_an_error_at_the_start_is_one_json_line_with_its_hint(pgcascade, directory, told_by):
    file = directory / "relay.toml"
    file.write_text('[relay]\ndirectory = "data"\ntrust = ["127.0.0.1"]\n')
    option, env = (["--message-format", "json"], None) if told_by == "option" else ([], {"PGCASCADE_MESSAGE_FORMAT": "json"})
    ended = pgcascade("relay", file, *option, env=env).expect(1)
    assert ended.stdout == ""
    [message] = messages(ended.stderr)
    assert message["level"] == "error" and "there is nothing to relay" in message["message"]
    assert message["hint"].startswith("add [wal]")
    text = pgcascade("relay", file).expect(1).stderr
    assert text == f"pgcascade: error: {message['message']}\nhint: {message['hint']}\n"


def test_every_command_writes_json_messages_and_ends_as_ever(pgcascade, primary):
    json_format = ["--message-format", "json"]
    done = pgcascade("slot", "create", primary.conninfo(), "eu", "--physical", *json_format).expect(0)
    the_one(messages(done.stderr), 'slot "eu" created', level="info")
    refused = pgcascade("slot", "create", primary.conninfo(), "eu", "--physical", *json_format).expect(1)
    the_one(messages(refused.stderr), "already exists", level="error", sqlstate="42710")
    away = pgcascade("slot", "list", f"host=127.0.0.1 port={free_port()} user={SUPERUSER}", *json_format).expect(1)
    assert "hint" in the_one(messages(away.stderr), "Connection refused", level="error")
    quiet = pgcascade("slot", "create", primary.conninfo(), "us", "--physical", "-q", *json_format).expect(0)
    assert quiet.stderr == ""
    for wrong in ({"PGCASCADE_MESSAGE_FORMAT": "xml"}, None):
        arguments = [] if wrong else ["--message-format", "xml"]
        assert "xml" in pgcascade("slot", "list", primary.conninfo(), *arguments, env=wrong).expect(2).stderr
