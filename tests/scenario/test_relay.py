"""pgcascade relay: real clients and real subscribers behind it get what the upstream committed, once each."""

import io
import subprocess
import threading

import psycopg2
import pytest

from change_lines import lsn_text
from pgoutput_reader import PgoutputReader, by_pg_recvlogical, by_psycopg2, plugin_options
from program_run import environment
from relay_clients import RawSession, answer, answers, create_slot, for_replication, secret_of, slots, slots_in_use
from relay_run import Relay
from server_programs import client_program
from waiting import wait_for
from workload import SCHEMA, Workload

SHOP = """
    CREATE TABLE item (id int PRIMARY KEY, name text, price numeric);
    CREATE TABLE sale (id bigserial PRIMARY KEY, item int, at timestamptz DEFAULT now());
    CREATE PUBLICATION pub FOR ALL TABLES;
"""


@pytest.fixture
def relay(directory, pgcascade_background):
    place = directory / "relay"
    place.mkdir()
    return Relay(place, pgcascade_background)


@pytest.fixture
def shop(primary):
    primary.psql(SHOP)
    return primary


def rows(node, table="item", dbname="postgres"):
    return node.sql(f"SELECT * FROM {table} ORDER BY 1", dbname=dbname)


def wait_for_same_rows(subscriber, publisher, table="item", dbname="postgres"):
    wait_for(
        lambda: rows(subscriber, table, dbname) == rows(publisher, table),
        60,
        lambda: f"{subscriber} to have the rows of {table} on {publisher}; its log ends:\n{subscriber.log_tail()}",
    )


# -- CREATE SUBSCRIPTION ----------------------------------------------------------------------------------------


def subscribe(subscriber, relay, options="copy_data = true", publications="pub", name="sub", dbname="postgres"):
    statement = f"CREATE SUBSCRIPTION {name} CONNECTION %s PUBLICATION {publications} WITH ({options})"
    subscriber.execute(statement, relay.conninfo(), dbname=dbname)


def test_subscriptions_of_every_kind_copy_a_table_and_follow_it_at_the_price_of_one(nodes, shop, relay, version):
    shop.execute("INSERT INTO item SELECT i, 'item ' || i, i * 1.5 FROM generate_series(1, 1000) i")
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    more_workers = {"max_worker_processes": "16", "max_logical_replication_workers": "12"}
    subscriber = nodes.primary("subscriber", version=version, settings=more_workers)
    kinds = {
        "plain": "copy_data = true",
        "streaming": "streaming = parallel" if version >= 16 else "streaming = on",
        "in_binary": "binary = true",
        "local_only": "origin = none" if version >= 16 else "synchronous_commit = off",
    }
    for name, options in kinds.items():
        subscriber.execute(f"CREATE DATABASE {name}")
        subscriber.psql(SHOP, name)
        subscribe(subscriber, relay, options, name=name, dbname=name)
    subscriber.psql(SHOP)
    subscribe(subscriber, relay, "copy_data = false", name="later")
    shop.execute("UPDATE item SET price = price + 1 WHERE id <= 500; DELETE FROM item WHERE id > 900")
    shop.execute("INSERT INTO item SELECT i, repeat('x', 100), NULL FROM generate_series(5001, 8000) i")
    shop.execute("INSERT INTO sale (item) VALUES (1); TRUNCATE sale; INSERT INTO sale (item) VALUES (2)")
    for name in kinds:
        wait_for_same_rows(subscriber, shop, dbname=name)
        wait_for_same_rows(subscriber, shop, "sale", dbname=name)
    subscriber.wait_until("SELECT min(id) = 5001 AND count(*) = 3000 FROM item", True)
    shop.wait_until("SELECT count(*) FROM pg_stat_replication", 1)
    assert shop.sql("SELECT slot_name, active FROM pg_replication_slots") == [("relay_shop", True)]

    # One that was away catches up, and costs the others nothing.
    subscriber.execute("ALTER SUBSCRIPTION plain DISABLE", dbname="plain")
    wait_for(lambda: "plain" not in slots_in_use(relay))
    shop.execute("UPDATE item SET name = 'while it was away' WHERE id <= 10")
    wait_for_same_rows(subscriber, shop, dbname="streaming")
    assert rows(subscriber, dbname="plain") != rows(shop)
    subscriber.execute("ALTER SUBSCRIPTION plain ENABLE", dbname="plain")
    wait_for_same_rows(subscriber, shop, dbname="plain")

    for name in kinds:
        subscriber.execute(f"DROP SUBSCRIPTION {name}", dbname=name)
    subscriber.execute("DROP SUBSCRIPTION later")
    assert slots(relay) == {}


