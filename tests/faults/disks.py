"""Small disks to fill, and disks that cannot be written: mounts, for which one must be root."""

import contextlib
import subprocess

import pytest


def _mount(*args):
    run = subprocess.run(["mount", *map(str, args)], capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"needs the right to mount a tmpfs ({run.stderr.strip()})")


@contextlib.contextmanager
def small_disk(folder, size):
    """Yield a folder that is a disk of its own, of a size such as '200k'."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder, option):
    """Change a small disk: 'ro', 'rw' or 'size=...'."""
    _mount("-o", f"remount,{option}", folder)
