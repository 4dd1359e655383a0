"""The command ``python -m posetask_operator``: reads settings, runs one replica, and ends with a code."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path

from posetask.errors import PoseTaskError
from posetask.transport.kafka.settings import KafkaSettings
from posetask_operator.edge.connect import connect
from posetask_operator.edge.faults import LeaseLost
from posetask_operator.edge.lease import LeaseTimes
from posetask_operator.edge.logs import set_up
from posetask_operator.edge.service import Operator, Options
from posetask_operator.settings import Settings

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; 0 then, 3 where another replica took the lease, else an error's own code."""
    given = _parser().parse_args(arguments)
    set_up(given.log_level)
    with contextlib.suppress(OSError, RuntimeError):  # a standard error that is no file
        faulthandler.register(signal.SIGUSR1)  # says where every thread is, should the process hang
    try:
        settings = Settings.load(given.settings)
        kafka = KafkaSettings.from_environment(_kafka_environment(settings))
        return asyncio.run(_run(settings, kafka, _options(given)))
    except LeaseLost as error:
        logger.warning("%s", error)
        return error.exit_code
    except PoseTaskError as error:
        logger.error("%s", error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception:
        logger.exception("the operator ends by a defect, and should be started anew")
        return 1


async def _run(settings: Settings, kafka: KafkaSettings, options: Options) -> int:
    connection = await connect(options.kubeconfig, namespace=settings.namespace)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logger.info("installation %s, replica %s", settings.installation, options.identity)
    await Operator(settings, kafka, options, connection).run(stop)
    logger.info("stopped as asked")
    return 0


def _kafka_environment(settings: Settings) -> dict[str, str]:
    # What the pods are told holds for the operator too, where it is told nothing of its own.
    return {"POSETASK_KAFKA": settings.kafka.bootstrap} | {
        name: value for name, value in os.environ.items() if name.startswith("POSETASK_KAFKA")
    }


def _options(given: argparse.Namespace) -> Options:
    host, _, port = given.listen.rpartition(":")
    duration, renew_by, retry = given.lease_seconds
    return Options(
        identity=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        host=host or "0.0.0.0",  # noqa: S104 - the probes of the kubelet come from outside
        port=int(port),
        kubeconfig=given.kubeconfig,
        namespaces=tuple(given.namespaces),
        workers=given.workers,
        lease=LeaseTimes(duration, renew_by, retry),
        relist_seconds=given.relist_seconds,
        sweep_seconds=given.sweep_seconds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="posetask_operator", description="The PoseTask operator.")
    add = parser.add_argument
    add("--settings", type=Path, required=True, help="YAML file of the administrator's settings")
    add("--kubeconfig", help="default: the pod's service account, else KUBECONFIG")
    add("--namespaces", type=_names, default=(), help="to work in, by commas; default: all")
    add("--listen", type=_address, default="0.0.0.0:8080", help="of /healthz, /readyz and /metrics")
    add("--workers", type=int, default=8, help="tasks that are looked at at the same time")
    add("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    add(
        "--lease-seconds", type=_lease, default=(15.0, 10.0, 2.0), help="duration,renew-by,retry of the lease"
    )
    add("--relist-seconds", type=_positive, default=60.0, help="between two lists of everything")
    add("--sweep-seconds", type=_positive, default=300.0, help="between two sweeps of the brokers")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _address(text: str) -> str:
    port = text.rpartition(":")[2]
    if not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return text


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def _lease(text: str) -> tuple[float, float, float]:
    parts = [_positive(part) for part in text.split(",")]
    if len(parts) != 3 or not parts[2] < parts[1] < parts[0]:
        raise argparse.ArgumentTypeError("it is DURATION,RENEW_BY,RETRY, each less than the one before")
    return parts[0], parts[1], parts[2]