def test_subscription_goes_over_to_other_tables_and_to_other_sets_of_publications(nodes, primary, relay, version):
    tables = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY);"
    primary.psql(tables + "CREATE PUBLICATION one FOR TABLE a; CREATE PUBLICATION two FOR TABLE b")
    relay.write_file({"one": (primary, ["one"]), "both": (primary, ["one", "two"])})
    relay.start()
    wait_for(lambda: relay.program.stderr().count("receiving from") == 2)
    subscriber = nodes.primary("subscriber", version=version)
    subscriber.psql(tables)
    primary.psql("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)")
    subscribe(subscriber, relay, publications="one")
    wait_for_same_rows(subscriber, primary, "a")

    primary.psql("ALTER PUBLICATION one ADD TABLE c")
    subscriber.execute("ALTER SUBSCRIPTION sub REFRESH PUBLICATION")
    primary.psql("INSERT INTO c VALUES (2); INSERT INTO a VALUES (2)")
    wait_for_same_rows(subscriber, primary, "c")
    wait_for_same_rows(subscriber, primary, "a")

    subscriber.execute("ALTER SUBSCRIPTION sub ADD PUBLICATION two")
    primary.psql("INSERT INTO b VALUES (2); INSERT INTO a VALUES (3)")
    wait_for_same_rows(subscriber, primary, "b")
    wait_for_same_rows(subscriber, primary, "a")

    subscriber.execute("ALTER SUBSCRIPTION sub DROP PUBLICATION two")
    primary.psql("INSERT INTO b VALUES (3); INSERT INTO a VALUES (4)")
    wait_for_same_rows(subscriber, primary, "a")
    assert rows(subscriber, "b") == [(1,), (2,)]

    # Of a set that is no feed's nothing comes, and the reason is told; what is missed meanwhile is not lost.
    subscriber.execute("ALTER SUBSCRIPTION sub SET PUBLICATION two WITH (refresh = false)")
    subscriber.wait_for_log('no feed of database "postgres" has just the publications "two"')
    primary.psql("INSERT INTO a VALUES (5)")
    subscriber.execute("ALTER SUBSCRIPTION sub SET PUBLICATION one WITH (refresh = false)")
    wait_for_same_rows(subscriber, primary, "a")


def test_values_are_copied_as_the_subscriber_reads_them_whatever_the_upstream_is_set_to(nodes, primary, relay, version):
    table = "CREATE TABLE day (id int PRIMARY KEY, at date, length interval, ratio float8);"
    primary.psql(table + "CREATE PUBLICATION pub FOR TABLE day")
    for setting in ("datestyle = 'SQL, DMY'", "intervalstyle = sql_standard", "extra_float_digits = 0"):
        primary.execute(f"ALTER DATABASE postgres SET {setting}")
    primary.execute("INSERT INTO day VALUES (1, '2020-02-03', '-1 year 2 days', 0.1::float8 + 0.2)")
    relay.write_file({"shop": (primary, ["pub"])})
    relay.start()
    subscriber = nodes.primary("subscriber", version=version)
    subscriber.psql(table)
    subscribe(subscriber, relay)
    subscriber.wait_until("SELECT count(*) FROM day", 1)
    primary.execute("INSERT INTO day SELECT 2, at, length, ratio FROM day")
    primary.execute("ALTER DATABASE postgres RESET ALL")
    wait_for_same_rows(subscriber, primary, "day")


# -- pg_recvlogical, psycopg2 -----------------------------------------------------------------------------------


