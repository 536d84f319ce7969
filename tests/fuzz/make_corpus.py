#!/usr/bin/python3
"""make_corpus.py: writes the seeds in corpus/ from the golden messages and from the commands that real clients send.
Files that a fuzzer found stay: theirs are other names."""

import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
MESSAGE_BYTES_MAX = 4000  # the widest table would only slow the fuzzer down

COMMANDS = [
    "IDENTIFY_SYSTEM",
    "SHOW data_directory_mode",
    "SHOW wal_segment_size;",
    'SHOW "Custom.Setting" . x',
    "show time zone",
    "TIMELINE_HISTORY 2",
    'READ_REPLICATION_SLOT "s"',
    'CREATE_REPLICATION_SLOT "s" LOGICAL pgoutput (TWO_PHASE, FAILOVER, SNAPSHOT \'nothing\')',
    'CREATE_REPLICATION_SLOT "s" LOGICAL "pgoutput" ( TWO_PHASE, SNAPSHOT \'use\')',
    'CREATE_REPLICATION_SLOT "pg_walreceiver_1" TEMPORARY PHYSICAL (RESERVE_WAL)',
    "CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT TWO_PHASE",
    "CREATE_REPLICATION_SLOT s PHYSICAL RESERVE_WAL",
    "CREATE_REPLICATION_SLOT s LOGICAL pgoutput USE_SNAPSHOT EXPORT_SNAPSHOT",
    "DROP_REPLICATION_SLOT s WAIT",
    "ALTER_REPLICATION_SLOT s ( FAILOVER true, TWO_PHASE false );",
    'START_REPLICATION SLOT "s" LOGICAL 0/0 (proto_version \'4\', streaming \'parallel\', two_phase \'on\', '
    "origin 'any', publication_names '\"p1\",\"it''s\"\"2\"', binary 'true')",
    'START_REPLICATION SLOT "s" LOGICAL 16/B374D848 ("include-xids" \'1\', "flag")',
    'START_REPLICATION SLOT "s" 0/3000000 TIMELINE 1',
    "START_REPLICATION PHYSICAL AB/cd",
    "BASE_BACKUP ( LABEL 'pg_basebackup base backup', PROGRESS, CHECKPOINT 'fast', WAL, WAIT 0, MAX_RATE 1024, "
    "TABLESPACE_MAP, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256', TARGET 'client', INCREMENTAL )",
    "BASE_BACKUP LABEL 'x' PROGRESS FAST WAL NOWAIT MAX_RATE 1024 TABLESPACE_MAP NOVERIFY_CHECKSUMS MANIFEST 'yes'",
    "UPLOAD_MANIFEST",
    "SELECT pg_catalog.set_config('search_path', '', false);",
    "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ",
    "COPY public.t (a, b) TO STDOUT",
]


def golden_sequences(path):
    """The messages of each session in sequences that begin with the relations and types known so far: each file is a
    session of its own."""
    known, sequence = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            known, sequence = [], []
        if not re.match(r"[0-9A-F]+/", line):
            continue
        message = bytes.fromhex(line.split()[1])
        if len(message) > MESSAGE_BYTES_MAX:
            continue
        sequence.append(message)
        if message[:1] == b"C":
            yield [announcement for announcement in known if needed(announcement, sequence)] + sequence
            known += [message for message in sequence if message[:1] in b"RY"]
            sequence = []


def needed(announcement, sequence):
    oid = announcement[1:5]
    return announcement[:1] == b"R" and any(message[1:5] == oid for message in sequence if message[:1] in b"IUD")


def shape(sequence):
    """Sequences of the same shape teach the fuzzer the same; text and binary columns differ."""
    return "".join(chr(message[0]) for message in sequence), any(b"b\0\0\0" in message for message in sequence)


def main():
    seen = set()
    for sequence in golden_sequences(HERE.parent / "golden" / "pgoutput_18.hex"):
        if shape(sequence) in seen:
            continue
        seen.add(shape(sequence))
        seed = b"".join(len(message).to_bytes(2, "big") + message for message in sequence)
        (HERE / "corpus" / "decoder" / f"golden_{len(seen):02}").write_bytes(seed)
    for number, command in enumerate(COMMANDS, 1):
        (HERE / "corpus" / "command" / f"client_{number:02}").write_text(command, encoding="utf-8")
    print(f"{len(seen)} sequences of messages, {len(COMMANDS)} commands")


if __name__ == "__main__":
    main()
