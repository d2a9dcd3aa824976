import os

from huey import RedisHuey

from wsgi import ask

huey = RedisHuey("tasks", url=os.environ["REDIS_URL"])


@huey.task()
def work():
    ask("/ask")
    ask("/done")


def enqueue():
    work()
