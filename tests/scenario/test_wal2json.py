"""`stream --format wal2json` against the plugin itself, line for line, on the server that Debian has it for."""

import json
import subprocess

import pytest

from server_programs import client_program

pytestmark = pytest.mark.at_most(15)

# On a domain, an enum, arrays of both, and types of an extension; names that need quoting; every kind of modifier.
TABLES = r'''
    CREATE EXTENSION citext;
    CREATE EXTENSION hstore;
    CREATE SCHEMA sales;
    CREATE TYPE sales.mood AS ENUM ('calm', 'it''s "odd"');
    CREATE TYPE "My Mood" AS ENUM ('x');
    CREATE DOMAIN positive AS int CHECK (value > 0);
    CREATE DOMAIN sales.email AS varchar(20);
    CREATE TYPE pair AS (x int, y text);
    CREATE TYPE float_range AS RANGE (subtype = float8);

    CREATE TABLE "Ta ble ""q"" é" (
        id bigint PRIMARY KEY, a varchar(30), b char(3), c bpchar, d bit(3), e bit, f bit varying(8), g varbit,
        h numeric(10,2), i numeric(3,-2), j interval day to second(3), k interval(2), l interval year to month, m timetz(3),
        n timestamptz(3), o timestamp(0), p "char", q "char"[], r bit(2)[], s varchar(5)[], t timestamptz(2)[],
        u sales.mood, v sales.mood[], w "My Mood", x "My Mood"[], y positive, z positive[], aa sales.email, ab citext, ac hstore,
        ad pair, ae pair[], af float_range, ag int2vector, ah regclass, ai int4multirange, aj xml, ak jsonpath, al pg_class, am name,
        an money, ao uuid, ap inet, aq point, ar tsvector, "as" pg_lsn, "col""umn\" text);
    CREATE TABLE numbers (id int PRIMARY KEY, i2 int2, i8 int8, o oid, f4 float4, f8 float8, n numeric, b bool, by bytea, j json,
        jb jsonb, d date, ts timestamp, iv interval);
    CREATE TABLE by_full (a int, b text); ALTER TABLE by_full REPLICA IDENTITY FULL;
    CREATE TABLE by_index (a int NOT NULL, b text NOT NULL, c text);
    CREATE UNIQUE INDEX by_index_b ON by_index (b, a); ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_b;
    CREATE TABLE no_key (a int);
    CREATE TABLE toasted (id int PRIMARY KEY, big text, n int); ALTER TABLE toasted ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE toasted_key (big text PRIMARY KEY, n int); ALTER TABLE toasted_key ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE parent (id serial PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY REFERENCES parent);
    CREATE TABLE tree (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
    CREATE TABLE tree_low PARTITION OF tree FOR VALUES FROM (0) TO (10);
    CREATE TABLE tree_high PARTITION OF tree FOR VALUES FROM (10) TO (20);
'''

# Each is one transaction.
CHANGES = [
    r"""INSERT INTO "Ta ble ""q"" é" VALUES (1, 'a', 'b', 'c', B'101', B'1', B'1010', B'11111', 1.5, 1234, '1 day 2:03:04.567',
        '00:00:01.23', '1 year 2 mons', '12:34:56.789+02', '2024-05-01 12:34:56.789+02', '2024-05-01 12:34:56.789', 'x', '{a,b}',
        '{01,10}', '{abc,de}', '{2024-05-01 12:34:56.789+02}', 'it''s "odd"', '{calm,"it''s \"odd\""}', 'x', '{x,NULL}', 5, '{1,2}',
        'me@x', 'CiText', 'a=>1, b=>NULL', '(1,"a, b")', '{"(1,)"}', '[1.5,2)', '1 2 3', 'numbers', '{[1,2)}', '<a/>', '$.a[*]',
        NULL, 'nm', 12.34, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1', '(1.5,-2)', 'a fat cat', '16/B374D848', 'e')""",
    r"""INSERT INTO "Ta ble ""q"" é" (id, a, "col""umn\") VALUES (2, E'\x01\b\f\n\r\t\x1f\x7f', E'"quotes", \\, / and é€😀')""",
    """INSERT INTO "Ta ble ""q"" é" (id) VALUES (3); UPDATE "Ta ble ""q"" é" SET id = 4, a = '' WHERE id = 3;
       DELETE FROM "Ta ble ""q"" é" WHERE id < 3""",
    """INSERT INTO numbers VALUES
        (1, -32768, 9223372036854775807, 4294967295, 'NaN', 'Infinity', 'NaN', true, '\\x00ff', '{"a":  [1]}', '{"b": null}', '0044-03-15 BC',
         'infinity', '-1 years +2 mons -3 days'),
        (2, 0, -9223372036854775808, 0, 1e-20, '-Infinity', 'Infinity', false, '', '[\t1,\n2]', '"x"', 'infinity', '2024-05-01 12:00', '0'),
        (3, 1, 9007199254740993, 1, 0.1, 123456789012345680, -0.00, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (4, 1, 1, 1, -0.0, 5e-324, 1e50, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (5, 1, 1, 1, 1e10, 1e15, 0.000000000000000000000000000001, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (6, 1, 1, 1, 1e6, 1e16, 12345678901234567890.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL)""",
    "INSERT INTO by_full VALUES (1, NULL), (2, 'two'); UPDATE by_full SET b = 'x'; DELETE FROM by_full WHERE a = 1",
    """INSERT INTO by_index VALUES (1, 'x', 'c'); UPDATE by_index SET c = 'd'; UPDATE by_index SET b = 'y'; DELETE FROM by_index""",
    "INSERT INTO no_key VALUES (1), (NULL)",
    "INSERT INTO toasted SELECT 1, string_agg(md5(i::text), ''), 0 FROM generate_series(1, 500) AS i",
    "UPDATE toasted SET n = 1; UPDATE toasted SET big = big || '.'; UPDATE toasted SET id = 2; DELETE FROM toasted",
    "INSERT INTO toasted_key SELECT string_agg(md5(i::text), ''), 0 FROM generate_series(1, 70) AS i; UPDATE toasted_key SET n = 1",
    "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1)",
    "TRUNCATE child; TRUNCATE parent RESTART IDENTITY CASCADE",
    "INSERT INTO tree VALUES (1, 5, 'low'), (2, 15, 'high'); UPDATE tree SET k = 16 WHERE id = 1; DELETE FROM tree WHERE id = 2",
    "TRUNCATE tree_high",
    "SELECT pg_logical_emit_message(true, 'pre\"fix', E'line\\nfeed'); INSERT INTO no_key VALUES (2)",
    "SELECT pg_logical_emit_message(false, 'at once', '')",
    "ALTER TABLE no_key ADD b positive, ADD c text DEFAULT 'd'; INSERT INTO no_key VALUES (3, 4)",
    "ALTER TABLE no_key DROP a; INSERT INTO no_key VALUES (5, 'e')",
    "BEGIN; SAVEPOINT s; INSERT INTO no_key VALUES (6); ROLLBACK TO s; INSERT INTO no_key VALUES (7); COMMIT",
    "INSERT INTO tree_low SELECT i, 1, repeat('x', i) FROM generate_series(100, 400) AS i",
]


