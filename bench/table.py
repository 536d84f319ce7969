"""One table: work, PostgreSQL, pgcascade, ratio."""

import dataclasses
import typing


@dataclasses.dataclass
class Row:
    work: str
    postgresql: str
    pgcascade: str
    ratio: typing.Optional[float]  # above 1: pgcascade is faster; None: nothing to compare with
    goal: str = ""


def print_table(rows):
    lines = [("work", "PostgreSQL", "pgcascade", "ratio", "goal")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append((row.work, row.postgresql, row.pgcascade, ratio, row.goal))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for number, line in enumerate(lines):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
