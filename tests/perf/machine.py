"""What the comparison runs on: cores, kernel, file system; and what /proc tells of a process."""

import os
import platform
import re
import subprocess

IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


class Refused(Exception):
    """The comparison cannot be made like this; the text says why."""


def mount_of(path):
    """(device, mount point, type) of the file system that holds a path."""
    path = os.path.realpath(path)
    best = ("", "", "")
    with open("/proc/mounts", encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            device, point, kind = line.split()[:3]
            point = point.encode().decode("unicode_escape")
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best[1]):
                best = (device, point, kind)
    return best


def check_disk(directory):
    """The file system's type; refuses one in memory, where a sync costs nothing."""
    os.makedirs(directory, exist_ok=True)
    kind = mount_of(directory)[2]
    if kind in IN_MEMORY:
        raise Refused(f"{directory} is on {kind}, where nothing is durable and a sync is free: "
                      "name a directory on a disk with DIR=")
    return kind


def pin(cores):
    """This process, and so all that it starts, on these cores."""
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        raise Refused(f"cannot pin to the cores {sorted(cores)}: {error}") from None


def processor():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as info:
        found = re.search(r"^model name\s*:\s*(.*)$", info.read(), re.MULTILINE)
    return found[1] if found else platform.machine()


def version_of(program, *arguments):
    """The first line that the program answers with."""
    answer = subprocess.run([program, *(arguments or ("--version",))], capture_output=True,
                            text=True, check=False)
    lines = (answer.stdout or answer.stderr).strip().splitlines()
    return lines[0].replace("Version: ", "") if lines else "?"


def commit():
    """Of the tree that was built, with a + for changes; empty outside of git."""
    told = subprocess.run(["git", "describe", "--always", "--dirty=+", "--exclude=*"],
                          capture_output=True, text=True, check=False)
    return told.stdout.strip()


def describe(directory, cores):
    device, _, kind = mount_of(directory)
    return {
        "processor": processor(),
        "cores": sorted(cores),
        "kernel": platform.release(),
        "file_system": kind,
        "device": device,
    }


def anonymous_bytes(pid):
    """RssAnon: what the process keeps in memory that is no page of a file."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        found = re.search(r"^RssAnon:\s*(\d+) kB$", status.read(), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def load_average():
    """Of the last minute: on a quiet machine little more than what the comparison itself does."""
    return os.getloadavg()[0]
