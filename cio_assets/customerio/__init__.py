"""HTTP to Customer.io: calls, pages, retries, one request budget. Knows nothing of Dagster, SQL or settings."""

from .app_client import Answer, AppClient, Call, Page
from .errors import (
    AnswerInvalid,
    ClientClosed,
    CredentialsRefused,
    CustomerioError,
    LimiterUnavailable,
    NotFound,
    QuotaExhausted,
    RequestRefused,
    ServiceUnavailable,
)
from .hosts import base_url
from .overlap import overlap
from .paging import Paging, next_params
from .rate_limit import RateLimiter
from .retry import Decision, Outcome, decide
from .usage import Usage, UsageSnapshot

__all__ = [
    "Answer",
    "AnswerInvalid",
    "AppClient",
    "Call",
    "ClientClosed",
    "CredentialsRefused",
    "CustomerioError",
    "Decision",
    "LimiterUnavailable",
    "NotFound",
    "Outcome",
    "Page",
    "Paging",
    "QuotaExhausted",
    "RateLimiter",
    "RequestRefused",
    "ServiceUnavailable",
    "Usage",
    "UsageSnapshot",
    "base_url",
    "decide",
    "next_params",
    "overlap",
]
