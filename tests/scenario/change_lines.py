"""The lines that `pgcascade stream` prints, and what a consumer makes of them."""

import json


def lsn_text(number):
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def lsn_number(text):
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def as_text(value):
    """A JSON value in PostgreSQL's text form, for the types that the scenarios use."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)  # spaced as jsonb is
    return None if value is None else str(value)


def parse(line):
    """A line as the oracles (pgoutput_reader.py) tell the same change: all values as text."""
    change = json.loads(line)
    for side in ("new", "old"):
        if side in change:
            change[side] = {name: as_text(value) for name, value in change[side].items()}
    return change


COMPARED = ("op", "schema", "table", "tables", "new", "old", "unchanged", "prefix", "content", "commit_lsn", "xid", "ordinal")


def comparable(changes):
    return [{key: change[key] for key in COMPARED if key in change} for change in changes if "ordinal" in change]


def identity(change):
    return lsn_number(change["commit_lsn"]), change["ordinal"]


def without_repeats(changes):
    """What a consumer does that keeps the last (commit_lsn, ordinal): drops what it has seen. Fails where a repeat
    differs from the first time."""
    kept, seen = [], {}
    for change in changes:
        before = seen.setdefault(identity(change), change)
        if before is change:
            kept.append(change)
        else:
            assert before == change, "a change came again, but not the same"
    return kept


def assert_in_commit_order(changes):
    identities = [identity(change) for change in changes]
    assert identities == sorted(set(identities)), "not in commit order, or twice"


def tables_after(changes, key="id"):
    """The rows that are there once the changes are applied to empty tables: {table: {key: row}}."""
    tables = {}
    for change in changes:
        if change["op"] == "truncate":
            for table in change["tables"]:
                tables[table["table"]] = {}
            continue
        rows = tables.setdefault(change["table"], {})
        if change["op"] == "delete":
            del rows[change["old"][key]]
            continue
        before = rows.pop(change.get("old", change["new"])[key]) if change["op"] == "update" else {}
        rows[change["new"][key]] = {**before, **change["new"]}
    return tables
