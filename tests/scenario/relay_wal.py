"""Standbys behind a relay, and what the tests look at in the relay's log of WAL."""

from relay_clients import answers, shown
from waiting import wait_for


def physically(node, *commands, **more):
    """The answers to several commands on one connection for physical replication."""
    return answers(node, *commands, physical=True, **more)


def create_physical_slot(relay, name):
    [made] = physically(relay, f"CREATE_REPLICATION_SLOT {name} PHYSICAL RESERVE_WAL")
    assert made[0][0] == name, made


def standby_behind(nodes, relay, server, name, *, slot=True, settings=None, **way):
    """A standby whose data is a copy of `server`'s, and whose WAL comes from the relay. way: of its connection string."""
    node = nodes.reserve(name, server.version)
    if slot:
        [made] = physically(relay, f"CREATE_REPLICATION_SLOT {name} PHYSICAL RESERVE_WAL", **way)
        assert made[0][0] == name, made
    server.copy_data_to(node.data_directory)
    conninfo = relay.conninfo(**{"dbname": None, "application_name": name, **way})
    nodes.make_standby(node, relay, name if slot else None, settings=settings, conninfo=conninfo)
    node.start()
    node.wait_for_streaming()
    return node


def wal_of(relay):
    """SHOW pgcascade.wal as a dictionary."""
    names = ["upstream", "slot", "timeline", "begin", "received", "durable", "bytes", "xmin", "catalog_xmin", "problem"]
    return dict(zip(names, shown(relay, "pgcascade.wal")[0]))


def lsn(text):
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def wait_for_wal(relay, node, what="durable"):
    """Until the relay's log holds all that the node's WAL holds now; returns up to where."""
    target = node.current_lsn()
    has_it = lambda: wal_of(relay)[what] and lsn(wal_of(relay)[what]) >= lsn(target)
    wait_for(has_it, describe=lambda: f"the relay to have WAL up to {target}: {wal_of(relay)}")
    return target
