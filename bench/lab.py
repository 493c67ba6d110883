# SPDX-License-Identifier: GPL-2.0
"""Boot kernels side by side, run things in them and read what they print."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, "build", "bench")

# What every boot gets: CPU 3 is the isolated one
CMDLINE = "isolcpus=3 nohz_full=3 rcu_nocbs=3"


def die(message):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {message}")


def build_helpers():
    """Compile what runs in the guest; returns the directory to --add."""
    cc = os.environ.get("CC", "gcc").split()
    if not shutil.which(cc[0]):
        die(f"no {cc[0]}: run 'make deps', or set CC")
    guest = os.path.join(BUILD, "guest")
    os.makedirs(guest, exist_ok=True)
    source = os.path.join(TOP, "bench")
    shutil.copy2(os.path.join(source, "guest.sh"), guest)
    for name, files in (("scenario", ["scenario.c", "rtnl.c", "stuck.c"]),
                        ("pingpong", ["pingpong.c"])):
        run = subprocess.run(
            cc + ["-O2", "-Wall", "-static", "-o", os.path.join(guest, name)]
            + [os.path.join(source, f) for f in files],
            stderr=subprocess.PIPE, text=True, check=False)
        if run.returncode:
            die(f"cannot compile {name}; is the static C library there "
                f"(Debian: libc6-dev)?\n{run.stderr}")
    return guest


def fields(text):
    """key=value pairs; the last value takes the rest when it has spaces."""
    found = {}
    for match in re.finditer(r"(\w+)=(.*?)(?=\s+\w+=|$)", text):
        value = match.group(2).strip()
        found[match.group(1)] = int(value) if value.lstrip("-").isdigit() else value
    return found


def label(command):
    """What a command is about: its last word that is one."""
    words = [os.path.basename(w) for w in command.split()]
    return [w for w in words if w.isalpha()][-1]


def last_stamp(path):
    """The guest's clock, as the end of its console tells it."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.path.getsize(path) - 4096))
            stamps = re.findall(rb"\[ *(\d+\.\d)\d+\]", log.read())
    except OSError:
        return ""
    return f", its clock says {stamps[-1].decode()} s" if stamps else ""


class Run:
    """One command in the guest, with what it printed."""

    def __init__(self, command):
        self.command = command
        self.actors, self.hogs, self.trace, self.state = [], [], [], {}
        self.pingpong, self.stuck, self.tree, self.out = [], [], [], {}
        self.failed = False

    def read(self, words):
        kind, rest = words[1], words[2] if len(words) > 2 else ""
        if kind == "actor":
            self.actors.append(fields(rest))
        elif kind == "hog":
            self.hogs.append(fields(rest))
        elif kind in ("stuck", "tree"):
            getattr(self, kind).append(fields(rest))
        elif kind == "out":
            name, _, text = rest.partition(" ")
            self.out.setdefault(name, []).append(text)
        elif kind == "rounds":
            self.pingpong.append(fields(rest))
        elif kind == "state":
            cpu, key, value = rest.split(" ", 2)
            self.state.setdefault(int(cpu[4:]), {})[key.rstrip(":")] = value
        elif kind == "trace":
            match = re.search(r"\s(\d+\.\d+): (\w+): (.*)", rest)
            if match:
                event = fields(match.group(3))
                event.update(time=float(match.group(1)), event=match.group(2))
                self.trace.append(event)

    def actor(self, name):
        return next((a for a in self.actors if a["name"] == name), None)

    def boosts(self):
        """Each boost: its start's fields and its end's."""
        open_, done = {}, []
        for event in self.trace:
            if event["event"] == "stall_boost_start":
                open_[event["cpu"]] = event
            elif event["event"] == "stall_boost_end" and event["cpu"] in open_:
                done.append((open_.pop(event["cpu"]), event))
        return done


