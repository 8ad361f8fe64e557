"""What GitHub and GitLab do with comments, on loopback: as much of it as the recipes for CI use."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "s3cret"
GITHUB_BOT = "github-actions[bot]"
GITLAB_BOT = 4711
LONGEST_BODY = 65_536

_COLLECTION = re.compile(r"/repos/net/lb/issues/7/comments|/projects/1/merge_requests/7/notes")
_ITEM = re.compile(rf"(?:/repos/net/lb/issues/comments|{_COLLECTION.pattern})/(\d+)")
_PULL = "/repos/net/lb/pulls/7"


@dataclass
class Comment:
    """One comment; only who wrote it and what it says counts."""

    id: int
    author: str | int
    body: str | None

    def document(self) -> dict[str, Any]:
        """As either forge shows it."""
        whose = {"user": {"login": self.author}, "author": {"id": self.author}}
        return {"id": self.id, "body": self.body, "html_url": f"#{self.id}", **whose}


@dataclass
class Forge:
    """Pull request 7 of repository net/lb, and merge request 7 of project 1."""

    url: str = ""
    head_sha: str = ""
    head_repository: str | None = "fork/lb"
    comments: list[Comment] = field(default_factory=list)

    def say(self, author: str | int, body: str | None) -> Comment:
        """Add a comment."""
        self.comments.append(Comment(len(self.comments) + 1, author, body))
        return self.comments[-1]

    @property
    def bodies(self) -> list[str | None]:
        """Return what the comments say."""
        return [comment.body for comment in self.comments]

    def answer(self, method: str, target: str, bot: str | int, body: str) -> tuple[int, object]:
        """Return status and document."""
        url = urlsplit(target)
        if len(body) > LONGEST_BODY:
            return 422, {"message": "Validation Failed"}
        if (method, url.path) == ("GET", "/user"):
            return 200, {"id": GITLAB_BOT}
        if (method, url.path) == ("GET", _PULL):
            repository = self.head_repository and {"full_name": self.head_repository}
            return 200, {"head": {"sha": self.head_sha, "repo": repository}}
        if _COLLECTION.fullmatch(url.path):
            if method == "POST":
                return 201, self.say(bot, body).document()
            return 200, self._page(parse_qs(url.query))
        item = _ITEM.fullmatch(url.path)
        if item and method == ("PATCH" if "/repos/" in url.path else "PUT"):
            comment = self.comments[int(item[1]) - 1]
            comment.body = body
            return 200, comment.document()
        return 404, {"message": "Not Found"}

    def _page(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        size, number = int(query["per_page"][0]), int(query["page"][0])
        start = (number - 1) * size
        return [comment.document() for comment in self.comments[start : start + size]]


@contextmanager
def forge() -> Iterator[Forge]:
    """Serve a forge's API on loopback, to whoever has TOKEN."""
    served = Forge()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(served: Forge) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        do_POST = do_PATCH = do_PUT = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(sent)["body"] if sent else ""
            status, document = self._answer_to(body)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _answer_to(self, body: str) -> tuple[int, object]:
            bot = self._bot()
            if bot is None:
                return 401, {"message": "Bad credentials"}
            return served.answer(self.command, self.path, bot, body)

        def _bot(self) -> str | int | None:
            """Return whose the token is."""
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                return GITHUB_BOT
            return GITLAB_BOT if self.headers.get("PRIVATE-TOKEN") == TOKEN else None

    return Handler
