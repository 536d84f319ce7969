"""What people write by hand: a psycopg2 consume_stream loop that decodes each pgoutput message in Python and prints each
change as a line of JSON.

Usage: psycopg2_consumer.py CONNINFO SLOT PUBLICATION UNTIL
"""

import json
import pathlib
import sys

import psycopg2
import psycopg2.extras

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "scenario"))
from change_lines import lsn_number  # noqa: E402
from pgoutput_reader import PgoutputReader  # noqa: E402


class Done(Exception):
    pass


def main():
    conninfo, slot, publication, until = sys.argv[1:]
    connection = psycopg2.connect(conninfo, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor = connection.cursor()
    options = {"proto_version": "1", "publication_names": publication}
    cursor.start_replication(slot, decode=False, options=options)
    reader, end = PgoutputReader(), lsn_number(until)

    def process_message(message):
        change = reader.read(message.payload)
        if change:
            print(json.dumps(change, ensure_ascii=False))
        if message.payload[:1] == b"C":
            # 'C' | Int8 flags | Int64 commit_lsn | Int64 end_lsn
            committed = int.from_bytes(message.payload[10:18], "big")
            message.cursor.send_feedback(flush_lsn=committed)
            if committed >= end:
                raise Done

    try:
        cursor.consume_stream(process_message)
    except Done:
        pass


main()
