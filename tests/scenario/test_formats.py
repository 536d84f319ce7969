"""The values that `stream` prints in json and debezium, against what SQL says of the same rows."""

import base64
import decimal
import json

# Each column: its type, and SQL that makes a value of a row number i, some of them extreme.
COLUMNS = {
    "flag": ("bool", "i % 2 = 0"),
    "small": ("int2", "(ARRAY[-32768, 0, 32767])[1 + i % 3]"),
    "whole": ("int4", "(ARRAY[-2147483648, 0, 2147483647])[1 + i % 3]"),
    "big": ("int8", "(ARRAY[-9223372036854775808, -9007199254740992, -9007199254740991, 0, 9007199254740991, 9007199254740992])[1 + i % 6]"),
    "single": ("float4", "(ARRAY['NaN', '-Infinity', 0.1, 1e-30, 16777217])[1 + i % 5]"),
    "double": ("float8", "(ARRAY['NaN', 'Infinity', 0.1, 5e-324, 1.7976931348623157e308, 1e15])[1 + i % 6]"),
    "exact": ("numeric", "(ARRAY['NaN', '-Infinity', 1e50, 1e-20, 12345678901234567890.5])[1 + i % 5]"),
    "money2": ("numeric(10,2)", "i * 1.1"),
    "words": ("text", r"""(ARRAY['', E'tab\tquote" slash\\ feed\n\x01', 'Grüße €😀', repeat('long', 5000)])[1 + i % 4]"""),
    "bytes": ("bytea", r"""sha256(i::text::bytea) || '\x00ff0a'"""),
    "doc": ("json", r"""(ARRAY[E'{"a" :\n [1, 2.50],\t"a": 12345678901234567890}', '"x"', 'null', '[]'])[1 + i % 4]::json"""),
    "docb": ("jsonb", r"""jsonb_build_object('i', i, 'text', E'line\nfeed "q"', 'n', null)"""),
    "day": ("date", "date '0001-03-01 BC' + i * 36525"),
    "clock": ("time", "time '00:00' + i * interval '7 min 1.000001 s'"),
    "clock3": ("time(3)", "time '00:00' + i * interval '7 min 1.001 s'"),
    "clocktz": ("timetz", "timetz '23:59:59.5-03:30'"),
    "moment": ("timestamp", "timestamp '0044-03-15 BC' + i * interval '3 years 1 day 00:00:01.000001'"),
    "moment3": ("timestamp(3)", "timestamp '1969-12-31 23:59:59.999' + i * interval '1 year 0.001 s'"),
    "instant": ("timestamptz", "timestamptz '1890-06-01 00:00+00' + i * interval '1 year 1 day 00:00:01.000001'"),
    "instant0": ("timestamptz(0)", "timestamptz '2024-05-01 12:00+00' + i * interval '1 s'"),
    "span": ("interval", "i * interval '1 year -2 mons 3 days -04:05:06.000007'"),
    "id_": ("uuid", "md5(i::text)::uuid"),
    "bits": ("bit(11)", "i::bit(11)"),
    "numbers": ("int[]", "ARRAY[i, NULL, -i]"),
    "names": ("text[]", r"""ARRAY['a b', NULL, '', 'NULL', E'q"\\,{}']"""),
    "grid": ("int[]", "ARRAY[[i, 2], [3, 4]]"),
    "span_of": ("int4range", "int4range(0, i)"),
    "address": ("inet", "'10.0.0.0/8'"),
}
ROWS = 60


def stream(pgcascade, node, output_format, *more, slot="s"):
    run = pgcascade(
        "stream", node.conninfo(options="-c timezone=Asia/Kolkata"), "--slot", slot, "--publication", "pub",
        "--format", output_format, "--until", node.current_lsn(), *more,
    )  # fmt: skip
    return [json.loads(line, parse_float=decimal.Decimal) for line in run.expect(0).stdout.split("\n")[:-1]]


def make_rows(node):
    """One row of nulls, then ROWS rows with a value in each column."""
    columns = ", ".join(f"{name} {sql_type}" for name, (sql_type, _) in COLUMNS.items())
    node.execute(f"CREATE TABLE t (i int PRIMARY KEY, {columns})")
    node.execute("CREATE PUBLICATION pub FOR TABLE t")
    node.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    values = ", ".join(value for _, value in COLUMNS.values())
    node.execute(f"INSERT INTO t (i) VALUES (0); INSERT INTO t SELECT i, {values} FROM generate_series(1, {ROWS}) AS i")


