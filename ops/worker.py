"""Entry point of a worker process: the node's settings to a worker's configuration, then gateway.worker."""

import json
import os
import resource
import sys
from pathlib import Path

from gateway.config import ListenerSocket, WorkerConfig
from gateway.tls.context import TlsContextError
from gateway.worker import Worker
from ops.processes import notary_uid
from ops.settings import Settings, SettingsError, load_settings, settings_path
from whitelist.admitted import NAME


def worker_config(settings: Settings, boot: str, process: str, fds: dict[str, list[int]]) -> WorkerConfig:
    """What this worker needs of the node's settings. fds: listener name → inherited descriptors, of which there are
    several after a change to fewer workers: each must be accepted on, or its clients would wait for nobody."""
    state = Path(settings.state_dir)
    return WorkerConfig(
        node=settings.node,
        boot=boot,
        process=process,
        run_dir=Path(settings.run_dir),
        snapshot_dir=state / "snapshot",
        public_key=state / "keys" / "snapshot.pub",
        admitted=state / "notary" / NAME if settings.zone else None,
        notary=notary_uid(settings),
        usage=state / "usage" / "bytes",
        listeners=tuple(
            ListenerSocket(
                name=listener.name,
                kind=listener.kind,
                fd=fd,
                demands=listener.demands,
                proxy_protocol=listener.proxy_protocol,
                tls=listener.tls,
            )
            for listener in settings.listeners
            for fd in fds.get(listener.name, ())
        ),
        mark_base=settings.line_base.mark,
        places={access.interface: (access.site, access.room) for access in settings.access},
        inspectors=settings.inspectors,
        columns=2 * settings.worker_count + 2,
        timeouts=settings.timeouts,
        limits=settings.limits,
        max_staleness=settings.max_staleness,
        portal=settings.portal or f"http://{settings.portal_name}",
        portal_name=settings.portal_name,
    )


def main() -> int:
    """Runs the worker that the environment describes: FEIYU_CONFIG, FEIYU_BOOT, FEIYU_PROCESS, FEIYU_LISTEN_FDS."""
    try:
        settings = load_settings(settings_path())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    fds: dict[str, list[int]] = json.loads(os.environ.get("FEIYU_LISTEN_FDS", "{}"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        Worker(worker_config(settings, os.environ["FEIYU_BOOT"], os.environ["FEIYU_PROCESS"], fds)).run()
    except TlsContextError as error:
        print(f"a TLS listener cannot be opened: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
