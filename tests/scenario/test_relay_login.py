"""pgcascade relay: who gets in, over what, and that whoever does not get in harms nobody."""

import socket
import struct
import subprocess

import psycopg2
import pytest

from relay_clients import RawSession, answers, create_slot, for_replication, secret_of
from relay_wal import standby_behind
from server_messages import cstring
from test_relay import SHOP, relay, shop, wait_for_same_rows  # noqa: F401 (fixtures)
from test_relay_wal import TABLE, fill, same_table, wait_for_items
from waiting import wait_for

PASSWORD = "right, häß'lich"


def write_users(relay, **users):
    """users: {name: more keys as TOML has them}; all have the same password."""
    text = "".join(f'[user.{name}]\nsecret = "{secret_of(PASSWORD)}"\n{more}\n' for name, more in users.items())
    file = relay.directory / "users.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def start(relay, shop, users, trust="[]", **settings):
    file = write_users(relay, **users)
    relay.write_file({"shop": (shop, ["pub"])}, users=f'"{file}"', trust=trust, **settings)
    return relay.start()


def enter(relay, user, password=PASSWORD, **more):
    """Logs in and asks who is there."""
    [[row]] = answers(relay, "IDENTIFY_SYSTEM", user=user, password=password, **more)
    return row


def refusal(relay, user, password=PASSWORD, **more):
    with pytest.raises(psycopg2.OperationalError) as refused:
        enter(relay, user, password, **more)
    return str(refused.value).strip().rpartition("FATAL:  ")[2]


# -- Passwords and rights ---------------------------------------------------------------------------------------


