"""A route's declaration, checked and precomputed once, when it is declared."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from shared.http.models import Reply
from shared.http.principal import Auth
from shared.http.rates import RATE_CLASSES
from shared.platform.errors import Fault
from shared.platform.ids import PREFIXES, pattern

Handler = Callable[..., Awaitable[Any]]
PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_PATH: Final = re.compile(r"^(/[a-z0-9._~:-]+|/\{[a-z_]+\})+$")
SAFE_METHODS: Final = frozenset({"GET"})


#: Methods of each path without placeholders. Such a path also fits a sibling with a placeholder (`/v1/things/{id}`), and
#: the platform hands a method that only the sibling has to the sibling.
LITERALS: Final[dict[str, set[str]]] = {}


class DeclarationError(TypeError):
    """A route is declared wrongly; found when the program starts, never by a caller."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route, complete. Everything else (trigger, checks, document, tests) follows from this."""

    name: str
    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    description: str
    auth: Auth
    permission: str | None
    resource: str | None
    narrowed: str | None
    organization: bool
    rate: str
    idempotent: bool
    in_batch: bool
    sealed: bool
    if_match: bool
    durable: bool
    form: bool
    status: int
    body_limit: int | None
    deprecated: bool
    problems: tuple[type[Fault], ...]
    body: type[BaseModel] | None
    body_required: bool
    query: type[BaseModel] | None
    query_lists: frozenset[str]
    placeholders: tuple[tuple[str, Any], ...]
    explicit_response: Any
    media_type: str
    answers: tuple[tuple[int, type[BaseModel]], ...]

    @property
    def path_model(self) -> type[BaseModel] | None:
        """The model of the path's placeholders; made when it is first asked for."""
        return _path_model(self.placeholders)

    @property
    def response(self) -> Any:
        """The model of the successful answer. Evaluated when it is asked for: pages are classes of their own, dear to make."""
        return _response(self.handler, self.explicit_response)

    @property
    def template(self) -> str:
        """The path as the Functions trigger takes it."""
        return self.path.removeprefix("/")

    @property
    def matcher(self) -> re.Pattern[str]:
        """A regular expression of the paths of this route."""
        parts = [f"(?P<{p[1:-1]}>[^/]+)" if p.startswith("{") else re.escape(p) for p in self.path[1:].split("/")]
        return re.compile("^/" + "/".join(parts) + "$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a declaration may say beside method and path.

    Attributes:
        auth: how the caller proves who it is.
        permission: what the caller must have (auth=USER). Mandatory unless `organization=False`.
        resource: the placeholder whose value is the thing that a permission may be limited to.
        narrowed: for a route about many things: the field of each that a permission may be limited to. Who may only some,
            or not some, gets the route with `call.visible`, by which `call.page` leaves the others out.
        organization: whether the route is about one organization; False for `/v1/me` and the like.
        rate: the rate class; usually `read` for GET, `write` for the rest, `agent`, `open` for anonymous ones.
        idempotent: POST only: `Idempotency-Key` is demanded and its reply is kept for 24 h.
        in_batch: all that an idempotent route does is one batch in the caller's organization, and its handler has the key
            written down in it (`call.keep`).
        sealed: the reply holds a secret: it is kept so that only the same `Idempotency-Key` opens it.
        if_match: whether `If-Match` is demanded; usually for PUT, PATCH and DELETE.
        durable: `call.durable` starts orchestrations.
        form: the body is a form, not JSON (OAuth's endpoints).
        status: the status of a plain answer; None becomes 204.
        body_limit: bytes, if other than the house limit.
        problems: refusals of the route's own, for the document. Those of the options above are known.
        response: the model of the answer where the handler's annotation is `Reply`.
        media_type: of the answer, where it is not JSON.
        answers: models of other statuses that the handler gives by itself (OAuth's refusals), for the document.
    """

    auth: Auth = Auth.USER
    permission: str | None = None
    resource: str | None = None
    narrowed: str | None = None
    organization: bool = True
    rate: str | None = None
    idempotent: bool = False
    in_batch: bool = False
    sealed: bool = False
    if_match: bool | None = None
    durable: bool = False
    form: bool = False
    status: int = 200
    body_limit: int | None = None
    deprecated: bool = False
    problems: Sequence[type[Fault]] = ()
    response: Any = None
    media_type: str = "application/json"
    answers: Mapping[int, type[BaseModel]] = field(default_factory=dict)


def declare(handler: Handler, method: str, path: str, tag: str, options: Options) -> Route:
    """Make the route of a handler.

    Raises:
        DeclarationError: the declaration contradicts itself or breaks a rule of the house; the text says which.
    """
    where = f"{method} {path} ({handler.__module__}.{handler.__name__})"
    placeholders = PLACEHOLDER.findall(path)
    if broken := _broken_rule(handler, method, path, placeholders, options):
        raise DeclarationError(f"{where}: {broken}")
    hints = _parameter_hints(handler)
    parameters = list(inspect.signature(handler).parameters.values())
    _check_parameters(where, path, [parameter.name for parameter in parameters], hints)
    query = _model(where, hints, "query")
    if not placeholders:
        LITERALS.setdefault(path, set()).add(method)
    summary, _, description = (inspect.getdoc(handler) or "").partition("\n")
    return Route(
        name=handler.__name__,
        method=method,
        path=path,
        handler=handler,
        tag=tag,
        summary=summary.rstrip("."),
        description=description.strip(),
        auth=options.auth,
        permission=options.permission,
        resource=options.resource,
        narrowed=options.narrowed,
        organization=options.organization and options.auth is Auth.USER,
        rate=options.rate or _usual_rate(method, options.auth),
        idempotent=options.idempotent,
        in_batch=options.in_batch,
        sealed=options.sealed,
        if_match=method in ("PUT", "PATCH", "DELETE") if options.if_match is None else options.if_match,
        durable=options.durable,
        form=options.form,
        status=options.status,
        body_limit=options.body_limit,
        deprecated=options.deprecated,
        problems=tuple(options.problems),
        body=_model(where, hints, "body"),
        body_required=_required(parameters),
        query=query,
        query_lists=_list_fields(query),
        placeholders=tuple((name, hints[name]) for name in placeholders),
        explicit_response=options.response,
        media_type=options.media_type,
        answers=tuple(options.answers.items()),
    )


def _broken_rule(handler: Handler, method: str, path: str, placeholders: list[str], options: Options) -> str | None:
    """The first rule that the declaration breaks, in words."""
    user, named = options.auth is Auth.USER, options.permission is not None
    rules = (
        (inspect.iscoroutinefunction(handler), "a handler is `async def`"),
        (_PATH.match(path), "paths are lower case, words with dashes, placeholders in braces"),
        (named or not (user and options.organization), "a route about an organization names its permission"),
        (user or not named, "only callers with auth=USER have permissions"),
        (options.resource in (None, *placeholders), f"resource={options.resource!r} is no placeholder of the path"),
        (
            not options.idempotent or (method == "POST" and options.auth is not Auth.ANONYMOUS),
            "Idempotency-Key is for POST by a known caller",
        ),
        (
            not options.in_batch or (options.idempotent and user and options.organization),
            "in_batch is for idempotent routes about one organization",
        ),
        (
            not options.sealed or (options.idempotent and not options.in_batch),
            "only a reply that is kept beside the directory's key (idempotent=True) can be sealed",
        ),
        ((options.rate or "read") in RATE_CLASSES, f"there is no rate class {options.rate!r}"),
        (inspect.getdoc(handler), "the docstring is the route's text in the API document"),
    )
    return next((text for holds, text in rules if not holds), None)


def _parameter_hints(handler: Handler) -> dict[str, Any]:
    """The types of the handler's parameters, evaluated; what it gives back is left alone."""
    annotations = {name: text for name, text in handler.__annotations__.items() if name != "return"}
    return get_type_hints(
        SimpleNamespace(__annotations__=annotations), getattr(handler, "__globals__", {}), include_extras=True
    )


def _check_parameters(where: str, path: str, names: list[str], hints: dict[str, Any]) -> None:
    if not names or names[0] not in ("call", "_call"):
        raise DeclarationError(f"{where}: the first parameter is `call: Call`")
    allowed = {names[0], "body", "query", *PLACEHOLDER.findall(path)}
    if wrong := [name for name in names if name not in allowed]:
        raise DeclarationError(f"{where}: {', '.join(wrong)}: parameters are call, body, query and the path's own")
    if missing := [name for name in PLACEHOLDER.findall(path) if name not in names]:
        raise DeclarationError(f"{where}: the handler lacks {', '.join(missing)}")
    if bare := [name for name in names if name not in hints and name != names[0]]:
        raise DeclarationError(f"{where}: {', '.join(bare)} has no annotation")


def _required(parameters: list[inspect.Parameter]) -> bool:
    return any(p.name == "body" and p.default is inspect.Parameter.empty for p in parameters)


def _model(where: str, hints: dict[str, Any], name: str) -> type[BaseModel] | None:
    model = hints.get(name)
    if model is None:
        return None
    members = [member for member in get_args(model) if member is not type(None)]
    model = members[0] if members and not (isinstance(model, type) and issubclass(model, BaseModel)) else model
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise DeclarationError(f"{where}: {name} is a pydantic model")
    if not model.__pydantic_root_model__ and model.model_config.get("extra") != "forbid":
        raise DeclarationError(f"{where}: {model.__name__} must refuse unknown fields (derive it from In)")
    return model


def _list_fields(query: type[BaseModel] | None) -> frozenset[str]:
    """Fields of a query model that take several values; the platform joins a repeated parameter with commas."""
    if query is None:
        return frozenset()
    found = set()
    for name, info in query.model_fields.items():
        members = (info.annotation, *get_args(info.annotation))
        if any(get_origin(member) in (list, tuple, set, frozenset) for member in members):
            found.add(name)
    return frozenset(found)


@cache
def _path_model(placeholders: tuple[tuple[str, Any], ...]) -> type[BaseModel] | None:
    """The model of a path's placeholders; one for all routes that have the same, for a model is dear to make."""
    if not placeholders:
        return None
    fields: dict[str, Any] = {}
    for name, annotation in placeholders:
        limits: dict[str, Any] = {"max_length": 255}
        if annotation in PREFIXES:
            limits["pattern"] = pattern(PREFIXES[annotation])
        elif not _is_text(annotation):
            limits = {}
        fields[name] = (annotation, Field(**limits))
    config = ConfigDict(extra="ignore", defer_build=True)
    return create_model("_".join((*fields, "path")), __config__=config, **fields)


def _is_text(annotation: Any) -> bool:
    annotation = getattr(annotation, "__supertype__", annotation)
    annotation = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return annotation is str


def _usual_rate(method: str, auth: Auth) -> str:
    if auth is Auth.AGENT:
        return "agent"
    if auth is Auth.ANONYMOUS:
        return "open"
    if auth is Auth.ADMIN:
        return "admin"
    return "read" if method in SAFE_METHODS else "write"


@cache
def _response(handler: Handler, explicit: Any) -> Any:
    """The model of the successful answer: `response=` if the handler gives a Reply, else its return annotation."""
    if explicit is not None:
        return explicit
    annotation = get_type_hints(handler, include_extras=True).get("return")
    if annotation is None or annotation is type(None):
        return None
    members = [m for m in get_args(annotation) if m not in (Reply, type(None))] if _is_union(annotation) else []
    if members:
        return members[0]
    return None if annotation is Reply else annotation


def _is_union(annotation: Any) -> bool:
    import types
    import typing

    return get_origin(annotation) in (typing.Union, types.UnionType)
