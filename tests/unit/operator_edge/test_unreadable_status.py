"""A status that this version cannot read: nothing is decided for its task, and nobody waits for it."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

from posetask_operator.core.admission import Admission
from posetask_operator.core.claims import Request
from posetask_operator.core.observed import Granted, Waiting
from posetask_operator.edge.reconcile import Reconciler
from posetask_operator.edge.store import Key, Store
from posetask_operator.settings import Settings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOBODY = cast(Any, None)  # an unreadable task must not get as far as any of them


def test_a_status_that_cannot_be_read_holds_nobody_up() -> None:
    settings = Settings.parse({"installation": "main", "namespace": "posetask"})
    store, admission = Store(), Admission(settings)
    store.put(
        "task",
        {
            "metadata": {
                "namespace": "lab",
                "name": "odd",
                "uid": "u-1",
                "resourceVersion": "5",
                "creationTimestamp": "2026-01-31T12:00:00Z",
            },
            "spec": {"source": {"uri": "synth:frames=9"}},
            "status": {"attempt": "many"},
        },
    )
    reconciler = Reconciler(settings, NOBODY, store, NOBODY, NOBODY, admission, NOBODY, lambda key: None)
    reconciler.begin()
    asked = Request("lab/well", "lab", "default", 1, 0, 4, 0, NOW)
    assert isinstance(admission.ask(asked, NOW), Waiting)
    admission.report("lab/well", None)
    assert asyncio.run(reconciler.look(Key("lab", "odd"))) is None
    assert isinstance(admission.ask(asked, NOW), Granted)
