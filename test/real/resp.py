# SPDX-License-Identifier: MIT
"""resp.py - as much of a redis client as it takes to store values and read them back.

    with resp.Client(port) as c:
        c.ask([('SET', 'key', b'value'), ('GET', 'key')])      [b'OK', b'value']

Commands that go together are sent together; their replies must not be larger than the
sockets hold while more commands are to be sent. RESP2: strings and status lines.
"""
import socket
import time

WAIT_S = 120    # for a reply
LISTEN_S = 20   # for a server that was just started


class Closed(Exception):
    """The server went away, or never came."""


def free_port():
    """A TCP port of the loopback interface that nobody listens on, a moment ago."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def encode(commands):
    data = bytearray()
    for command in commands:
        data += b'*%d\r\n' % len(command)
        for word in command:
            word = word if isinstance(word, bytes) else word.encode()
            data += b'$%d\r\n%s\r\n' % (len(word), word)
    return data


class Client:
    def __init__(self, port):
        deadline = time.monotonic() + LISTEN_S
        while True:
            try:
                self.socket = socket.create_connection(('127.0.0.1', port), WAIT_S)
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise Closed('redis-server does not listen') from None
                time.sleep(0.05)
        self.replies = self.socket.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.replies.close()
        self.socket.close()

    def send(self, commands):
        self.socket.sendall(encode(commands))

    def ask(self, commands):
        """A reply for each command. An error of the server's is a reply, too."""
        self.send(commands)
        return [self.reply() for _ in commands]

    def reply(self):
        line = self.replies.readline()
        if not line:
            raise Closed('redis-server closed the connection')
        if line[:1] != b'$':
            return line[1:].rstrip()
        n = int(line[1:])
        return self.replies.read(n + 2)[:-2] if n >= 0 else None
