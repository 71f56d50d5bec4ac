"""What rows 1 to 3 of `cargo xtask bench` are compared with: an agent as ZStack's agent layer is built.

CherryPy with a pool of ten workers and a socket timeout of 15 s; a command is acknowledged at once, runs in a
thread of its own, and its outcome goes to the caller on a connection of its own. Nothing is written down.

Usage: peer.py PORT
"""

import http.client
import json
import sys
import threading
import time
import urllib.parse

import cherrypy

RETRIES = 4
RETRY_PAUSE = 15


def report(url, task, outcome):
    """Posts the outcome on a new connection; tries for a minute."""
    parts = urllib.parse.urlsplit(url)
    headers = {"Content-Type": "application/json", "taskuuid": task, "Connection": "close"}
    for _ in range(RETRIES):
        try:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=RETRY_PAUSE)
            connection.request("POST", parts.path, outcome, headers)
            connection.getresponse().read()
            connection.close()
            return
        except OSError:
            time.sleep(RETRY_PAUSE)


class Agent:
    """Commands that do nothing."""

    def __init__(self):
        self.running = {}
        self.lock = threading.Lock()

    @cherrypy.expose
    def default(self, *_):
        headers = cherrypy.request.headers
        task, url = headers.get("Taskuuid"), headers.get("Callbackurl")
        if task is None:
            raise cherrypy.HTTPError(400, "taskuuid missing in request header")
        command = json.loads(cherrypy.request.body.read() or b"{}")
        with self.lock:
            if task in self.running:
                return b""
            self.running[task] = url
        threading.Thread(target=self.run, args=(task, url, command), daemon=True).start()
        return b""

    def run(self, task, url, _command):
        outcome = json.dumps({"success": True, "error": None})
        with self.lock:
            del self.running[task]
        report(url, task, outcome)


def main():
    cherrypy.config.update({
        "server.socket_host": "127.0.0.1",
        "server.socket_port": int(sys.argv[1]),
        "server.thread_pool": 10,
        "server.socket_timeout": 15,
        "server.max_request_body_size": 0,
        "engine.autoreload.on": False,
        "environment": "production",
        "log.screen": False,
    })
    cherrypy.quickstart(Agent())


if __name__ == "__main__":
    main()
