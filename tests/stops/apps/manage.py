"""A Django project in one file."""

import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import re_path

from wsgi import ask

settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="none", USE_TZ=True)
urlpatterns = [re_path("", lambda request: HttpResponse(ask(request.path), content_type="text/plain"))]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
