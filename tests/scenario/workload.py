"""Transactions at random on a small table, from several sessions at once, for as long as a test wants."""

import random
import threading

import psycopg2

SCHEMA = """
    CREATE TABLE item (id bigint PRIMARY KEY, n int NOT NULL, note text);
    CREATE TABLE item_log (id bigserial PRIMARY KEY, item bigint, what text);
    CREATE PUBLICATION pub FOR TABLE item, item_log;
"""


class Workload:
    """A context manager: the sessions write until it ends. The seed makes each session's choices repeatable, not how
    the sessions interleave. Each session has ids of its own; a second workload on the same rows needs other sessions."""

    def __init__(self, node, seed, sessions=2, rows_max=30, first_session=0):
        self.node = node
        self.seed = seed
        self.rows_max = rows_max
        self.committed = 0
        self.stopping = threading.Event()
        self.problems = []
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(first_session, first_session + sessions)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.problems, self.problems

    def _run(self, number):
        choose = random.Random(f"{self.seed} {number}")
        connection = None
        next_id = number * 10_000_000
        while not self.stopping.is_set():
            try:
                connection = connection or self._connect()
                next_id = self._transaction(connection, choose, number, next_id)
                self.committed += 1
            except (psycopg2.OperationalError, psycopg2.InterfaceError):  # the server is away; what was not committed is gone
                connection = None
                next_id += self.rows_max
                self.stopping.wait(0.05)
            except Exception as problem:  # told by stop(), in the test's own thread
                self.problems.append(problem)
                return
        if connection:
            connection.close()

    def _connect(self):
        connection = self.node.connect()
        connection.autocommit = False
        return connection

    def _transaction(self, connection, choose, number, next_id):
        mine = f"id >= {number * 10_000_000} AND id < {(number + 1) * 10_000_000}"
        with connection, connection.cursor() as cursor:
            count = choose.randint(1, self.rows_max)
            cursor.execute(
                "INSERT INTO item SELECT i, %s, repeat(md5(i::text), %s) FROM generate_series(%s, %s) AS i",
                (choose.randint(0, 9), choose.randint(0, 20), next_id, next_id + count - 1),
            )
            cursor.execute("SAVEPOINT s")
            cursor.execute(f"UPDATE item SET n = n + 1 WHERE n = %s AND {mine}", (choose.randint(0, 9),))
            if choose.random() < 0.3:
                cursor.execute("ROLLBACK TO SAVEPOINT s")
            if choose.random() < 0.3:
                cursor.execute(f"DELETE FROM item WHERE id %% 7 = %s AND {mine}", (choose.randint(0, 6),))
            cursor.execute("INSERT INTO item_log (item, what) VALUES (%s, %s)", (next_id, f"session {number}"))
        return next_id + count


class LargeTransactions(Workload):
    """Thousands of rows of item_log each, so that whatever breaks does so in the middle of one."""

    def __init__(self, node, seed, rows=3000):
        super().__init__(node, seed, sessions=1, rows_max=rows, first_session=9)

    def _transaction(self, connection, choose, number, next_id):
        with connection, connection.cursor() as cursor:
            last = next_id + self.rows_max - 1
            cursor.execute("INSERT INTO item_log (item, what) SELECT i, 'large' FROM generate_series(%s, %s) i", (next_id, last))
        self.stopping.wait(0.2)  # so that the small ones of others come between
        return last + 1


def large_transaction(node, rows, first_id=1_000_000_000):
    """Rows of 700 bytes, so that few of them fill the buffers between a server and a reader."""
    node.execute(
        "INSERT INTO item SELECT i, 1, repeat(md5(i::text), 20) FROM generate_series(%s::bigint, %s::bigint) AS i",
        first_id,
        first_id + rows - 1,
    )
