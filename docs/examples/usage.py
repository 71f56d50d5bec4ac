#!/usr/bin/env python3
"""A service beside Cumulet's controller: how long each VM has run.

It follows the controller's events from where it was cut off, and answers GET /usage and GET /usage/<vm> for those
that the controller says ask: a tenant sees its own VMs, the administrator all. What it knows lies in one SQLite
file, in which the place among the events changes together with what they meant, so that nothing is missed or
counted twice whoever is restarted.

    usage.py --controller http://127.0.0.1:8080 --listen 127.0.0.1:9100 --state usage.db \
             --access-key key.json --secret-file secret

key.json is the answer of POST /v1/access-keys (its "AccessKeyID" and "AccessKeySecret"), of the administrator; the
secret is that of the answer of POST /v1/services. Python's standard library is all that it needs.
"""

import argparse
import base64
import datetime
import hashlib
import hmac
import http.client
import http.server
import json
import sqlite3
import threading
import time
import urllib.parse
from email.utils import formatdate

TABLES = """
CREATE TABLE IF NOT EXISTS cursor (seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS vm (
    uuid TEXT PRIMARY KEY, name TEXT, account TEXT,
    seconds INTEGER NOT NULL DEFAULT 0, since INTEGER, gone INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS gap (seq INTEGER PRIMARY KEY, first INTEGER NOT NULL);
"""
# From and to these nothing changes: a VM that is about to be stopped runs until it is.
PASSING = {"Rebooting", "Pausing", "Stopping", "Destroying", "Unknown"}
# A signature is good for so long, seconds.
FRESH = 300
# The controller says something every 15 s; when it does not, the line is dead.
SILENCE = 60


def moment(text):
    """Seconds since 1970 of "Nov 21, 2026 11:28:44 AM", which is UTC."""
    when = datetime.datetime.strptime(text, "%b %d, %Y %I:%M:%S %p")
    return int(when.replace(tzinfo=datetime.timezone.utc).timestamp())


class Records:
    """What is known, on disk."""

    def __init__(self, path):
        self.path = path
        with self.open() as db:
            db.executescript(TABLES)
            if db.execute("SELECT count(*) FROM cursor").fetchone()[0] == 0:
                db.execute("INSERT INTO cursor VALUES (0)")

    def open(self):
        db = sqlite3.connect(self.path, timeout=30)
        db.execute("PRAGMA synchronous = FULL")
        db.row_factory = sqlite3.Row
        return db

    def place(self):
        with self.open() as db:
            return db.execute("SELECT seq FROM cursor").fetchone()[0]

    def gap(self, since, first):
        """Events that the controller has forgotten: told in every answer from now on."""
        with self.open() as db:
            db.execute("INSERT OR IGNORE INTO gap VALUES (?, ?)", (since, first))
            db.execute("UPDATE cursor SET seq = max(seq, ?)", (first - 1,))

    def hear(self, event):
        """An event and the place behind it, in one transaction; one that was heard before changes nothing."""
        with self.open() as db:
            if db.execute("UPDATE cursor SET seq = ? WHERE seq < ?", (event["seq"],) * 2).rowcount == 0:
                return
            vm, at, payload = event["resource"], moment(event["createDate"]), event["payload"]
            db.execute("INSERT OR IGNORE INTO vm (uuid) VALUES (?)", (vm,))
            if event["name"] == "/vm/created":
                db.execute("UPDATE vm SET name = ?, account = ? WHERE uuid = ?",
                           (payload["name"], payload["accountUuid"], vm))
            elif event["name"] == "/vm/state/changed" and payload["state"] == "Running":
                db.execute("UPDATE vm SET since = coalesce(since, ?) WHERE uuid = ?", (at, vm))
            elif event["name"] != "/vm/state/changed" or payload["state"] not in PASSING:
                db.execute("UPDATE vm SET seconds = seconds + ? - since, since = NULL "
                           "WHERE uuid = ? AND since IS NOT NULL", (at, vm))
            if event["name"] == "/vm/expunged":
                db.execute("UPDATE vm SET gone = 1 WHERE uuid = ?", (vm,))

    def usage(self, account, vm):
        """Of one account, or of all; of one VM, or of all."""
        with self.open() as db:
            rows = db.execute("SELECT * FROM vm WHERE account IS NOT NULL AND (? IS NULL OR account = ?) "
                              "AND (? IS NULL OR uuid = ?) ORDER BY uuid", (account, account, vm, vm))
            now = int(time.time())
            vms = [{"uuid": row["uuid"], "name": row["name"], "accountUuid": row["account"],
                    "running": row["since"] is not None, "expunged": bool(row["gone"]),
                    "seconds": row["seconds"] + (max(0, now - row["since"]) if row["since"] else 0)}
                   for row in rows]
            gaps = db.execute("SELECT count(*) FROM gap").fetchone()[0]
            return {"vms": vms, "seq": db.execute("SELECT seq FROM cursor").fetchone()[0], "gaps": gaps}


