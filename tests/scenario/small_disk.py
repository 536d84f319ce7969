"""A file system with little room, which a test fills up."""

import errno
import os
import subprocess


class CanNotMount(Exception):
    pass


class SmallDisk:
    """Mounted on `path` until close(). Mounting takes root, or sudo that asks for nothing."""

    def __init__(self, path, size, mode, owner):
        self.path = path
        self._as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        path.mkdir()
        command = [*self._as_root, "mount", "-t", "tmpfs", "-o", f"size={size},mode={mode},uid={owner}", "tmpfs", path]
        mounted = subprocess.run(command, capture_output=True, text=True)
        if mounted.returncode != 0:
            raise CanNotMount(mounted.stderr.strip())

    def close(self):
        subprocess.run([*self._as_root, "umount", "-l", self.path], check=True)

    def leave_room(self, size):
        """That many bytes, while nobody else writes there."""
        with open(self._filler(), "wb") as filler:
            status = os.statvfs(self.path)
            os.posix_fallocate(filler.fileno(), 0, status.f_bavail * status.f_frsize - size)

    def fill(self):
        """To the last byte, whoever else writes there meanwhile."""
        with open(self._filler(), "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(65536))
            except OSError as problem:
                assert problem.errno == errno.ENOSPC

    def make_room(self):
        self._filler().unlink()

    def _filler(self):
        return self.path / "filler"
