"""A naive reader of the App API for these tests; it shares no code with the connector."""

from collections.abc import Iterator
from typing import Any

import requests

EVERYBODY = {"filter": {"and": [{"attribute": {"field": "cio_id", "operator": "exists"}}]}}
NOW = 1794225600  # 2026-11-09 12:00 UTC, eight days after the end of US daylight saving time


class Client:
    """One session with the key of a sandbox."""

    def __init__(self, url: str, key: str = "sandbox-app-key") -> None:
        self.url = url + "/v1/"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {key}"

    def ask(self, path: str, body: Any = None, **params: Any) -> requests.Response:
        """Send one request; POST where there is a body."""
        method = "GET" if body is None else "POST"
        return self.session.request(method, self.url + path, params=params, json=body, timeout=30)

    def get(self, path: str, body: Any = None, **params: Any) -> dict[str, Any]:
        """Return the body of a 200."""
        response = self.ask(path, body, **params)
        assert response.status_code == 200, (path, response.status_code, response.text[:300])
        return response.json()

    def pages(self, path: str, body: Any = None, **params: Any) -> Iterator[dict[str, Any]]:
        """Follow `next` to the end; activities end with an empty page whatever it carries."""
        cursor: str | None = None
        while True:
            page = self.get(path, body, **params, **({"start": cursor} if cursor else {}))
            yield page
            cursor = page.get("next")
            if not cursor or page.get("activities", True) == []:
                return

    def walk(self, path: str, envelope: str, body: Any = None, **params: Any) -> list[Any]:
        """Return all items of a paged list."""
        return [item for page in self.pages(path, body, **params) for item in page[envelope] or ()]
