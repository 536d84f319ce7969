"""What `make install` lays down is enough for a program of somebody else's: by find_package and by pkg-config."""

import os
import pathlib
import shutil
import subprocess

import pytest

import program_run

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
RELEASE = REPOSITORY / "build" / "release"

# Includes every public header and calls into the archive.
PROGRAM = "\n".join(
    [f"#include <pgcascade/{header.name}>" for header in sorted((REPOSITORY / "include/pgcascade").glob("*.hpp"))]
    + ["#include <cstdio>", 'int main() { std::puts(pgcascade::Error("failed", "mend it").hint().c_str()); }', ""]
)

CMAKE_PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(consumer CXX)
find_package(pgcascade 0.1 REQUIRED)
add_executable(consumer consumer.cpp)
target_link_libraries(consumer PRIVATE pgcascade::pgcascade)
"""


def run(*command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert result.returncode == 0, f"{command}: {result.stdout}"
    return result.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """The tree that make install makes, moved after it was made: nothing in it may name the place it was made for."""
    staged = tmp_path_factory.mktemp("staged")
    environment = {**os.environ, "DESTDIR": str(staged)}
    run("cmake", "--install", RELEASE, "--prefix", "/usr/local", env=environment)
    moved = tmp_path_factory.mktemp("moved") / "prefix"
    (staged / "usr" / "local").rename(moved)
    return moved


@pytest.fixture
def consumer(tmp_path):
    (tmp_path / "consumer.cpp").write_text(PROGRAM)
    return tmp_path


def test_the_installed_program_runs(prefix):
    assert run(prefix / "bin" / "pgcascade", "--version").startswith("pgcascade ")


def test_find_package_gives_all_a_program_needs(prefix, consumer):
    (consumer / "CMakeLists.txt").write_text(CMAKE_PROJECT)
    run("cmake", "-S", consumer, "-B", consumer / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", consumer / "build")
    assert run(consumer / "build" / "consumer") == "mend it\n"


def test_pkg_config_gives_all_a_program_needs(prefix, consumer):
    environment = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    flags = run("pkg-config", "--cflags", "--libs", "pgcascade", env=environment).split()
    run("g++", "-std=c++20", consumer / "consumer.cpp", *flags, "-o", consumer / "consumer")
    assert run(consumer / "consumer") == "mend it\n"


@pytest.fixture(scope="module", params=["cmake", "pkg-config"])
def example(request, prefix, tmp_path_factory):
    """examples/process_message, built from the installed tree alone, with the warnings that we ask of ourselves."""
    built = tmp_path_factory.mktemp("example")
    shutil.copytree(REPOSITORY / "examples", built / "source")
    warnings = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
    if request.param == "cmake":
        run("cmake", "-S", built / "source", "-B", built, f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_FLAGS={warnings}")
        run("cmake", "--build", built)
    else:
        environment = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
        flags = run("pkg-config", "--cflags", "--libs", "pgcascade", env=environment).split()
        source = built / "source" / "process_message.cpp"
        run("g++", "-std=c++20", *warnings.split(), source, *flags, "-o", built / "process_message")
    return built / "process_message"


def test_the_example_calls_process_message_for_each_change(nodes, version, example, directory):
    """On the primary, or, where standbys can decode, on one: the users' description, step by step."""
    node = primary = nodes.primary(version=version, settings={"wal_level": "logical"})
    primary.psql("CREATE TABLE orders (id bigint PRIMARY KEY, what text); CREATE PUBLICATION shop FOR TABLE orders")
    if version >= 16:
        node = nodes.standby("replica", primary, settings={"hot_standby_feedback": "on"})
    program = program_run.Background(directory, node.conninfo(), "orders", "shop", program=example)
    try:
        # A slot is active while it is made, too; only then it has no confirmed position yet.
        made_and_used = "SELECT active AND confirmed_flush_lsn IS NOT NULL FROM pg_replication_slots WHERE slot_name = 'orders'"
        node.wait_until(made_and_used, timeout=60)
        primary.psql("INSERT INTO orders VALUES (1, 'tea'), (2, 'pot'); UPDATE orders SET what = 'cup' WHERE id = 2")
        primary.execute("DELETE FROM orders WHERE id = 1")
        program.wait_for_stdout("delete orders id=1\ncommit\n")
        assert program.lines() == [
            *["begin", "insert orders id=1", "insert orders id=2", "commit"],
            *["begin", "update orders id=2", "commit", "begin", "delete orders id=1", "commit"],
        ]
        assert program.stderr() == ""
    finally:
        program.close()


def test_the_example_tells_what_to_do(nodes, version, example):
    primary = nodes.primary(version=version, settings={"wal_level": "replica"})
    done = subprocess.run([example, primary.conninfo(), "orders", "shop"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "wal_level = replica" in done.stderr and "ALTER SYSTEM SET wal_level" in done.stderr


def test_nothing_installed_names_the_place_it_was_built_in(prefix):
    texts = [path for path in prefix.rglob("*") if path.suffix in (".cmake", ".pc", ".hpp")]
    assert texts
    for path in texts:
        assert str(REPOSITORY) not in path.read_text(), path