class Boot(threading.Thread):
    """A kernel that runs commands in virtual time, in the background."""

    def __init__(self, name, kernel, append, arguments, cpus=4, timeout=1800, add=(),
                 options=()):
        super().__init__(daemon=True)
        self.name, self.facts, self.runs, self.refused = name, {}, [], []
        self.total = sum(1 for a in arguments if not re.match(r"\w+=", a))
        self.where, self.error, self.took = "waiting", None, None
        self.log = os.path.join(BUILD, f"{name}.log")
        self.out = os.path.join(BUILD, f"{name}.out")
        self.argv = [os.path.join(TOP, "scripts", "vm"), "--kernel", kernel,
                     "--cpus", str(cpus), "--timeout", str(timeout),
                     "--append", append, "--log", self.log,
                     "--add", os.path.join(BUILD, "guest")]
        for file in add:
            self.argv += ["--add", f"{file}:/"]
        self.argv += [*options, "--", "/guest.sh"] + arguments

    def run(self):
        begin = time.time()
        self.where = "booting"
        try:
            self.boot()
        except OSError as error:
            self.error = str(error)
        self.took = time.time() - begin
        if self.where != "done":
            self.error = self.error or "it ended early"
            self.where = "failed"

    def boot(self):
        if os.path.exists(self.log):
            os.unlink(self.log)
        with open(self.out, "w", buffering=1, encoding="utf-8") as out, \
             subprocess.Popen(self.argv, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, errors="replace",
                              stdin=subprocess.DEVNULL) as vm:
            for line in vm.stdout:
                out.write(line)
                self.read(line.strip())

    def read(self, line):
        words = line.split(" ", 2)
        if words[:2] == ["guest", "run"]:
            self.runs.append(Run(words[2]))
            self.where = f"{len(self.runs)} of {self.total}: {label(words[2])}"
        elif words[:2] == ["guest", "failed"]:
            self.error = f"'{words[2]}' failed"
        elif words[:2] == ["guest", "refused"]:
            self.refused.append(words[2])
        elif words[:2] == ["guest", "done"]:
            self.where = "done"
        elif words[0] == "guest" and len(words) > 2:
            self.facts[words[1]] = words[2]
        elif self.runs and len(words) > 1:
            self.runs[-1].read(words)

    def fact(self, name, default=None):
        value = self.facts.get(name)
        return default if value is None else int(value)


def run_boots(boots, jobs=None):
    """Run them, two at once or $JOBS, and show how it goes."""
    given = os.environ.get("JOBS") or str(min(2, os.cpu_count() or 1))
    if not re.fullmatch("[1-9][0-9]*", given):
        die(f"JOBS={given}: it takes the number of parallel jobs, 1 or more")
    jobs = jobs or int(given)
    begin, shown, said = time.time(), "", 0
    tty = sys.stderr.isatty()
    queue, running = list(boots), []
    while queue or running:
        running = [b for b in running if b.is_alive()]
        while queue and len(running) < jobs:
            running.append(queue.pop(0))
            running[-1].start()
        elapsed = int(time.time() - begin)
        text = "   ".join(f"({b.name}) {b.where}" for b in boots
                          if len(boots) <= 3 or b in running)
        if len(boots) > 3:
            text = f"{sum(b.took is not None for b in boots)} of {len(boots)} boots   {text}"
        clock = "".join(last_stamp(b.log) for b in running if b.where == "booting")
        if tty:
            print(f"\r\x1b[K  {elapsed:4d} s  {text}{clock}", end="", file=sys.stderr, flush=True)
        elif text != shown or elapsed >= said + 30:
            print(f"  {elapsed:4d} s  {text}{clock}", file=sys.stderr, flush=True)
            shown, said = text, elapsed
        time.sleep(0.2)
    if tty:
        print(file=sys.stderr)
    for boot in boots:
        if boot.error:
            tail = ""
            if os.path.exists(boot.out):
                with open(boot.out, encoding="utf-8") as out:
                    tail = "".join(out.readlines()[-25:])
            die(f"boot ({boot.name}) failed: {boot.error}; its console is in "
                f"{os.path.relpath(boot.log)}, its output ends:\n{tail}")


def check_kernel(path):
    if not os.access(path, os.R_OK):
        die(f"no kernel at {path}: run 'make kernel' first, or give --kernel")


