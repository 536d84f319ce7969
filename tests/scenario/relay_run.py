"""A running relay in front of a real server."""

import json
import signal

import psycopg2

from pg_node import SUPERUSER, free_port, quoted
from waiting import wait_for


class Relay:
    """`pgcascade relay` with one feed of the upstream's database; trusts this machine. Made by the fixture `relay`."""

    def __init__(self, directory, start_program):
        self.directory = directory
        self.start_program = start_program
        self.port = free_port()
        self.program = None
        self.file = directory / "relay.toml"

    def write_file(self, feeds=None, wal=None, wal_settings=None, feed_settings=None, **settings):
        """feeds: {name: (node or Relay, [publications])}; wal: the node or Relay that it comes from; settings: keys of
        [relay], wal_settings: of [wal], feed_settings: of each feed, as TOML has them."""
        keys = {
            "listen": f'["127.0.0.1:{self.port}"]',
            "directory": f'"{self.directory / "data"}"',
            "trust": '["127.0.0.1"]',
            "threads": "2",
            **settings,
        }
        text = "[relay]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        if wal is not None:
            keys = {"slot": '"relay_wal"', "create_slot": "true", **(wal_settings or {})}
            text += f"[wal]\nupstream = {json.dumps(wal.conninfo(dbname=None))}\n"
            text += "".join(f"{key} = {value}\n" for key, value in keys.items())
        for name, (node, publications) in (feeds or {}).items():
            listed = ", ".join(f'"{publication}"' for publication in publications)
            text += f'[feed.{name}]\nupstream = {json.dumps(node.conninfo())}\npublications = [{listed}]\n'
            keys = {"slot": f'"relay_{name}"', "create_slot": "true", **(feed_settings or {})}
            text += "".join(f"{key} = {value}\n" for key, value in keys.items())
        self.file.write_text(text)

    def start(self, wait=True, **options):
        self.program = self.start_program("relay", self.file, **options)
        if wait:
            self.program.wait_for_stderr("receiving from")
        return self

    def stop(self, number=signal.SIGTERM):
        return self.program.stop(number)

    def reload(self, told="were read anew"):
        """By SIGHUP; returns once it has said so."""
        count = self.program.stderr().count(told)
        self.program.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.program.stderr().count(told) > count, describe=self.program.stderr)

    def kill9(self):
        self.program.stop(signal.SIGKILL)

    def conninfo(self, dbname="postgres", user=SUPERUSER, **more):
        pairs = {"host": "127.0.0.1", "port": self.port, "dbname": dbname, "user": user, **more}
        return " ".join(f"{key}={quoted(value)}" for key, value in pairs.items() if value is not None)

    def connect(self, dbname="postgres", user=SUPERUSER, connection_factory=None, **more):
        """As a PgNode's: psycopg2's, for replication where the factory says so."""
        return psycopg2.connect(self.conninfo(dbname, user, **more), connection_factory=connection_factory)
