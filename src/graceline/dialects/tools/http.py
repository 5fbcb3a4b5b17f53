"""The tool `http`: requests over httpx, as long as the step has time, and no longer.

A request has no timeout of its own: the step's limit cancels it. What is left of that limit is told
to the other side, in the deadline header, anew for each redirect.

Addresses hold secrets: a password, a key in the query. Messages and answers go into journals and
outputs, so they show of an address what `_shown` leaves of it.
"""

from __future__ import annotations

import codecs
import json as jsons
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ssl import SSLContext
from typing import Any, ClassVar

import httpx
import trio

from graceline.definitions.checks import brief
from graceline.dialects.tools.actions import Actions, check_text
from graceline.dialects.tools.arguments import Wrong
from graceline.dialects.tools.http_parameters import wrong_parameters
from graceline.dialects.tools.results import ToolFailedError, ToolRefusedError
from graceline.engine import outgoing_headers, remaining
from graceline.errors import DeadlineSpentError

__all__ = ["Http"]

_MAX_SIZE = 10 << 20
_MAX_REDIRECTS = 5
_NO_CHARSETS = frozenset(("punycode", "raw-unicode-escape", "unicode-escape"))
"""Codecs of Python's for other things; one takes a time that grows with the square of a length."""
_NO_SECRETS = frozenset(
    (
        "accept", "accept-encoding", "accept-language", "content-length", "content-type", "host",
        "transfer-encoding", "user-agent",
    )
)  # fmt: skip
"""Headers of a step that follow a redirect to another origin: of them httpx sets `host` anew."""
_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


class Http(Actions):
    """Makes requests; an answer that is no success makes the step fail.

    Args:
        max_size: bytes of an answer, decompressed; a step can ask for less.
    """

    name: ClassVar[str] = "http"
    actions: ClassVar[dict[str, str]] = {
        "fetch": "request",
        "request": "request",
        **dict.fromkeys(_METHODS, "request"),
    }
    otherwise: ClassVar[str] = "request"

    def __init__(self, *, max_size: int = _MAX_SIZE) -> None:
        self._max_size = max_size
        self._context: SSLContext | None = None

    async def __call__(self, *, action: str | None = None, parameters: Mapping[str, Any]) -> Any:
        """Make a request; an action may be its method."""
        if action in _METHODS:
            stated = parameters.get("method", action)
            if not isinstance(stated, str) or stated.lower() != action:
                raise ToolRefusedError(f"http, {action}: method= says {brief(stated)}")
            action, parameters = "request", {**parameters, "method": action}
        return await super().__call__(action=action, parameters=parameters)

    def check_call(self, *, action: str | None, parameters: Mapping[str, Any]) -> Iterator[Wrong]:
        """What is wrong with a call: its method included, where it stands in the file."""
        yield from self._wrong(action, parameters)
        method = parameters.get("method")
        if not isinstance(method, str):
            return
        if method.lower() not in _METHODS:
            yield ("parameters", "method"), _no_method(method)
        elif action in _METHODS and method.lower() != action:
            yield ("parameters", "method"), f"http, {action}: method= says {brief(method)}"

    async def request(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Mapping[str, Any] | None = None,
        body: str | None = None,
        ok_codes: Sequence[int] = (),
        max_size: int | None = None,
        follow_redirects: bool = True,  # noqa: FBT001, FBT002 - it is called by names
    ) -> dict[str, Any]:
        """Make a request and read its answer.

        Args:
            url: of `http` or `https`.
            method: get, post, put, patch, delete, head or options.
            headers: of the request; a redirect to another origin gets none that may be a secret.
            params: the query.
            json: what is sent as JSON.
            data: what is sent as a form.
            body: what is sent as text.
            ok_codes: codes that count as success besides 200 to 299.
            max_size: bytes of the answer, at most those of the tool.
            follow_redirects: up to five of them.

        Returns:
            `success`, `status_code`, `url` (that of the last redirect, without user, password,
            query and fragment), `headers`, `text`, `json` (None if it is not JSON), and `error` if
            it is no success.

        Raises:
            ToolRefusedError: for parameters that make no request.
            ToolFailedError: if there is no answer, or if it is too large.
            DeadlineSpentError: if no time is left.
        """
        verb = check_text(method, "http, method=").upper()
        if verb.lower() not in _METHODS:
            raise ToolRefusedError(_no_method(method))
        limit = self._max_size if max_size is None else min(max_size, self._max_size)
        address = _address(url)
        async with await self._client() as client:
            try:
                request = client.build_request(
                    verb, address, headers=headers, params=params, json=json, data=data,
                    content=body,
                )  # fmt: skip
            except (TypeError, ValueError, AttributeError, httpx.InvalidURL) as error:
                raise ToolRefusedError(f"http: {verb} {_shown(address)}: {error}") from error
            try:
                response = await _sent(client, request, headers or {}, follow=follow_redirects)
                try:
                    content = await _body(response, limit)
                finally:
                    with trio.CancelScope(shield=True):
                        await response.aclose()
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                own = _own_words(error)
                said = own or str(error) or type(error).__name__
                cause = None if own else error
                raise ToolFailedError(f"http: {verb} {_shown(address)}: {said}") from cause
        return _answer(verb, response, content, ok_codes)

    def _wrong(self, action: str | None, parameters: Mapping[str, Any]) -> Iterator[Wrong]:
        yield from super()._wrong(action, parameters)
        yield from wrong_parameters(parameters)

    async def _client(self) -> httpx.AsyncClient:
        if self._context is None:  # it reads all the certificates: not in the event loop
            self._context = await trio.to_thread.run_sync(
                httpx.create_ssl_context, abandon_on_cancel=True
            )
        return httpx.AsyncClient(
            event_hooks={"request": [_add_deadline]},
            timeout=None,  # noqa: S113 - the step's limit cancels it
            verify=self._context,
        )


