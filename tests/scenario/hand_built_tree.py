"""A tree of servers built by hand, and the cascade file that describes it."""

import contextlib
import pathlib

from pg_node import PASSWORD, SUPERUSER, PgNode, PgNodes


def write_cascade_file(directory: pathlib.Path, nodes: list[tuple[PgNode, PgNode | None]], name="shop"):
    """`nodes` are (node, upstream) pairs. Returns the file's path; the password lies beside it."""
    passfile = directory / "passwords"
    passfile.write_text(f"*:*:*:{SUPERUSER}:{PASSWORD}\n")
    passfile.chmod(0o600)
    lines = ["[cascade]", f'name = "{name}"', f'replication_user = "{SUPERUSER}"', 'passfile = "passwords"']
    for node, upstream in nodes:
        lines += ["", f'[node."{node.name}"]', f"port = {node.port}", f'data_directory = "{node.data_directory}"']
        if upstream is not None:
            lines.append(f'upstream = "{upstream.name}"')
    file = directory / "cascade.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


class HandBuiltTree:
    """primary -> eu -> eu-1, primary -> us; running."""

    def __init__(self, nodes, version, directory):
        self.primary = nodes.primary(version=version, settings={"wal_level": "logical"})
        self.eu = nodes.standby("eu", self.primary)
        self.us = nodes.standby("us", self.primary)
        self.eu_1 = nodes.standby("eu-1", self.eu)
        self.nodes = [self.primary, self.eu, self.us, self.eu_1]
        self.file = write_cascade_file(
            directory, [(self.primary, None), (self.eu, self.primary), (self.eu_1, self.eu), (self.us, self.primary)]
        )

    def mend(self):
        """Starts what is down, upstreams first, and waits until all stream again."""
        for node in self.nodes:
            if not node.is_running():
                node.start()
        for standby in (self.eu, self.us, self.eu_1):
            standby.wait_for_streaming()
        self.wait_for_catchup()

    def wait_for_catchup(self):
        for standby in (self.eu, self.us, self.eu_1):
            self.primary.wait_for_catchup(standby)


@contextlib.contextmanager
def hand_built_tree(version):
    """For a fixture of a module's own, so that several tests share the servers."""
    with PgNodes() as nodes:
        yield HandBuiltTree(nodes, version, nodes.directory)
