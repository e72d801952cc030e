"""What can go wrong between this project and Customer.io, one class per thing the reader has to do.

`str(error)` is always safe to log: it names the method, the path TEMPLATE and the service's own words with personal
values masked (`masking.py`), never a key, an identifier or a query string.
"""


class CustomerioError(Exception):
    """Base of every error of this package.

    Attributes: `method` and `path` (the template) of the request, `status` (HTTP status, None where no answer came),
    `attempts` (requests sent for it) and `detail` (the service's own message, masked).
    """

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        path: str = "",
        status: int | None = None,
        attempts: int = 0,
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.method = method
        self.path = path
        self.status = status
        self.attempts = attempts
        self.detail = detail


class CredentialsRefused(CustomerioError):
    """401 or 403, or a key that cannot be one: check key, region, permission. Never retried."""


class NotFound(CustomerioError):
    """404: the object is gone or never was. For a child list: its parent vanished."""


class RequestRefused(CustomerioError):
    """Any other 4xx: the request itself is wrong and stays wrong however often it is sent."""


class ServiceUnavailable(CustomerioError):
    """The bounded retries are spent: no usable answer came. Try again later; a checkpoint resumes."""


class QuotaExhausted(CustomerioError):
    """429 without `Retry-After` that outlived the retries: a daily quota (section 2 of customerio-api.md)."""


class AnswerInvalid(CustomerioError):
    """The service answered, but not in the documented shape: rows would be lost without a word if this were ignored."""


class ClientClosed(CustomerioError):
    """The client was closed while this request waited for its turn or for a retry."""


class LimiterUnavailable(CustomerioError):
    """The rate limiter's files cannot be used, so no request may be sent: check the directory's rights and space."""
