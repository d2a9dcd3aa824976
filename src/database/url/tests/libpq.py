"""Asks libpq what it makes of connection URLs, without a network: what it would log in with, or why it refuses.

stdin: cases that end with \\x1e: the URL, then NAME=VALUE of its environment, each behind a \\x1f.
stdout: the same shape: the error, then keyword=value.
"""
import ctypes
import os
import sys

libpq = ctypes.CDLL("libpq.so.5")


class Option(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ("keyword", "variable", "default", "value", "label", "display")]
    _fields_ += [("size", ctypes.c_int)]


libpq.PQconnectStart.restype = ctypes.c_void_p
libpq.PQconnectStart.argtypes = [ctypes.c_char_p]
libpq.PQconninfo.restype = ctypes.POINTER(Option)
for name in ("PQconninfo", "PQerrorMessage", "PQpass", "PQfinish"):
    getattr(libpq, name).argtypes = [ctypes.c_void_p]
libpq.PQerrorMessage.restype = libpq.PQpass.restype = ctypes.c_char_p


def answer(url):
    connection = libpq.PQconnectStart(url)
    fields = [libpq.PQerrorMessage(connection)]
    options = libpq.PQconninfo(connection)
    i = 0
    while options and options[i].keyword:
        # The password that it would send may come from a file.
        if options[i].value is not None and options[i].keyword != b"password":
            fields.append(options[i].keyword + b"=" + options[i].value)
        i += 1
    fields.append(b"password=" + (libpq.PQpass(connection) or b""))
    libpq.PQfinish(connection)
    return b"\x1f".join(fields)


for case in sys.stdin.buffer.read().split(b"\x1e")[:-1]:
    url, *variables = case.split(b"\x1f")
    os.environb.clear()
    for variable in variables:
        name, _, value = variable.partition(b"=")
        os.environb[name] = value
    sys.stdout.buffer.write(answer(url) + b"\x1e")