class Follower(threading.Thread):
    """Hears the controller's events, for ever."""

    def __init__(self, controller, key, records):
        super().__init__(daemon=True)
        self.controller = urllib.parse.urlsplit(controller)
        self.key, self.records = key, records

    def run(self):
        while True:
            try:
                self.follow()
            except (OSError, http.client.HTTPException, ValueError, sqlite3.Error) as error:
                print("events:", error, flush=True)
            time.sleep(1)

    def signed(self, path):
        date = formatdate(usegmt=True)
        words = "\n".join(["GET", "", "", date, path])
        mac = hmac.new(self.key["AccessKeySecret"].encode(), words.encode(), hashlib.sha1)
        signature = base64.b64encode(mac.digest()).decode()
        return {"Date": date, "Authorization": f"ZStack {self.key['AccessKeyID']}:{signature}"}

    def follow(self):
        path = f"/zstack/v1/events?since={self.records.place()}&type=/vm/*"
        kind = http.client.HTTPSConnection if self.controller.scheme == "https" else http.client.HTTPConnection
        line = kind(self.controller.netloc, timeout=SILENCE)
        line.request("GET", path, headers=self.signed(path))
        answer = line.getresponse()
        if answer.status != 200:
            raise ValueError(f"{answer.status} {answer.read(2000)!r}")
        name, data = None, []
        for raw in answer:
            text = raw.decode().rstrip("\r\n")
            if text.startswith("event:"):
                name = text[6:].strip()
            elif text.startswith("data:"):
                data.append(text[5:].strip())
            elif not text and data:
                self.told(name, json.loads("\n".join(data)))
                name, data = None, []

    def told(self, name, what):
        if name == "gap":
            self.records.gap(what["since"], what["first"])
        else:
            self.records.hear(what)


class Door(http.server.BaseHTTPRequestHandler):
    """Answers what the controller passes on, and nobody else."""

    protocol_version = "HTTP/1.1"
    records = secret = None

    def do_GET(self):
        said = {name: self.headers.get(f"x-cumulet-{name}", "")
                for name in ("timestamp", "request", "account", "user", "admin")}
        if not self.vouched(said):
            return self.answer(401, {"error": "this was not signed by the controller, or too long ago"})
        parts = urllib.parse.urlsplit(self.path).path.strip("/").split("/")
        if parts[0] != "usage" or len(parts) > 2:
            return self.answer(404, {"error": "there are /usage and /usage/<vm>"})
        account = None if said["admin"] == "true" else said["account"]
        return self.answer(200, self.records.usage(account, parts[1] if len(parts) == 2 else None))

    def vouched(self, said):
        body = hashlib.sha256(b"").hexdigest()
        lines = "\n".join([self.command, self.path, *said.values(), body])
        good = "sha256=" + hmac.new(self.secret, lines.encode(), hashlib.sha256).hexdigest()
        fresh = said["timestamp"].isdigit() and abs(time.time() - int(said["timestamp"]) / 1000) < FRESH
        return hmac.compare_digest(good, self.headers.get("x-cumulet-signature", "")) and fresh

    def answer(self, status, what):
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("controller", "listen", "state", "access-key", "secret-file"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    with open(args.access_key, encoding="utf-8") as file:
        key = json.load(file)
    with open(args.secret_file, "rb") as file:
        Door.secret = file.read().strip()
    Door.records = Records(args.state)
    Follower(args.controller, key, Door.records).start()
    host, port = args.listen.rsplit(":", 1)
    http.server.ThreadingHTTPServer((host, int(port)), Door).serve_forever()


if __name__ == "__main__":
    main()