def rows_as(node, expressions):
    """The rows by i, each a dict; values as the expressions (SQL by column) give them, else as text."""
    selected = ", ".join(f"{expressions.get(name, name + '::text')} AS {name}" for name in COLUMNS)
    connection = node.connect(options="-c timezone=Asia/Kolkata")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT i, {selected} FROM t ORDER BY i")
        rows = {row[0]: dict(zip(COLUMNS, row[1:])) for row in cursor.fetchall()}
    connection.close()
    return rows


def assert_rows(streamed, expected):
    """Tells each value that differs, by row and column."""
    differences = [
        (i, name, streamed[i][name], expected[i][name])
        for i in expected
        for name in COLUMNS
        if streamed[i][name] != expected[i][name] or type(streamed[i][name]) is not type(expected[i][name])
    ]
    assert not differences
    assert len(streamed) == ROWS + 1


def number_or_text(text):
    """A finite floating-point number as json.loads reads it, the others as text."""
    if text is None or text.lstrip("-") in ("NaN", "Infinity"):
        return text
    return json.loads(text, parse_float=decimal.Decimal)


def safe_integer(text):
    return text if text is None or abs(int(text)) > 2**53 - 1 else int(text)


def parsed(text):
    return None if text is None else json.loads(text, parse_float=decimal.Decimal)


def test_json_values_are_what_the_table_holds(primary, pgcascade):
    make_rows(primary)
    streamed = {line["new"]["i"]: line["new"] for line in stream(pgcascade, primary, "json")}
    expected = rows_as(primary, {"flag": "flag", "small": "small", "whole": "whole"})
    for row in expected.values():
        row["big"] = safe_integer(row["big"])
        row["single"], row["double"] = number_or_text(row["single"]), number_or_text(row["double"])
        row["doc"], row["docb"] = parsed(row["doc"]), parsed(row["docb"])
    assert_rows(streamed, expected)


def micros(column, unit=1):
    return f"(extract(epoch FROM {column}) * 1000000)::numeric(30,0)::int8 / {unit}"


def utc(column, digits):
    point = f".{'US' if digits == 6 else 'MS'}" if digits else ""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS{point}"Z"')"""


# Months of 365.25 / 12 days.
SPAN = """(extract(year FROM span) * 12 + extract(month FROM span))::int8 * 2629800000000
    + extract(day FROM span)::int8 * 86400000000 + (extract(hour FROM span) * 3600000000)::int8
    + (extract(minute FROM span) * 60000000)::int8 + (extract(microseconds FROM span))::int8"""

DEBEZIUM = {
    **{name: name for name in ("flag", "small", "whole", "big", "numbers", "names", "grid")},
    "bytes": "bytes",
    "day": "day - date '1970-01-01'",
    "clock": micros("clock"),
    "clock3": micros("clock3", 1000),
    "clocktz": "CASE WHEN clocktz IS NOT NULL THEN '03:29:59.5Z' END",
    "moment": micros("moment"),
    "moment3": micros("moment3", 1000),
    "instant": utc("instant", 6),
    "instant0": utc("instant0", 0),
    "span": SPAN,
}


def little_endian(bits):
    return None if bits is None else base64.b64encode(int(bits, 2).to_bytes(2, "little")).decode()


def test_debezium_values_are_what_sql_computes(primary, pgcascade):
    make_rows(primary)
    events = stream(pgcascade, primary, "debezium", "--server-name", "shop")
    streamed = {event["after"]["i"]: event["after"] for event in events}
    expected = rows_as(primary, DEBEZIUM)
    for row in expected.values():
        row["single"], row["double"] = number_or_text(row["single"]), number_or_text(row["double"])
        row["bytes"] = None if row["bytes"] is None else base64.b64encode(row["bytes"]).decode()
        row["bits"] = little_endian(row["bits"])
    assert_rows(streamed, expected)
    assert {(event["source"]["db"], event["source"]["name"]) for event in events} == {("postgres", "shop")}


def test_settings_of_the_server_do_not_change_values(primary, pgcascade):
    make_rows(primary)
    primary.execute("SELECT pg_copy_logical_replication_slot('s', 'again')")
    before = stream(pgcascade, primary, "json")
    for name, value in {
        "datestyle": "German, DMY", "intervalstyle": "iso_8601", "extra_float_digits": "-10", "bytea_output": "escape",
    }.items():  # fmt: skip
        primary.execute(f"ALTER DATABASE postgres SET {name} = '{value}'")
    until = before[-1]["commit_lsn"]
    run = pgcascade(
        "stream", primary.conninfo(options="-c timezone=Asia/Kolkata"), "--slot", "again", "--publication", "pub", "--until",
        primary.value("SELECT (%s::pg_lsn + 1)::text", until),
    )  # fmt: skip
    after = [json.loads(line, parse_float=decimal.Decimal) for line in run.expect(0).stdout.split("\n")[:-1]]
    assert after == before
