"""The Celery app: settings that make messages mere wake-ups. SQL decides everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery import Celery
from kombu.exceptions import OperationalError

from farm.domain.errors import BrokerUnavailableError
from farm.storage.database import hide_password

if TYPE_CHECKING:
    from farm.domain.work import WakeUp
    from farm.settings import Settings

TASK = "farm.run_job"


def new_celery_app(settings: Settings) -> Celery:
    """A Celery app on the settings' broker (docs/decisions/0002-sql-is-the-truth.md gives the reasons)."""
    embedded = settings.is_embedded
    # A host in the URL, since kombu warns of a URL without one.
    broker_url = "memory://localhost/" if embedded else settings.broker_url
    app = Celery("engine-farm", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_create_missing_queues=True,
        # Redis only: a busy worker leaves the next message to an idle one. That alone limits it there: a limit of
        # messages not acknowledged yet (1) would never be lifted again if Redis went away while a job ran, since its
        # message then stays without an acknowledgement for ever, and the worker would hear nothing more.
        worker_disable_prefetch=not embedded,
        worker_prefetch_multiplier=1 if embedded else 0,
        worker_concurrency=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"polling_interval": 0.02}
        if embedded
        else {
            "global_keyprefix": "farm:",
            "visibility_timeout": 4 * 3600,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
    )
    return app


class CeleryQueue:
    """Implements `JobQueue`: a message on the target's queue, carrying the id of a job that is due."""

    def __init__(self, app: Celery, broker_url: str) -> None:
        self._app = app
        self._broker_url = broker_url

    def announce(self, wake_up: WakeUp) -> None:
        """Tells the queue of a target that a job is due.

        Raises:
            BrokerUnavailableError: the broker can not be reached.
        """
        try:
            self._app.send_task(TASK, args=[wake_up.job_id], queue=wake_up.target.queue, retry=False)
        except (OperationalError, ConnectionError, TimeoutError) as error:
            raise BrokerUnavailableError(
                # redis-py ends its sentences, the farm's errors go on.
                f"the broker {hide_password(self._broker_url)} can not be reached: {str(error).rstrip('.')}",
                hint="What was submitted is safe: workers pick it up once the broker is back.",
            ) from error
