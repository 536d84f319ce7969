"""The messages of PostgreSQL's protocol that the fake servers send."""

import struct


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def cstring(text):
    return text.encode() + b"\0"


def complete(tag):
    return message(b"C", cstring(tag))


def rows(columns, values):
    """RowDescription and a DataRow for each row; everything is text."""
    described = b"".join(cstring(name) + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0) for name in columns)
    answer = message(b"T", struct.pack("!h", len(columns)) + described)
    for row in values:
        cells = b"".join(
            struct.pack("!i", -1) if cell is None else struct.pack("!i", len(cell)) + cell.encode() for cell in row
        )
        answer += message(b"D", struct.pack("!h", len(row)) + cells)
    return answer


READY = message(b"Z", b"I")


def welcome(server_version):
    """AuthenticationOk, the parameters, BackendKeyData, ReadyForQuery."""
    parameters = {"server_version": server_version, "client_encoding": "UTF8", "integer_datetimes": "on"}
    answer = message(b"R", struct.pack("!I", 0))
    for name, value in parameters.items():
        answer += message(b"S", cstring(name) + cstring(value))
    return answer + message(b"K", struct.pack("!II", 4711, 42)) + READY


def refusal(sqlstate, text, **more):
    """ErrorResponse, FATAL; `more` are fields by their letter (D="…" for the detail)."""
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": text, **more, "F": "auth.c", "L": "326", "R": "auth_failed"}
    return message(b"E", b"".join(code.encode() + cstring(value) for code, value in fields.items()) + b"\0")