def _no_method(method: str) -> str:
    return f"http: {brief(method)} is none of {', '.join(_METHODS)}"


async def _add_deadline(request: httpx.Request) -> None:
    """Tell what is left; a call that cleanup makes is made without it."""
    try:
        request.headers.update(outgoing_headers())
    except DeadlineSpentError:
        if remaining() <= 0.0:
            raise


async def _sent(
    client: httpx.AsyncClient, request: httpx.Request, own: Iterable[str], *, follow: bool
) -> httpx.Response:
    """The answer to a request, its body unread; behind redirects, whose bodies are never read."""
    for _ in range(1 + _MAX_REDIRECTS):
        response = await client.send(request, stream=True)
        following = response.next_request if follow else None
        if following is None:
            return response
        with trio.CancelScope(shield=True):
            await response.aclose()
        if not _trusted(request.url, following.url):
            for name in own:
                if name.lower() not in _NO_SECRETS:
                    following.headers.pop(name, None)
        request = following
    raise httpx.TooManyRedirects(f"more than {_MAX_REDIRECTS} redirects", request=request)


def _trusted(before: httpx.URL, behind: httpx.URL) -> bool:
    """Whether a redirect stays where it was, or only goes from `http` to `https` there."""
    if before.host != behind.host or before.port != behind.port:  # None for a scheme's own port
        return False
    return before.scheme == behind.scheme or (
        before.port is None and (before.scheme, behind.scheme) == ("http", "https")
    )


def _address(url: object) -> httpx.URL:
    """The address of a request."""
    text = check_text(url, "http, url=")
    try:
        address = httpx.URL(text)
    except httpx.InvalidURL:
        # What it complains of, such as a port, may be a password that stands in a wrong place.
        raise ToolRefusedError(
            "http: url= is no address, which looks like 'https://example.org/'"
        ) from None
    if address.scheme not in ("http", "https") or not address.host:
        what = brief(_shown(address)) if address.host or text.startswith("/") else "url="
        raise ToolRefusedError(
            f"http: {what} is no address of http or https, such as 'https://example.org/'"
        )
    return address


def _shown(address: httpx.URL) -> str:
    """What of an address may be seen by everybody: neither user, password, query nor fragment."""
    return str(address.copy_with(userinfo=b"", query=None, fragment=None))


def _own_words(error: Exception) -> str:
    """What is said in place of an error that may quote an address or a header; empty for others."""
    if isinstance(error, httpx.LocalProtocolError):
        return "the request breaks the rules of HTTP, such as by a header with an end of line"
    if isinstance(error, httpx.InvalidURL) or isinstance(error.__context__, httpx.InvalidURL):
        return "it redirects to what is no address"
    return ""


async def _body(response: httpx.Response, limit: int) -> bytes:
    """What a response holds, decompressed, unless it is more than the limit."""
    content = bytearray()
    cut = False
    try:
        async for chunk in response.aiter_bytes():
            if cut:
                continue  # what had come before the connection was closed
            content += chunk
            if len(content) > limit:
                # Closed, and iterated on to the error that follows: httpx's generators, of which
                # there are many inside one another, end by being exhausted.
                cut = True
                await response.aclose()
    except httpx.HTTPError:
        if not cut:
            raise
    if cut:
        raise ToolFailedError(
            f"http: {_shown(response.url)} answers with more than {limit} bytes, "
            "and no more are read"
        )
    return bytes(content)


def _answer(
    verb: str, response: httpx.Response, content: bytes, ok_codes: Sequence[int]
) -> dict[str, Any]:
    """An answer as the mapping that templates see."""
    text = content.decode(_charset(response), "replace")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    success = response.is_success or response.status_code in ok_codes
    answer: dict[str, Any] = {
        "success": success,
        "status_code": response.status_code,
        "url": _shown(response.url),
        "headers": dict(response.headers),
        "text": text,
        "json": _parsed(text) if kind == "application/json" or kind.endswith("+json") else None,
    }
    if not success:
        said = f"{response.status_code} {response.reason_phrase}".strip()
        answer["error"] = f"http: {verb} {_shown(response.url)} answers {said}"
    return answer


def _charset(response: httpx.Response) -> str:
    """The charset that a response states, if it is one that texts are sent in."""
    stated = response.charset_encoding or "utf-8"
    try:
        b" ".decode(stated, "replace")
        known = codecs.lookup(stated).name
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if known in _NO_CHARSETS else known


def _parsed(text: str) -> Any:
    try:
        return jsons.loads(text)
    except (ValueError, RecursionError):
        return None
