"""The one error a handler raises; the app turns it into the documented body."""


class ApiError(Exception):
    """An answer other than 200. `fault_of_client` decides whether it is recorded as a violation."""

    def __init__(self, status: int, detail: str, fault_of_client: bool = True, headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.fault_of_client = fault_of_client
        self.headers = headers or {}


def gone(what: str) -> ApiError:
    """Answer 404 for an object that is not (or no longer) there, which no client can be blamed for."""
    return ApiError(404, f"{what} not found", fault_of_client=False)