def recvlogical(node, *arguments):
    command = [client_program("pg_recvlogical"), "-d", node.conninfo(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    assert done.returncode == 0, done


def test_stock_clients_get_from_the_relay_what_they_get_from_the_primary(primary, relay, directory):
    primary.psql(SCHEMA)
    relay.write_file({"shop": (primary, ["pub"])})
    relay.start()
    for node in (primary, relay):
        recvlogical(node, "--slot", "tool", "--create-slot", "-P", "pgoutput")
        create_slot(node, "driver")
    assert slots(relay) == {"tool": False, "driver": False}
    with Workload(primary, seed=3) as load:
        wait_for(lambda: load.committed >= 50)
    until = primary.current_lsn()
    expected = by_pg_recvlogical(primary, "tool", "pub", until, directory)
    assert expected == by_psycopg2(primary, "driver", "pub", until)
    assert by_pg_recvlogical(relay, "tool", "pub", until, relay.directory) == expected
    assert by_psycopg2(relay, "driver", "pub", until) == expected
    recvlogical(relay, "--slot", "tool", "--drop-slot")
    assert slots(relay) == {"driver": False}


def start_with_reader(relay, shop):
    """Beside whoever else is trusted there is a user who may not run SQL on the upstream."""
    users = relay.directory / "users.toml"
    users.write_text('[user.reader]\nsecret = "%s"\n' % secret_of("not asked for"))
    users.chmod(0o600)
    relay.write_file({"shop": (shop, ["pub"])}, users='"users.toml"')
    relay.start()


def test_snapshot_that_a_slot_exports_is_what_the_slot_goes_on_from(shop, relay):
    start_with_reader(relay, shop)
    shop.execute("INSERT INTO item SELECT i FROM generate_series(1, 10) i")
    maker, reader = for_replication(relay), for_replication(relay)
    answer(maker, "SET work_mem = '77MB'")
    answer(maker, "COMMIT")  # psycopg2 has begun a transaction, in which nothing can be exported
    [[_, _, snapshot, _]] = answer(maker, "CREATE_REPLICATION_SLOT s LOGICAL pgoutput EXPORT_SNAPSHOT")
    shop.execute("INSERT INTO item VALUES (11)")
    use = f"SET TRANSACTION SNAPSHOT '{snapshot}'"
    for statement in ("BEGIN ISOLATION LEVEL REPEATABLE READ", use):
        answer(reader, statement)
    assert answer(reader, "SELECT count(*) FROM item") == [(10,)]
    answer(reader, "COMMIT")
    held = "SELECT count(*) FROM pg_replication_slots WHERE temporary"
    assert shop.value(held) == 1
    answer(maker, "IDENTIFY_SYSTEM")  # with the next command it ends, and what held it on the primary
    shop.wait_until(held, 0)
    assert answer(maker, "SHOW work_mem") == [("77MB",)]
    answer(reader, "BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert answer(reader, use)[0] in ("22023", "42704")
    for connection in (maker, reader):
        connection.close()
    changes = by_psycopg2(relay, "s", "pub", shop.current_lsn())
    assert [change["new"]["id"] for change in changes if change["op"] == "insert"] == ["11"]
    create = "CREATE_REPLICATION_SLOT t LOGICAL pgoutput"
    [refused, made] = answers(relay, create + " EXPORT_SNAPSHOT", create, user="reader")
    assert refused[0] == "42501" and made[0][2] is None


def test_messages_come_to_who_asks_for_them(nodes, shop, relay, directory, version):
    relay.write_file({"shop": (shop, ["pub"])}, feed_settings={"messages": "true"})
    relay.start()
    for node in (shop, relay):
        create_slot(node, "all")
        create_slot(node, "rows")
    subscriber = nodes.primary("subscriber", version=version)
    subscriber.psql(SHOP)
    subscribe(subscriber, relay, "copy_data = false")
    message = "SELECT pg_logical_emit_message({}, 'note', '{}');"
    shop.psql(message.format("false", "alone"))
    shop.psql(f"BEGIN; {message.format('true', 'only')} COMMIT; INSERT INTO item VALUES (1, 'one');")
    shop.psql(f"BEGIN; {message.format('true', 'first')} INSERT INTO item VALUES (2, 'two'); {message.format('true', 'last')} COMMIT;")
    shop.psql(message.format("false", "between") + "INSERT INTO item VALUES (3, 'three');")
    until = shop.current_lsn()
    for slot, asked in (("all", {"messages": "true"}), ("rows", {})):
        expected = by_pg_recvlogical(shop, slot, "pub", until, directory, **asked)
        assert by_pg_recvlogical(relay, slot, "pub", until, relay.directory, **asked) == expected
        assert sum(change["op"] == "message" for change in expected) == (5 if asked else 0)
    wait_for_same_rows(subscriber, shop)


@pytest.mark.at_least(16)
def test_who_wants_local_changes_only_gets_what_the_primary_would_send(shop, relay, directory):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    for node in (shop, relay):
        create_slot(node)
    shop.psql("SELECT pg_replication_origin_create('elsewhere')")
    from_elsewhere = "SELECT pg_replication_origin_session_setup('elsewhere');"
    shop.psql("INSERT INTO item VALUES (1, 'local', 1)")
    shop.psql(from_elsewhere + "INSERT INTO sale (item) VALUES (1); INSERT INTO item VALUES (2, 'from elsewhere', 2)")
    shop.psql("INSERT INTO sale (item) SELECT i FROM generate_series(1, 1000) i")
    shop.psql(from_elsewhere + "UPDATE item SET price = 3")
    shop.psql("DELETE FROM item WHERE id = 2")
    until = shop.current_lsn()
    expected = by_pg_recvlogical(shop, "s", "pub", until, directory, origin="none")
    assert len(expected) == 1 + 1000 + 1
    assert by_pg_recvlogical(relay, "s", "pub", until, relay.directory, origin="none") == expected


def read_changes(cursor, count, reader=None):
    """So many changes, and where each transaction ends: [(change, end)]. reader: that of what came before in the stream."""
    reader, changes = reader or PgoutputReader(), []

    def arrived():
        while message := cursor.read_message():
            change = reader.read(message.payload)
            if change:
                changes.append([change, None])
            elif message.payload[:1] == b"C":
                changes[-1][1] = message.data_start
        return len(changes) >= count and changes[-1][1]

    wait_for(arrived, describe=lambda: f"{count} changes; there are {changes}")
    return changes


def test_psycopg2_goes_on_where_it_has_confirmed(shop, relay):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    connection = for_replication(relay)
    cursor = connection.cursor()
    cursor.create_replication_slot("s", output_plugin="pgoutput")
    cursor.start_replication("s", decode=False, options=plugin_options("pub"))
    for number in (1, 2, 3):
        shop.execute("INSERT INTO item VALUES (%s)", number)
    changes = read_changes(cursor, 3)
    assert [change["new"]["id"] for change, _ in changes] == ["1", "2", "3"]
    cursor.send_feedback(flush_lsn=changes[1][1], force=True)
    position = lambda: [row[8] for row in answers(relay, "SHOW pgcascade.slots")[0]]
    wait_for(lambda: position() == [lsn_text(changes[1][1])])
    connection.close()

    wait_for(lambda: not slots_in_use(relay))
    relay.stop()
    relay.start()
    connection = for_replication(relay)
    cursor = connection.cursor()
    cursor.start_replication("s", decode=False, options=plugin_options("pub"))
    shop.execute("INSERT INTO item VALUES (4)")
    assert [change["new"]["id"] for change, _ in read_changes(cursor, 2)] == ["3", "4"]
    connection.close()

    # A temporary slot is its session's alone, and ends with it.
    connection = for_replication(relay)
    create = "CREATE_REPLICATION_SLOT t TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT"
    start = "START_REPLICATION SLOT t LOGICAL 0/0 (proto_version '1', publication_names 'pub')"
    answer(connection, create)
    [refused] = answers(relay, start)
    assert refused[0] == "55006"
    cursor = connection.cursor()
    cursor.start_replication_expert(start, decode=False)
    shop.execute("INSERT INTO item VALUES (5)")
    assert [change["new"]["id"] for change, _ in read_changes(cursor, 1)] == ["5"]
    connection.close()
    wait_for(lambda: set(slots(relay)) == {"s"})


# -- What it answers --------------------------------------------------------------------------------------------

CREATE = "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'nothing')"
START = "START_REPLICATION SLOT {} LOGICAL 0/0 ({})"
VALID = "proto_version '1', publication_names 'pub'"

# The SQLSTATE and the words of the error are the same.
REFUSED_ALIKE = [
    CREATE.format("mine"),  # exists
    CREATE.format('"Mine"'),
    CREATE.format('""'),
    "DROP_REPLICATION_SLOT none",
    "DROP_REPLICATION_SLOT none WAIT",
    "READ_REPLICATION_SLOT mine",
    START.format("none", VALID),
    START.format("mine", VALID + ", speed '1'"),
    START.format("mine", "proto_version 'one', publication_names 'pub'"),
    START.format("mine", "proto_version '1', publication_names 'pub,'"),
    START.format("mine", "proto_version '1', publication_names '\"pub'"),
    START.format("mine", VALID + ", binary 'perhaps'"),
    START.format("mine", VALID + ", messages 'perhaps'"),
    START.format("mine", VALID + ", " + VALID),
    "START_REPLICATION SLOT mine LOGICAL nowhere",
    "CREATE_REPLICATION_SLOT x LOGICAL",
    "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (SNAPSHOT 'later')",
    "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (SNAPSHOT 'use')",  # without a transaction
    "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (SPEED 'high')",
    "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (SNAPSHOT 'nothing', SNAPSHOT 'export')",
    "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (RESERVE_WAL)",
    "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (TWO_PHASE 'perhaps')",
    "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (TWO_PHASE, TWO_PHASE)",
    "IDENTIFY_SYSTEM now",
    "SHOW",
    "SHOW nothing",
    "SELECT 1/0",
    "SELEC",
]

# From 17 on.
ALTERED_ALIKE = [
    "ALTER_REPLICATION_SLOT none (FAILOVER true)",
    "ALTER_REPLICATION_SLOT mine (SPEED 'high')",
    "ALTER_REPLICATION_SLOT mine (FAILOVER, FAILOVER false)",
    "ALTER_REPLICATION_SLOT mine (FAILOVER 'perhaps')",
    "ALTER_REPLICATION_SLOT mine (FAILOVER)",
    "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (FAILOVER 'perhaps')",
    "CREATE_REPLICATION_SLOT x TEMPORARY LOGICAL pgoutput (FAILOVER, SNAPSHOT 'nothing')",
]

# Each on its own connection, in this order.
IN_A_TRANSACTION = [
    ["BEGIN", START.format("mine", VALID), "SHOW server_version", "ROLLBACK", "SHOW server_version"],
    ["BEGIN", "SELECT 1/0", "SHOW server_version", CREATE.format("x"), START.format("mine", VALID), "ROLLBACK", "SHOW server_version"],
    ["BEGIN", "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (SNAPSHOT 'export')", "ROLLBACK"],
    ["BEGIN", "SELECT 1", "CREATE_REPLICATION_SLOT x LOGICAL pgoutput (SNAPSHOT 'use')", "ROLLBACK"],
    ["BEGIN", "DROP_REPLICATION_SLOT none", "SELECT 1", "COMMIT"],
]

# The words are those of one version, or name a process.
SAME_SQLSTATE = [
    CREATE.format("mine"),
    START.format("busy", VALID),
    "DROP_REPLICATION_SLOT busy",
    START.format("mine", "proto_version '1'"),
    START.format("mine", "proto_version '0', publication_names 'pub'"),
    START.format("mine", "proto_version '99', publication_names 'pub'"),
]


def test_what_can_not_be_done_is_refused_as_by_a_server(shop, relay):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    both = []
    for node in (relay, shop):
        create_slot(node, "mine")
        create_slot(node, "busy")
        holder = for_replication(node)
        assert answer(holder, START.format("busy", VALID)) == "it streams"
        refused = REFUSED_ALIKE + (ALTERED_ALIKE if shop.version >= 17 else [])
        alike = dict(zip(refused, answers(node, *refused)))
        alike |= {tuple(commands): answers(node, *commands) for commands in IN_A_TRANSACTION}
        states = {command: said[0] for command, said in zip(SAME_SQLSTATE, answers(node, *SAME_SQLSTATE))}
        holder.close()
        both.append((alike, states))
    for by_relay, by_server in zip(*both):
        assert {command: said for command, said in by_relay.items() if said != by_server[command]} == {}

    [version, plugin, publications, messages] = answers(
        relay,
        START.format("mine", "publication_names 'pub'"),
        "CREATE_REPLICATION_SLOT x LOGICAL test_decoding (SNAPSHOT 'nothing')",
        START.format("mine", "proto_version '1', publication_names 'pub,other'"),
        START.format("mine", "proto_version '1', publication_names 'pub', messages 'true'"),
    )
    assert (version[0], plugin[0], publications[0], messages[0]) == ("22023", "0A000", "42704", "0A000")
    for node in (relay, shop):
        with pytest.raises(psycopg2.OperationalError, match='database "nowhere" does not exist'):
            for_replication(node, "nowhere")


def test_the_extended_protocol_is_refused_as_by_a_server_and_the_session_goes_on(shop, relay):
    relay.write_file({"shop": (shop, ["pub"])})
    relay.start()
    said = []
    for address in (("127.0.0.1", relay.port), str(shop.socket_directory / f".s.PGSQL.{shop.port}")):
        with RawSession(address) as session:
            session.log_in()
            session.send(b"P", b"\0SELECT 1\0\0\0")
            session.send(b"B", b"\0\0\0\0\0\0\0\0")
            session.send(b"S", b"")
            said.append([(kind, body) for kind, body in session.read_until(b"Z") if kind in b"EZ"])
            session.send(b"Q", b"IDENTIFY_SYSTEM\0")
            assert b"C" in [kind for kind, _ in session.read_until(b"Z")]
    assert [kind for kind, _ in said[0]] == [kind for kind, _ in said[1]] == [b"E", b"Z"]
    for [[_, error], _] in said:
        assert b"C08P01\0" in error and b"extended query protocol not supported in a replication connection" in error


# -- SQL --------------------------------------------------------------------------------------------------------

STATEMENTS = [
    "SELECT 1::numeric(9,3), NULL, '', 'ä''\\', '\\x00ff'::bytea, ARRAY[1,NULL], '{\"a\": 1}'::jsonb, true, 0.1::float8 + 0.2",
    "SELECT * FROM item WHERE id < 0",
    "SELECT 1; SELECT 'two', 2; UPDATE item SET name = 'new' WHERE id <= 3; SELECT name FROM item WHERE id = 3",
    "SELECT 1; SELECT 1/0; SELECT 3",
    "SELECT name FROM item WHERE id = 1; UPDATE item SET name = 'never'; SELECT 1/0 FROM item",
    "SELECT name FROM item WHERE id = 1",
    "DO $$ BEGIN RAISE NOTICE 'noticed'; END $$",
    "SELECT id, repeat('x', 1000) FROM generate_series(1, 5000) id",
    "COPY (SELECT i, repeat('y', 100) FROM generate_series(1, 50000) i) TO STDOUT",
    "COPY (SELECT 1/(i - 1000) FROM generate_series(1, 2000) i) TO STDOUT",
    "BEGIN; INSERT INTO item VALUES (-1)",
    "SELECT id FROM item WHERE id < 0",
    "ROLLBACK",
    "SELECT count(*) FROM item WHERE id < 0",
    "SHOW work_mem",
    ";",
]


def by_psql(node):
    command = [client_program("psql"), "-XAt", "-d", node.conninfo(replication="database")]
    for statement in STATEMENTS:
        command += ["-c", statement]
    done = subprocess.run(command, capture_output=True, timeout=60, env=environment())
    return done.stdout, done.stderr


def test_sql_is_answered_by_the_upstream_to_who_may_ask_it(shop, relay):
    start_with_reader(relay, shop)
    shop.execute("INSERT INTO item SELECT i, 'item ' || i, i * 1.5 FROM generate_series(1, 10) i")
    assert by_psql(relay) == by_psql(shop)

    connection = for_replication(relay)
    for statement in ("BEGIN", "SET LOCAL work_mem = '77MB'", "CREATE TEMP TABLE mine (id int) ON COMMIT DROP"):
        answer(connection, statement)
    assert answer(connection, "SELECT current_setting('work_mem'), count(*) FROM mine") == [("77MB", 0)]
    said = []
    sleeper = threading.Thread(target=lambda: said.append(answer(connection, "SELECT pg_sleep(600)")))
    sleeper.start()
    shop.wait_until("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'", 1)
    connection.cancel()
    sleeper.join()
    assert said == [("57014", "canceling statement due to user request")]
    assert answer(connection, "SELECT 1")[0] == "25P02"
    connection.close()
    shop.wait_until("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND pid <> pg_backend_pid()", 0)

    copied = "".join(f"{number}\tcopied\t\\N\n" for number in range(1001, 21_001))
    connection = for_replication(relay)  # "with connection" would begin a transaction
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY item FROM STDIN", io.StringIO(copied))
        assert cursor.rowcount == 20_000
        for wrong in ("1001\tagain\t\\N\n" + copied, "no number\n"):
            with pytest.raises(psycopg2.errors.lookup("23505" if "again" in wrong else "22P02")):
                cursor.copy_expert("COPY item FROM STDIN", io.StringIO(wrong))
        assert answer(connection, "SELECT count(*) FROM item WHERE name = 'copied'") == [(20_000,)]
    connection.close()

    secure = "SELECT pg_catalog.set_config('search_path', '', false)"
    [known, local, refused] = answers(relay, secure, "SHOW server_version", "SELECT 1", user="reader")
    assert known == [("",)] and local == [(shop.value("SHOW server_version"),)] and refused[0] == "42501"
