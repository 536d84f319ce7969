#!/usr/bin/env python3
"""latency_consumer.py CONNINFO SLOT COUNT: prints when each of that many commits came, in ns of the monotonic clock; says
"ready" first."""

import select
import sys
import time

import psycopg2
import psycopg2.extras


def main():
    conninfo, slot, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    connection = psycopg2.connect(conninfo, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor = connection.cursor()
    options = {"proto_version": "1", "publication_names": "pub"}
    cursor.start_replication(slot, decode=False, status_interval=1, options=options)
    print("ready", flush=True)
    came = []
    while len(came) < count:
        message = cursor.read_message()
        if message is None:
            select.select([connection], [], [], 1)
        elif message.payload[:1] == b"C":
            came.append(time.monotonic_ns())
    print("\n".join(map(str, came)))


main()