def run_changes(node):
    connection = node.connect()
    with connection.cursor() as cursor:
        for change in CHANGES:
            cursor.execute(change)
    connection.close()


def plugin_lines(node, end, *options):
    run = subprocess.run(
        [client_program("pg_recvlogical"), "-d", node.conninfo(), "--slot", "plugin", "--start", "--endpos", end, "--no-loop", "-f", "-"]
        + ["-o", "format-version=2", *options],
        capture_output=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout.decode().splitlines()


def without_empty_transactions(lines):
    """The plugin prints begin and commit of transactions that change no published table; pgoutput sends nothing."""
    kept = []
    for line in lines:
        if line == '{"action":"C"}' and kept and kept[-1] == '{"action":"B"}':
            kept.pop()
        else:
            kept.append(line)
    return kept


@pytest.fixture
def changed(primary):
    """A server with both slots and all of CHANGES after them."""
    primary.psql(TABLES)
    primary.execute("CREATE PUBLICATION pub FOR ALL TABLES")
    primary.allow_output_plugin("wal2json")
    primary.execute("SELECT pg_create_logical_replication_slot('plugin', 'wal2json')")
    primary.execute("SELECT pg_create_logical_replication_slot('ours', 'pgoutput')")
    run_changes(primary)
    return primary


def our_lines(pgcascade, node, end, *options):
    command = ["stream", node.conninfo(), "--slot", "ours", "--publication", "pub", "--format", "wal2json", "--until", end]
    return pgcascade(*command, *options).expect(0).stdout.split("\n")[:-1]


def test_every_line_is_the_plugins(changed, pgcascade):
    end = changed.current_lsn()
    theirs = without_empty_transactions(plugin_lines(changed, end))
    ours = our_lines(pgcascade, changed, end)
    for their_line, our_line in zip(theirs, ours):
        assert our_line == their_line
    assert len(ours) == len(theirs)
    assert len(ours) > 350
    assert {json.loads(line)["action"] for line in ours} == set("BIUDTMC")


def test_without_transactions_the_rest_is_the_same(changed, pgcascade):
    end = changed.current_lsn()
    theirs = plugin_lines(changed, end, "-o", "include-transaction=false")
    assert our_lines(pgcascade, changed, end, "--no-transactions") == theirs


def test_every_built_in_type_is_named_as_the_server_names_it(primary, pgcascade):
    """One column of each type that a table can have."""
    types = primary.sql(
        """SELECT oid::int, CASE WHEN typname IN ('bpchar', 'bit', '_bpchar', '_bit') THEN 'pg_catalog.' || typname
                                 ELSE format_type(oid, NULL) END
           FROM pg_type WHERE oid < 10000 AND typtype <> 'p' AND typname NOT IN ('_cstring', 'pg_attribute', '_pg_attribute') ORDER BY oid"""
    )
    columns = ", ".join(f"c{oid} {name}" for oid, name in types)
    primary.execute(f"CREATE TABLE all_types ({columns}, id int)")
    primary.execute("CREATE PUBLICATION pub FOR ALL TABLES")
    primary.execute("SELECT pg_create_logical_replication_slot('ours', 'pgoutput')")
    primary.execute("INSERT INTO all_types (id) VALUES (1)")
    lines = our_lines(pgcascade, primary, primary.current_lsn(), "--no-transactions")
    named = {column["name"]: column["type"] for column in json.loads(lines[0])["columns"]}
    expected = dict(
        primary.sql(
            """SELECT attname::text, regexp_replace(format_type(atttypid, atttypmod), '^"(\\w+)"$', '\\1')
               FROM pg_attribute WHERE attrelid = 'all_types'::regclass AND attnum > 0"""
        )
    )
    assert named == expected
    assert len(named) > 150
