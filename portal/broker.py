"""Whether the message broker answers. The work goes on without it, only slower: the sweeper reads the database."""

from kombu.exceptions import OperationalError as BrokerDown
from redis.exceptions import RedisError

from chain.types import Alarm
from portal.celery import app


def alarms() -> list[Alarm]:
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)
    except (BrokerDown, RedisError, OSError) as error:
        return [Alarm("broker_silent", "", f"The message broker does not answer ({type(error).__name__}).")]
    return []
