"""Asks the Track API for a workspace's region: the check of Track credentials (section 1 of customerio-api.md)."""

from dataclasses import dataclass

import requests

from .errors import AnswerInvalid, CredentialsRefused, ServiceUnavailable

PATH = "/api/v1/accounts/region"


@dataclass(frozen=True)
class Region:
    """`region` is `us` or `eu`; `environment_id` is the workspace's id."""

    region: str
    environment_id: int | None


def look_up_region(base_url: str, site_id: str, key: str, timeout: float = 15) -> Region:
    """The region of the workspace that site id and Track API key belong to; either region's host answers.

    Raises CredentialsRefused (401, 403), ServiceUnavailable (no answer, 5xx), AnswerInvalid (anything else).
    """
    try:
        answer = requests.get(base_url + PATH, auth=(site_id.strip(), key.strip()), timeout=timeout)
    except requests.RequestException as error:
        raise ServiceUnavailable(f"GET {PATH}: no answer from {base_url} ({type(error).__name__})") from None
    if answer.status_code in (401, 403):
        raise CredentialsRefused(
            "CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY were refused: copy both from Customer.io > Settings > "
            "Account settings > API credentials > Tracking API keys."
        )
    if answer.status_code >= 500:
        raise ServiceUnavailable(f"GET {PATH} was answered {answer.status_code}: try again later")
    try:
        body = answer.json()
        return Region(str(body["region"]).lower(), body.get("environment_id"))
    except (requests.JSONDecodeError, KeyError, TypeError):
        raise AnswerInvalid(f"GET {PATH} was answered {answer.status_code} without a region") from None
