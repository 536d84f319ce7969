"""Workload W: many small mixed transactions, ten row changes each; 400,000 of them are about 1.1 GB of WAL."""

TRANSACTIONS = 400_000
ROWS_PER_TRANSACTION = 10

SERVER_SETTINGS = {
    "wal_level": "logical",
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "max_wal_senders": "10",
    "max_replication_slots": "20",
}

SCHEMA = """
create table m(id bigint primary key, k int not null, ts timestamptz not null default now(), v text);
create publication pub for table m;
create procedure workload(transactions int) language plpgsql as $$
declare b bigint := 100;
begin
    for i in 1 .. transactions loop
        insert into m(id, k, v) select b + g, (b + g) % 1000, repeat(md5((b + g)::text), 4) from generate_series(1, 7) g;
        update m set k = k + 1, v = reverse(v) where id between b - 20 and b - 18;
        commit;
        b := b + 7;
    end loop;
end $$;
"""


def write(node, transactions):
    """Runs it, after the slots that are to see it were made. Returns the LSN of its end and its bytes of WAL."""
    before = node.value("select pg_current_wal_insert_lsn()::text")
    node.psql(f"set synchronous_commit = off; call workload({transactions});")
    end = node.value("select pg_current_wal_insert_lsn()::text")
    # The end must be on disk, and a record must follow it, for a consumer to be told that it has been reached.
    node.execute("select pg_switch_wal()")
    return end, int(node.value(f"select pg_wal_lsn_diff('{end}', '{before}')"))
