"""A notifier in Python: posts the title of each alert to `url`, and says so in its log. The label `do` has it make an
author's mistake instead.
"""

import json
from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import campanile_types_types as campanile
from wit_world.imports import logging, outgoing_handler, store
from wit_world.imports import wasi_http_types as http

SCHEMA = {
    "type": "object",
    "properties": {"url": {"type": "string"}},
    "required": ["url"],
    "additionalProperties": False,
}


# Futures of answers that nothing waits for.
forgotten = []


class Notifier(exports.Notifier):
    def describe(self) -> campanile.Description:
        return campanile.Description(
            name="notify-in-python",
            version="0.1.0",
            summary="Posts titles to a URL.",
            config_schema=json.dumps(SCHEMA),
            http=[],
            secrets=[],
        )

    def notify(self, delivery) -> campanile.Receipt:
        mistake = dict(delivery.alert.labels).get("do")
        if mistake == "raise":
            {}["channel"]
        answer = post(store.get("url"), json.dumps({"title": delivery.alert.title}).encode())
        if mistake == "forget":
            forgotten.append(answer)
            return campanile.Receipt(id=None, message="posted, probably")
        if mistake == "drop":
            return campanile.Receipt(id=None, message="posted, probably")
        status = status_of(answer)
        logging.log(logging.Level.INFO, "", f"{delivery.delivery_id}: {status}")
        if status >= 300:
            failure = campanile.Failure(f"http-{status}", "the other side refuses it", campanile.Retry_Never())
            raise Err(failure)
        return campanile.Receipt(id=None, message=f"posted, {status}")


def post(url: str, body: bytes) -> http.FutureIncomingResponse:
    parts = urlsplit(url)
    request = http.OutgoingRequest(http.Fields.from_list([("content-type", b"application/json")]))
    request.set_method(http.Method_Post())
    request.set_scheme(http.Scheme_Https() if parts.scheme == "https" else http.Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path)
    outgoing = request.body()
    answer = outgoing_handler.handle(request, None)
    with outgoing.write() as stream:
        stream.blocking_write_and_flush(body)
    http.OutgoingBody.finish(outgoing, None)
    return answer


def status_of(answer: http.FutureIncomingResponse) -> int:
    with answer.subscribe() as ready:
        ready.block()
    # Whether it was not taken before; whether it came; what came.
    return answer.get().value.value.status()
