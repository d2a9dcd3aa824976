import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from wsgi import ask

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def work():
    ask("/ask")
    ask("/done")


def enqueue():
    work.send()
