"""Makes the requests of an S3 client fail, before the server applies them or, ambiguously, after."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber

_CODES = {
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    500: "InternalError",
    503: "SlowDown",
}


@dataclass(frozen=True)
class Fault:
    """``answer`` is a status, or "timeout"; ``when`` says whether the server applies the request first."""

    answer: int | Literal["timeout"]
    when: Literal["before", "after"]


def inject(client: Any, choose: Callable[[AWSPreparedRequest], Fault | None]) -> None:
    """From now on each request of ``client``, repetitions included, meets the fault ``choose`` gives it."""

    def send(event_name: str, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        fault = choose(request)
        if fault is None:
            return botocore_stubber(event_name, request)
        if fault.when == "after" and botocore_stubber(event_name, request) is None:
            client._endpoint.http_session.send(request)
        if fault.answer == "timeout":
            raise ReadTimeoutError(endpoint_url=request.url)
        body = f"<Error><Code>{_CODES[fault.answer]}</Code><Message>injected</Message></Error>"
        return AWSResponse(request.url, fault.answer, {}, MockRawResponse(body))

    # Every handler of the event is called, even once one has answered: moto's own would still apply the request.
    client.meta.events.unregister("before-send", botocore_stubber)
    client.meta.events.register("before-send.s3", send)
