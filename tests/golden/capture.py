#!/usr/bin/python3
"""capture.py VERSION...: writes pgoutput_VERSION.hex, what a real PostgreSQL sends for the SQL in sessions.py, and with
--workload VERSION bench/workload_w.hex, what it sends for some transactions of the benchmarks' workload.

The servers are thrown away afterwards. How to go on from a new capture: README.md beside this file.
"""

import argparse
import pathlib
import re
import select
import sys

import psycopg2
import psycopg2.extras

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "scenario"))

from pg_node import PgNodes, remove_templates  # noqa: E402
from sessions import SESSIONS, Session  # noqa: E402

END_OF_STEP = b"end of step"
DEADLINE_S = 30

WORKLOAD = Session(
    "workload W",
    "for table m",
    [
        f"""insert into m(id,k,v) select {b}+g, ({b}+g)%1000, repeat(md5(({b}+g)::text),4) from generate_series(1,7) g;
            update m set k=k+1, v=reverse(v) where id between {b}-20 and {b}-18"""
        for b in range(10_000, 10_200, 10)
    ],
    before="""create table m(id bigint primary key, k int not null, ts timestamptz not null default now(), v text);
              insert into m(id,k,v) select g, g, repeat(md5(g::text),4) from generate_series(9900,10000) g""",
)


class Capture:
    """One session: a slot, a replication connection that reads it, and a connection for the SQL."""

    def __init__(self, node, session):
        self.sql = node.connect(options="-c timezone=UTC")
        self.run(session.before)
        self.run("drop publication if exists golden")
        self.run(f"create publication golden {session.publication}")
        self.replication = node.connect(
            options="-c timezone=UTC -c extra_float_digits=3",
            connection_factory=psycopg2.extras.LogicalReplicationConnection,
        )
        self.stream = self.replication.cursor()
        self.stream.execute("CREATE_REPLICATION_SLOT golden TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT")
        # Every session asks for messages, for its marks; those of its own it sees only with the option.
        options = {"proto_version": "1", "publication_names": "golden", "messages": "true", **session.options}
        self.stream.start_replication(slot_name="golden", options=options, decode=False)

    def close(self):
        self.replication.close()
        self.sql.close()

    def run(self, step):
        with self.sql.cursor() as cursor:
            if isinstance(step, tuple):
                cursor.execute("select %s::regclass", (step[0],))
                cursor.copy_expert(f"copy {step[0]} from stdin", TextReader(step[1]))
            elif step:
                cursor.execute(step)

    def messages_of(self, step):
        """What the step makes the server send, as (wal_start, bytes)."""
        self.run(step)
        self.run(f"select pg_logical_emit_message(true, '{END_OF_STEP.decode()}', '')")
        messages = []
        while not self._ends_with_mark(messages):
            messages.append(self._read())
        begin_of_mark = max(i for i, (_, message) in enumerate(messages) if message[:1] == b"B")
        return messages[:begin_of_mark]

    @staticmethod
    def _ends_with_mark(messages):
        """Begin, perhaps Origin, Message, Commit of the mark's own transaction."""
        return len(messages) >= 3 and messages[-1][1][:1] == b"C" and END_OF_STEP in messages[-2][1][:40]

    def _read(self):
        while True:
            message = self.stream.read_message()
            if message is not None:
                return message.data_start, bytes(message.payload)
            if not select.select([self.stream], [], [], DEADLINE_S)[0]:
                raise TimeoutError(f"the server sent nothing for {DEADLINE_S} s")


class TextReader:
    """What copy_expert wants to read from."""

    def __init__(self, text):
        self.rest = text

    def read(self, size):
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken


def lsn_text(position):
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def comment(step):
    """The step on one line."""
    text = f"copy {step[0]} from stdin: {step[1]!r}" if isinstance(step, tuple) else step.replace("\n", "\\n")
    text = re.sub(r"(\\n)?\s{2,}", " ", text)
    return text if len(text) < 400 else text[:400] + " …"


def capture(node, sessions, out):
    out.write(f"# pgoutput messages, protocol version 1, as PostgreSQL {node.value('show server_version')} sent them.\n")
    out.write("# Written by tests/golden/capture.py: '= session', '# SQL', then a line for each message: wal_start, bytes.\n")
    for session in sessions:
        running = Capture(node, session)
        out.write(f"= {session.name}\n")
        for step in session.steps:
            out.write(f"# {comment(step)}\n")
            for wal_start, message in running.messages_of(step):
                out.write(f"{lsn_text(wal_start)} {message.hex()}\n")
        running.close()


def write(version, sessions, path):
    settings = {"wal_level": "logical", "autovacuum": "off", "max_stack_depth": "2MB"}
    with PgNodes() as nodes, open(path, "w", encoding="utf-8") as out:
        capture(nodes.primary(version=version, settings=settings), sessions, out)
    print(f"wrote {path.relative_to(ROOT)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", type=int)
    parser.add_argument("--workload", type=int, metavar="VERSION")
    arguments = parser.parse_args()
    try:
        for version in arguments.versions:
            sessions = [session for session in SESSIONS if session.since <= version]
            write(version, sessions, ROOT / "tests" / "golden" / f"pgoutput_{version}.hex")
        if arguments.workload:
            write(arguments.workload, [WORKLOAD], ROOT / "bench" / "workload_w.hex")
    finally:
        remove_templates()


if __name__ == "__main__":
    main()
