"""A Kafka cluster for the tests: the mock cluster of librdkafka, which speaks the protocol over TCP.

It keeps topics in memory, knows producers' sequence numbers, consumer groups and committed offsets. It is no broker: it
replicates nothing and writes nothing to a disk.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import Producer


@contextmanager
def kafka_peer(brokers: int = 3) -> Iterator[Sequence[str]]:
    """Start one, and give the addresses of its brokers. It ends with the client that it lives in."""
    client = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": str(brokers), "log_level": 0})
    found = client.list_topics(timeout=10).brokers.values()
    yield [f"{each.host}:{each.port}" for each in found]
    del client