def duration(ns):
    """As many digits as one wants to read."""
    if not ns:
        return "-" if ns is None else "0"
    for unit, factor in (("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        value = ns / factor
        if value < 1000 or unit == "s":
            break
    digits = 0 if value == int(value) or (unit == "us" and value >= 100) else \
        2 if unit == "s" else 1
    return f"{value:.{digits}f} {unit}"


def table(rows, head=1, indent="  "):
    """Align the columns; a row that is a string is a line of its own."""
    cells = [r for r in rows if not isinstance(r, str)]
    columns = max(len(r) for r in cells)
    width = [max(len(str(r[i])) for r in cells if i < len(r)) for i in range(columns)]
    for n, row in enumerate(rows):
        if isinstance(row, str):
            print(f"{indent}{row}".rstrip())
            continue
        print((indent + "   ".join(str(c).ljust(w) for c, w in zip(row, width))).rstrip())
        if n == head - 1:
            print(indent + "   ".join("-" * w for w in width))


def waited(run, name):
    """How long an actor waited, in words."""
    actor = run.actor(name)
    if actor["error"]:
        return f"error: {os.strerror(-actor['error'])}"
    if actor["after_hog"]:
        return f"HANGS  ({duration(actor['waited_ns'])})"
    return duration(actor["waited_ns"])


def boosted(run):
    """Who was, after how long: one line for each boost, a count beyond three."""
    lines = [f"{start['comm']} after {duration(start['wait_ns'])}"
             for start, _ in run.boosts()]
    return lines if len(lines) <= 3 else lines[:2] + [f"and {len(lines) - 2} more"]


def ran(run):
    """What the boosted ran, and in how many slices."""
    ends = [end for _, end in run.boosts()]
    if not ends:
        return "-"
    slices = sum(e["slices"] for e in ends)
    return (f"{duration(sum(e['run_ns'] for e in ends))} in {slices} "
            f"slice{'s' if slices > 1 else ''}")


def chains(run):
    """The chains that were followed over a flush, each once, for a reader."""
    events = [e for e in run.trace if e["event"] == "sched_proxy_lend"]
    names = {}
    for e in events:
        for name in (e["donor"], e["owner"]):
            names[name.rsplit(":", 1)[1]] = name
    waits = {"mutex": "waits for a mutex of", "rwsem": "waits for an rw_semaphore of",
             "flush": "flushes a work of", "completion": "waits for the completion by"}
    lines = []
    for e in events:
        # PID-KIND>PID-KIND>...>PID; of a long one the middle is left out: PID-KIND>..>PID
        *hops, owner = str(e["chain"]).split(">")
        if not any(h.endswith("-flush") for h in hops):
            continue
        text = names.get(hops[0].split("-")[0], "?")
        for hop, after in zip(hops, [h.split("-")[0] for h in hops[1:]] + [owner]):
            kind = hop.partition("-")[2]
            text += f" {waits.get(kind, '...')} "
            text += "others" if after == ".." else names.get(after, f"task {after}")
            text += ", which"
        text += f" runs on CPU {e['owner_cpu']}"
        if text not in lines:
            lines.append(text)
    return lines


def hog_rows(runs):
    """What it cost the hog, and who was boosted: rows of a table."""
    hogs = [r.hogs[0] for r in runs]
    rows = [
        ["the hog lost, in all"] + [duration(h["delay_ns"]) for h in hogs],
        ["  at most in one piece"] + [duration(h["slice_ns"]) for h in hogs],
        ["  ... as it saw it itself"] + [duration(h["away_ns"]) for h in hogs],
        ["  times switched out"] + [h["switches"] for h in hogs],
        ["  timer interrupts"] + [h["timer_interrupts"] for h in hogs],
    ]
    who = [boosted(r) for r in runs]
    for i in range(max(1, max(len(w) for w in who))):
        rows.append(["" if i else "boosted"] +
                    [w[i] if i < len(w) else "" if i else "-" for w in who])
    rows.append(["  ran"] + [ran(r) for r in runs])
    return rows