def salt_for(relay, user):
    """The server's first SCRAM message, without its half of the nonce."""
    with RawSession(("127.0.0.1", relay.port)) as session:
        session.start(user=user)
        assert session.read_until(b"R")[-1][1][:4] == b"\0\0\0\x0a"
        first = b"n,,n=,r=clientnonce"
        session.send(b"p", cstring("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first)
        return session.read_until(b"R")[-1][1].partition(b",")[2]


def test_only_who_knows_the_password_and_may_come_from_there_gets_in(shop, relay):
    users = {
        "alice": "",
        "far": 'addresses = ["10.0.0.0/8"]',
        "near": 'addresses = ["127.0.0.0/8"]\nfeeds = []',
        "secured": "require_tls = true",
    }
    place = relay.directory / "run"
    place.mkdir()
    listen = f'["127.0.0.1:{relay.port}", "{place}"]'
    start(relay, shop, users, trust='["local"]', listen=listen, port=relay.port)
    assert enter(relay, "alice")[3] == "postgres"
    wrong = 'password authentication failed for user "{}"'.format
    assert refusal(relay, "alice", "wrong") == wrong("alice")
    for name in ("nobody", "far", "secured"):
        assert refusal(relay, name) == wrong(name)
    assert salt_for(relay, "nobody") == salt_for(relay, "nobody") != salt_for(relay, "nobody2")
    assert salt_for(relay, "alice").endswith(b"i=4096") and salt_for(relay, "nobody").endswith(b"i=4096")
    assert 'database "postgres" does not exist' in refusal(relay, "near")  # no feed, no database
    for name in ("alice", "whoever"):
        assert enter(relay, name, "not asked for", host=place)[3] == "postgres"

    # Who is let in anew, and who no more, is read on SIGHUP; a file with a mistake in it changes nothing.
    file = write_users(relay, bob="")
    relay.reload()
    assert enter(relay, "bob")[3] == "postgres"
    assert refusal(relay, "alice") == wrong("alice")
    file.write_text("[user.eve]\n")
    relay.reload("stay as they were")
    assert enter(relay, "bob")[3] == "postgres"

    relay.stop()
    file.chmod(0o644)
    refused = relay.start_program("relay", relay.file).wait()
    assert refused.code == 1 and f"{file} may be read or written by others" in refused.stderr


def test_user_reads_the_feeds_that_are_his(shop, relay):
    shop.execute("CREATE PUBLICATION sales FOR TABLE sale")
    write_users(relay, seller='feeds = ["sales"]')
    relay.write_file({"shop": (shop, ["pub"]), "sales": (shop, ["sales"])}, users='"users.toml"', trust="[]")
    relay.start()
    wait_for(lambda: relay.program.stderr().count("receiving from") == 2)
    begin = "START_REPLICATION SLOT mine LOGICAL 0/0 (proto_version '1', publication_names '{}')"
    create = "CREATE_REPLICATION_SLOT mine LOGICAL pgoutput (SNAPSHOT 'nothing')"
    who = {"user": "seller", "password": PASSWORD}
    [_, refused, sql, streams] = answers(relay, create, begin.format("pub"), "SELECT 1", begin.format("sales"), **who)
    assert refused[0] == "42704" and sql[0] == "42501" and streams == "it streams"


def test_slot_is_for_who_may_read_its_feed(shop, relay):
    shop.execute("CREATE PUBLICATION sales FOR TABLE sale")
    write_users(relay, seller='feeds = ["sales"]', buyer="", standby="feeds = []\nphysical = true")
    feeds = {"shop": (shop, ["pub"]), "sales": (shop, ["sales"])}
    relay.write_file(feeds, wal=shop, users='"users.toml"', trust="[]")
    relay.start()
    wait_for(lambda: relay.program.stderr().count("receiving from") == 3)
    as_user = lambda name: {"user": name, "password": PASSWORD}
    answers(relay, "CREATE_REPLICATION_SLOT bought LOGICAL pgoutput (SNAPSHOT 'nothing')", **as_user("buyer"))
    answers(relay, "CREATE_REPLICATION_SLOT eu PHYSICAL", physical=True, **as_user("standby"))
    attempts = {
        "bought": ["START_REPLICATION SLOT bought LOGICAL 0/0 (proto_version '1', publication_names 'sales')"]
        + ["READ_REPLICATION_SLOT bought", "ALTER_REPLICATION_SLOT bought (FAILOVER true)", "DROP_REPLICATION_SLOT bought WAIT"],
        "eu": ["READ_REPLICATION_SLOT eu", "DROP_REPLICATION_SLOT eu"],
    }
    for slot, commands in attempts.items():
        refused = ("42501", f'permission denied: user "seller" may not use replication slot "{slot}"')
        for command in commands:
            assert answers(relay, command, **as_user("seller")) == [refused], command
    assert answers(relay, "DROP_REPLICATION_SLOT bought", **as_user("buyer")) == ["DROP_REPLICATION_SLOT"]
    assert answers(relay, "DROP_REPLICATION_SLOT eu", physical=True, **as_user("standby")) == ["DROP_REPLICATION_SLOT"]


# -- TLS --------------------------------------------------------------------------------------------------------


def make_certificate(directory):
    certificate, key = directory / "server.crt", directory / "server.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=relay".split()
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_over_tls_logins_are_bound_to_the_certificate_and_subscriptions_work(nodes, shop, relay, version):
    certificate, key = make_certificate(relay.directory)
    users = {"alice": "pass_through = true", "secured": "require_tls = true"}
    start(relay, shop, users, tls_certificate=f'"{certificate}"', tls_key=f'"{key}"')
    enter(relay, "alice", sslmode="require", channel_binding="require")
    enter(relay, "alice", sslmode="verify-full", sslrootcert=certificate)
    enter(relay, "alice", sslmode="disable")
    enter(relay, "secured", sslmode="require")
    assert "password authentication failed" in refusal(relay, "secured", sslmode="disable")
    assert "password authentication failed" in refusal(relay, "alice", "wrong", sslmode="require")

    # A key of another certificate: nothing changes, the users neither.
    old_key = key.read_bytes()
    make_certificate(relay.directory)
    new_key = key.read_bytes()
    key.write_bytes(old_key)
    write_users(relay, eve="")
    relay.reload("stay as they were")
    assert "can't use the key" in relay.program.stderr()
    assert "password authentication failed" in refusal(relay, "eve")
    enter(relay, "secured", sslmode="require", channel_binding="require")

    write_users(relay, **users)
    key.write_bytes(new_key)
    relay.reload()
    enter(relay, "alice", sslmode="verify-full", sslrootcert=certificate, channel_binding="require")

    shop.execute("INSERT INTO item SELECT i, repeat('x', 1000), i FROM generate_series(1, 3000) i")
    subscriber = nodes.primary("subscriber", version=version)
    subscriber.psql(SHOP)
    tls = {"sslmode": "require", "channel_binding": "require", "sslcert": "/nonexistent"}
    secured = relay.conninfo(user="alice", password=PASSWORD, **tls)
    subscriber.execute("CREATE SUBSCRIPTION sub CONNECTION %s PUBLICATION pub", secured)
    shop.execute("UPDATE item SET price = price + 1; INSERT INTO item SELECT i, 'new' FROM generate_series(5001, 9000) i")
    wait_for_same_rows(subscriber, shop)


def test_standby_comes_with_a_password_over_tls(nodes, primary, relay):
    primary.execute(TABLE)
    certificate, key = make_certificate(relay.directory)
    file = write_users(relay, standby="physical = true\nrequire_tls = true")
    tls = {"tls_certificate": f'"{certificate}"', "tls_key": f'"{key}"'}
    relay.write_file(wal=primary, users=f'"{file}"', trust="[]", **tls)
    relay.start()
    way = {"user": "standby", "password": PASSWORD, "sslmode": "require", "channel_binding": "require", "sslcert": "/nonexistent"}
    standby = standby_behind(nodes, relay, primary, "eu", **way)
    fill(primary, 1, 50_000)
    wait_for_items(standby, 50_000)
    assert same_table(standby, primary)


# -- Strangers --------------------------------------------------------------------------------------------------

STARTUP = struct.pack("!II", 0, 3 << 16)
FIRST_BYTES = [
    b"",
    b"\0\0",
    b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n",
    struct.pack("!I", 0x7FFFFFFF) + b"much",
    struct.pack("!I", 0xFFFFFFFF) + b"more",
    struct.pack("!I", 0),
    struct.pack("!II", 8, 80877103) + b"not encrypted",
    struct.pack("!II", 8, 80877104) * 50,
    struct.pack("!II", 16, 80877102) + b"12345678",
    struct.pack("!II", 8, 2 << 16),
    struct.pack("!II", 9, 3 << 16) + b"\0",
    struct.pack("!II", 40, 3 << 16) + b"user\0alice",
    struct.pack("!II", 12, 3 << 16) + b"user",
]
MESSAGES = [
    b"Q" + struct.pack("!I", 0x7FFFFFFF) + b"SELECT",
    b"Q" + struct.pack("!I", 2),
    b"Q" + struct.pack("!I", 12) + b"SELECT 1",  # without its zero
    b"\0\0\0\0\0\0\0\0",
    b"d" + struct.pack("!I", 0xFFFFFFFF),
    b"~" * 1000,
]


def test_strangers_keep_nobody_else_out(shop, relay):
    start(relay, shop, {"alice": ""}, trust='["127.0.0.1"]', login_timeout='"1s"')
    steady = for_replication(relay, user="alice")
    address = ("127.0.0.1", relay.port)
    silent = []
    for data in FIRST_BYTES:
        silent.append(RawSession(address))
        silent[-1].socket.sendall(data)
    for data in MESSAGES:
        silent.append(RawSession(address))
        silent[-1].log_in()
        silent[-1].socket.sendall(data)
        silent[-1].socket.shutdown(socket.SHUT_WR)
    for _ in range(50):  # gone before they are welcomed
        with RawSession(address) as gone:
            gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    enter(relay, "alice")
    for session in silent:
        assert session.is_closed()
        session.socket.close()
    create_slot(relay)
    with steady.cursor() as cursor:
        cursor.execute("IDENTIFY_SYSTEM")
    steady.close()
    assert relay.stop().code == 0


def test_one_address_has_so_many_connections_that_did_not_log_in(shop, relay):
    start(relay, shop, {"alice": ""}, connections_per_address_before_login=3)
    address = ("127.0.0.1", relay.port)
    silent = [RawSession(address) for _ in range(3)]
    for session in silent:
        session.start(user="alice")
        session.read_until(b"R")  # it is asked for its password
    with RawSession(address) as refused:
        assert refused.is_closed()
    silent.pop().socket.close()

    def gets_in():
        try:
            return enter(relay, "alice")
        except psycopg2.OperationalError:
            return None

    wait_for(gets_in)
    for session in silent:
        session.socket.close()
