import os

from celery import Celery

from wsgi import ask

app = Celery("tasks", broker=os.environ["REDIS_URL"])
app.conf.worker_prefetch_multiplier = 1


@app.task
def work():
    ask("/ask")
    ask("/done")


def enqueue():
    work.delay()
