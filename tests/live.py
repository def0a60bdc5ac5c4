"""A NATS server and a switchboard of a test's own, on a port that the system chose: for the other checks here."""
import asyncio
import json
import os
import re
import secrets
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 30


class Live:
    """With `users`, those of deploy/nats.conf and what it lets them do; else open to everybody on this machine.

    With `jetstream`, the users and accounts of deploy/nats-jetstream.conf, and a service that keeps streams.
    """

    def __init__(self, server, binary, directory, users=True, jetstream=False):
        self.server, self.binary, self.directory, self.users = server, binary, Path(directory), users
        self.jetstream = jetstream
        self.env, self.running = dict(os.environ, NO_COLOR="1"), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            stop(process)

    def start_server(self):
        conf = self.conf()
        for name in re.findall(r"\$(\w+_PASSWORD)", conf.read_text(encoding="utf-8")):
            self.env[name] = "p" + secrets.token_hex(8)
        ports = self.directory / "ports"
        ports.mkdir()
        process = self.start("nats", [self.server, *(["-c", str(conf)] if self.users else []), "-a", "127.0.0.1", "-p", "-1",
                                      "--ports_file_dir", str(ports)])
        told = self.wait("the NATS server", process, lambda: next((file for file in ports.glob("*.ports") if file.read_text()), None))
        self.url = self.env["NATS_URL"] = json.loads(told.read_text())["nats"][0]

    def conf(self):
        if not self.jetstream:
            return ROOT / "deploy" / "nats.conf"
        # The same, with its streams in a directory of this test.
        conf = self.directory / "nats-jetstream.conf"
        shipped = (ROOT / "deploy" / "nats-jetstream.conf").read_text(encoding="utf-8")
        if '"/var/lib/nats"' not in shipped:
            raise Unexpected("expected store_dir /var/lib/nats in deploy/nats-jetstream.conf")
        conf.write_text(shipped.replace("/var/lib/nats", str(self.directory / "streams")), encoding="utf-8")
        return conf

    def start_service(self):
        log = self.directory / "log" / "switchboard.log"
        log.unlink(missing_ok=True)
        env = {"SWITCHBOARD_USER": "switchboard"} if self.users else {"SWITCHBOARD_PASSWORD": ""}
        process = self.start("switchboard", [self.binary, "serve", "--nats", self.url, "--data", str(self.directory / "data"),
                                             "--config", str(ROOT / "deploy" / "switchboard.toml"),
                                             "--events", "jetstream" if self.jetstream else "core"], env)
        self.wait("the switchboard", process, lambda: re.search(r"\bready\b", log.read_text()))
        return process

    def start(self, name, command, env=None, cwd=None, stdin=subprocess.DEVNULL):
        """Runs it until the end of the test, its output in a log of its own."""
        log = self.directory / "log" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        env = {key: value for key, value in {**self.env, **(env or {})}.items() if value}
        with open(log, "ab") as output:
            process = subprocess.Popen(command, env=env, cwd=cwd, stdin=stdin, stdout=output, stderr=output)
        self.running.append(process)
        return process

    def wait(self, what, process, found):
        began = time.monotonic()
        while not (result := found()):
            if process.poll() is not None or time.monotonic() - began > PATIENCE_SECONDS:
                raise Unexpected(f"{what} did not start; its logs: {self.last_words()}")
            time.sleep(0.05)
        return result

    def last_words(self):
        logs = sorted((self.directory / "log").glob("*.log"))
        return "\n".join(f"-- {log.name}\n{log.read_text()[-1500:]}" for log in logs)


class Unexpected(Exception):
    """Something went another way than it should."""


def stop(process):
    """Ends one process that this test started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def reached(nc):
    """The server has read whatever this connection has sent, subscriptions too.

    The library's `flush` alone does not say so: its ping goes out before what still waits to be written.
    """
    await nc.flush()
    await nc.flush()


async def eventually(what, found, patience_seconds=PATIENCE_SECONDS):
    """What `found` answers, as soon as it is something."""
    until = time.monotonic() + patience_seconds
    while time.monotonic() < until:
        result = found()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        await asyncio.sleep(0.05)
    raise Unexpected(f"expected {what} within {patience_seconds} s, and it did not come")
