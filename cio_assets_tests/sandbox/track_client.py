"""A naive writer of the Track API for these tests; it shares no code with the connector."""

from typing import Any

import orjson
import requests

from cio_assets.sandbox import Sandbox

ULID = "01KDVQ4Y1S8Q0M7Z2T9V3W5X6Y"


class Track:
    """One session with the credentials of a sandbox."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = (box.site_id, box.track_key)

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> requests.Response:
        """Send one request to a path of either version."""
        return self.session.request(method, f"{self.box.url}{path}", json=body, params=params, timeout=30)

    def v1(self, method: str, path: str, body: Any = None, **params: Any) -> requests.Response:
        """Send one request of version 1, which must be accepted."""
        response = self.ask(method, f"/api/v1/{path}", body, **params)
        assert response.status_code in (200, 204), (path, response.status_code, response.text)
        return response

    def raw(self, body: bytes, path: str = "batch") -> requests.Response:
        """Send bytes to an endpoint of version 2."""
        headers = {"Content-Type": "application/json"}
        return self.session.post(f"{self.box.url}/api/v2/{path}", data=body, headers=headers, timeout=60)

    def batch(self, *operations: Any) -> requests.Response:
        """Send a batch as compact JSON."""
        return self.raw(orjson.dumps({"batch": operations}))

    def send(self, *operations: Any) -> None:
        """Send a batch that must be accepted as a whole."""
        response = self.batch(*operations)
        assert (response.status_code, response.json()) == (200, {}), response.text


def person(action: str, identity: str | dict[str, Any] = "u1", **rest: Any) -> dict[str, Any]:
    """Write an operation about a person, by id unless identifiers are given."""
    identifiers = {"id": identity} if isinstance(identity, str) else identity
    return {"type": "person", "action": action, "identifiers": identifiers, **rest}


def identify(identity: str | dict[str, Any] = "u1", /, **attributes: Any) -> dict[str, Any]:
    """Write an identify."""
    return person("identify", identity, attributes=attributes)


def thing(action: str, object_id: str = "acme", **rest: Any) -> dict[str, Any]:
    """Write an operation about an object of type 1."""
    identifiers = {"object_type_id": "1", "object_id": object_id}
    return {"type": "object", "action": action, "identifiers": identifiers, **rest}
