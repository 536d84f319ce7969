"""Runs the pgcascade binary from outside: to its end, or in the background."""

import os
import pathlib
import re
import signal
import subprocess

from waiting import DEFAULT_TIMEOUT_S, wait_for

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def binary():
    path = pathlib.Path(os.environ.get("PGCASCADE_BINARY", REPOSITORY / "build/release/pgcascade"))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not built; run make, or name another one in PGCASCADE_BINARY")
    return path.resolve()


def environment(extra=None):
    """What the caller has, without libpq's variables: nothing of the account's own setup may help or harm."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    kept.update({"LANG": "C.UTF-8", "PGPASSFILE": "/nonexistent/pgpass", "PGSERVICEFILE": "/nonexistent/service"})
    kept.update(extra or {})
    return kept


class Finished:
    """What a run of the program gave: stdout, stderr, code (negative: the signal that ended it)."""

    def __init__(self, arguments, code, stdout, stderr):
        self.arguments = arguments
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self):
        line = " ".join(map(str, self.arguments))
        return f"pgcascade {line}\nexit {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"

    def expect(self, code):
        assert self.code == code, self
        return self


def run(*arguments, timeout=60.0, env=None, stdin=None, cwd=None, text=True):
    done = subprocess.run(
        [binary(), *map(str, arguments)],
        stdin=subprocess.DEVNULL if stdin is None else None,
        input=stdin,
        capture_output=True,
        text=text,
        timeout=timeout,
        env=environment(env),
        cwd=cwd,
    )
    return Finished(arguments, done.returncode, done.stdout, done.stderr)


def hear_hangups():
    """As a shell starts it, even where these tests run under nohup, which the program would heed."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Background:
    """A run that goes on; stdout and stderr go to files, or where `popen_options` says."""

    def __init__(self, directory, *arguments, env=None, program=None, **popen_options):
        self.arguments = arguments
        self.stdout_file = directory / "stdout"
        self.stderr_file = directory / "stderr"
        with open(self.stdout_file, "wb") as stdout, open(self.stderr_file, "wb") as stderr:
            options = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr, "preexec_fn": hear_hangups}
            options.update(popen_options)
            command = [program or binary(), *map(str, arguments)]
            self.process = subprocess.Popen(command, env=environment(env), **options)

    def stdout(self):
        return self.stdout_file.read_text(encoding="utf-8", errors="replace")

    def stderr(self):
        return self.stderr_file.read_text(encoding="utf-8", errors="replace")

    def lines(self):
        """The whole lines on stdout so far."""
        return self.stdout().split("\n")[:-1]

    def finished(self):
        return Finished(self.arguments, self.process.poll(), self.stdout(), self.stderr())

    def wait_for_stdout(self, pattern, timeout=DEFAULT_TIMEOUT_S):
        return self._wait_for_output(self.stdout, pattern, timeout)

    def wait_for_stderr(self, pattern, timeout=DEFAULT_TIMEOUT_S):
        return self._wait_for_output(self.stderr, pattern, timeout)

    def _wait_for_output(self, output, pattern, timeout):
        def found():
            ended = self.process.poll() is not None  # asked first: what it wrote before its end still counts
            match = re.search(pattern, output(), re.MULTILINE)
            assert match or not ended, f"ended without /{pattern}/: {self.finished()}"
            return match

        return wait_for(found, timeout, lambda: f"/{pattern}/ from {self.finished()}")

    def wait(self, timeout=DEFAULT_TIMEOUT_S):
        """To its end."""
        wait_for(lambda: self.process.poll() is not None, timeout, lambda: f"the end of {self.finished()}")
        return self.finished()

    def stop(self, number=signal.SIGTERM, timeout=DEFAULT_TIMEOUT_S):
        """By a signal; waits for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(timeout)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
