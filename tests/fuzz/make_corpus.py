#!/usr/bin/python3
"""make_corpus.py: writes the seeds in corpus/ from the golden messages, from what real clients send, and
from what can become of a log.
Files that a fuzzer found stay: theirs are other names."""

import pathlib
import re
import struct

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


def first_packet(code, body=b""):
    return struct.pack("!II", 8 + len(body), code) + body


def startup(**parameters):
    words = [word.encode() for pair in parameters.items() for word in pair]
    return first_packet(3 << 16, b"".join(word + b"\0" for word in words) + b"\0")


def message(kind, body=b""):
    return kind + struct.pack("!I", 4 + len(body)) + body


SSL_REQUEST, GSSENC_REQUEST = first_packet(80877103), first_packet(80877104)
SUBSCRIBER = startup(user="u", database="d", replication="database", application_name="sub", client_encoding="UTF8")
STANDBY = startup(user="u", replication="true", application_name="walreceiver")
SASL = message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", 15) + b"n,,n=,r=fyko+d2") + message(
    b"p", b"c=biws,r=fyko+d2,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)
STATUS = message(b"d", b"r" + struct.pack("!QQQqB", 1 << 32, 1 << 32, 1 << 32, 0, 1))
FEEDBACK = message(b"d", b"h" + struct.pack("!qIIII", 0, 742, 0, 742, 0))

# All that a client sends on one connection.
CONVERSATIONS = [
    SSL_REQUEST + GSSENC_REQUEST + SUBSCRIBER,
    first_packet(80877102, struct.pack("!II", 4711, 42)),
    SUBSCRIBER + SASL,
    SUBSCRIBER + message(b"Q", b"IDENTIFY_SYSTEM\0") + message(b"X"),
    SUBSCRIBER + message(b"Q", b"START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1')\0") + STATUS + message(b"c"),
    STANDBY + message(b"Q", b"START_REPLICATION 0/3000000 TIMELINE 1\0") + STATUS + FEEDBACK + message(b"c"),
]

CRASH, DAMAGE, MADE = range(3)
FLIP, CUT, LENGTHEN, ZERO, REMOVE = range(5)


def damages():
    """Kinds of damage to one file and to two, at places that differ: Int8 what, Int8 file, Int24 where, Int16 more."""
    one = lambda what, file, where, more=0: struct.pack(">BBBHH", what, file, where >> 16, where & 0xFFFF, more)
    yield one(FLIP, 0, 10, 3)
    yield one(CUT, 1, 60)
    yield one(LENGTHEN, 2, 0, 100)
    yield one(ZERO, 3, 30, 50)
    yield one(REMOVE, 4, 0)
    yield one(FLIP, 1, 40, 1) + one(CUT, 5, 100)
    yield one(REMOVE, 0, 0) + one(REMOVE, 0, 0)


def made_feed(*segments):
    """See feed_log_fuzz.cpp; a segment: (position, bytes of frames, [(begin, end, durable)])."""
    seed = bytes([MADE, len(segments)])
    for position, size, entries in segments:
        seed += struct.pack(">HB", position, len(entries))
        seed += b"".join(struct.pack(">HHHB", *entry, 0) for entry in entries) + struct.pack(">H", size)
    return seed


def made_wal(*segments):
    """See wal_log_fuzz.cpp; a segment: (timeline, number, bytes, [(end, durable)])."""
    seed = bytes([MADE, len(segments)])
    for timeline, number, size, sums in segments:
        seed += struct.pack(">BBHB", timeline - 1, number, size, len(sums))
        seed += b"".join(struct.pack(">HHB", *one, 0) for one in sums)
    return seed


IMAGES = 7  # the most that a fuzzer has
SPOILT = [bytes([mode, image]) + damage for mode in (CRASH, DAMAGE) for image in range(IMAGES) for damage in damages()]
FEED_LOGS = SPOILT + [
    made_feed((0, 100, [(0, 40, 0), (40, 100, 0)]), (100, 50, [(100, 150, 100)])),
    made_feed((0, 100, [(0, 40, 0)]), (40, 50, [(40, 90, 40)])),
    made_feed((7, 90, [(7, 60, 7), (60, 90, 30)]), (97, 0, [])),
    made_feed((0, 10, [(0, 40, 0)]), (40, 50, [(40, 90, 0)])),
]
WAL_LOGS = SPOILT + [
    made_wal((1, 0, 900, [(300, 0), (600, 300), (900, 600)])),
    made_wal((1, 0, 700, [(500, 0), (700, 500)]), (2, 0, 900, [(900, 0)])),
    made_wal((1, 0, 700, [(500, 0), (700, 500)]), (2, 0, 600, [(600, 500)])),
    made_wal((1, 0, 100, [(100, 0)]), (1, 1, 100, [(100, 0)])),
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
    (HERE / "corpus" / "frontend").mkdir(exist_ok=True)
    for number, conversation in enumerate(CONVERSATIONS, 1):
        (HERE / "corpus" / "frontend" / f"client_{number:02}").write_bytes(conversation)
    for name, seeds in (("feed_log", FEED_LOGS), ("wal_log", WAL_LOGS)):
        (HERE / "corpus" / name).mkdir(exist_ok=True)
        for number, seed in enumerate(seeds, 1):
            (HERE / "corpus" / name / f"made_{number:03}").write_bytes(seed)
    print(f"{len(seen)} sequences of messages, {len(COMMANDS)} commands, {len(CONVERSATIONS)} conversations,")
    print(f"{len(FEED_LOGS)} logs of feeds, {len(WAL_LOGS)} of WAL")


if __name__ == "__main__":
    main()
