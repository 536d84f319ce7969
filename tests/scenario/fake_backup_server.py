"""A server that speaks just enough of PostgreSQL's replication protocol to answer BASE_BACKUP with whatever a test wants:
names that lead out of the directory, a manifest that does not fit, an end too early."""

import hashlib
import io
import json
import struct
import tarfile

from server_messages import READY, complete, cstring, message, rows, welcome
from tcp_listener import TcpListener

SERVER_VERSION = "15.18"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def entry(path, content=b"", **more):
    """A member of an archive; `more` are attributes of tarfile.TarInfo (type, linkname)."""
    info = tarfile.TarInfo(path)
    info.mode = 0o600
    info.size = len(content)
    for name, value in more.items():
        setattr(info, name, value)
    return info, content


def directory(path):
    return entry(path, type=tarfile.DIRTYPE)


def link(path, target):
    return entry(path + "/", type=tarfile.SYMTYPE, linkname=target)  # the slash as port/tar.c writes it


def tar(entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def manifest(files):
    """Of {path: content}, as backup_manifest.c writes it."""
    lines = [
        json.dumps(
            {
                "Path": path,
                "Size": len(content),
                "Last-Modified": "2024-05-01 10:00:00 GMT",
                "Checksum-Algorithm": "CRC32C",
                "Checksum": struct.pack("<I", crc32c(content)).hex(),
            }
        )
        for path, content in files.items()
    ]
    text = '{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n' + ",\n".join(lines) + '\n],\n"WAL-Ranges": [\n],\n'
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return (text + f'"Manifest-Checksum": "{checksum}"}}\n').encode()


class Backup:
    """What the server answers. Archives are (location of the tablespace, bytes of the tar file)."""

    def __init__(self, archives, manifest_bytes, tablespaces=(), extra_message=b"", ends_early=False):
        self.archives = archives
        self.manifest = manifest_bytes
        self.tablespaces = tablespaces  # (oid, location)
        self.extra_message = extra_message
        self.ends_early = ends_early


class FakeBackupServer(TcpListener):
    def __init__(self, backup):
        self._backup = backup
        super().__init__()

    def conninfo(self):
        return f"host=127.0.0.1 port={self.port} user=postgres sslmode=disable gssencmode=disable"

    def _serve(self, client):
        with client, client.makefile("rb") as stream:
            try:
                self._converse(client, stream)
            except (OSError, struct.error):
                pass  # the client has had enough

    def _converse(self, client, stream):
        (size,) = struct.unpack("!I", stream.read(4))
        stream.read(size - 4)
        client.sendall(welcome(SERVER_VERSION))
        while kind := stream.read(1):
            (size,) = struct.unpack("!I", stream.read(4))
            body = stream.read(size - 4)
            if kind != b"Q":
                return
            if body.startswith(b"SHOW"):
                client.sendall(rows(["data_directory_mode"], [["0700"]]) + complete("SHOW") + READY)
            else:
                client.sendall(self._answer())
                if self._backup.ends_early:
                    return

    def _answer(self):
        backup = self._backup
        spaces = [[oid, location, "1"] for oid, location in backup.tablespaces] + [[None, None, "1"]]
        answer = rows(["recptr", "tli"], [["0/2000028", "1"]]) + complete("SELECT")
        answer += rows(["spcoid", "spclocation", "size"], spaces) + complete("SELECT")
        answer += message(b"H", struct.pack("!bh", 0, 0))
        for location, archive in backup.archives:
            answer += message(b"d", b"n" + cstring("some.tar") + cstring(location))
            for at in range(0, len(archive), 32768):
                answer += message(b"d", b"d" + archive[at : at + 32768])
        if backup.extra_message:
            answer += message(b"d", backup.extra_message)
        if backup.ends_early:
            return answer
        if backup.manifest is not None:
            answer += message(b"d", b"m") + message(b"d", b"d" + backup.manifest)
        answer += message(b"c", b"") + rows(["recptr", "tli"], [["0/2000100", "1"]]) + complete("SELECT")
        return answer + complete("BASE_BACKUP") + READY
