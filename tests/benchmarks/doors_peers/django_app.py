"""The other peer: the same guarded create in Django REST framework under gunicorn, one synchronous worker.

`gunicorn tests.benchmarks.doors_peers.django_app:application`; MERIDIAN_BENCH_PEM and MERIDIAN_BENCH_ISSUER say whose tokens count.
"""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

import django
import jwt
from django.conf import settings

settings.configure(
    SECRET_KEY=uuid.uuid4().hex,
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    DATABASES={},
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "UNAUTHENTICATED_USER": None,
        "EXCEPTION_HANDLER": f"{__name__}.problem",
    },
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
)
django.setup()

from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import authentication, exceptions, permissions, serializers, throttling, views  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402

KEY = load_pem_public_key(os.environ["MERIDIAN_BENCH_PEM"].encode())
ISSUER = os.environ["MERIDIAN_BENCH_ISSUER"]


class Caller:
    is_authenticated = True

    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims, self.pk = claims, claims["sub"]
        self.permissions = {"servers.create"}


class Bearer(authentication.BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Caller, str] | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            return Caller(jwt.decode(token, KEY, algorithms=["ES256"], audience=ISSUER, issuer=ISSUER)), token  # type: ignore[arg-type]
        except jwt.InvalidTokenError as error:
            raise exceptions.AuthenticationFailed(str(error)) from None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class MayCreate(permissions.BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return request.user is not None and "servers.create" in request.user.permissions


class PerMinute(throttling.SimpleRateThrottle):
    """Counted in memory, as ours is; DRF's own throttle keeps a list of times, which would grow without end here."""

    rate = "1000000000/min"
    windows: dict[tuple[str, int], int] = {}  # noqa: RUF012

    def allow_request(self, request: Request, view: Any) -> bool:
        minute = int(time.time() // 60)
        claims = request.user.claims
        for who in (claims["client_id"], claims["org"], claims["sub"], self.get_ident(request)):
            count = self.windows.get((who, minute), 0) + 1
            self.windows[(who, minute)] = count
            if count > 10**9:
                return False
        return True


class PortSerializer(serializers.Serializer):  # type: ignore[type-arg]
    number = serializers.IntegerField(min_value=1, max_value=65535)
    protocol = serializers.ChoiceField(["tcp", "udp"], default="udp")


class ThingSerializer(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField(min_length=1, max_length=60)
    template = serializers.RegexField(r"^[a-z0-9-]+$", max_length=60)
    memory_mib = serializers.IntegerField(min_value=64, max_value=1_048_576)
    cpu_percent = serializers.IntegerField(min_value=1, max_value=12_800)
    disk_mib = serializers.IntegerField(min_value=64)
    ports = PortSerializer(many=True, max_length=20)
    variables = serializers.DictField(child=serializers.CharField())
    tags = serializers.ListField(child=serializers.CharField(), max_length=20)
    description = serializers.CharField(max_length=500, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if unknown := set(self.initial_data) - set(self.fields):
            raise serializers.ValidationError(dict.fromkeys(unknown, "unknown"))
        return attrs


def problem(error: Exception, context: dict[str, Any]) -> Response | None:
    status = getattr(error, "status_code", 500)
    body = {
        "type": "about:blank",
        "title": "refused",
        "status": status,
        "detail": str(error),
        "instance": context["request"].path,
    }
    return Response(body, status=status, content_type="application/problem+json")


class Guarded(views.APIView):
    authentication_classes = (Bearer,)
    permission_classes = (MayCreate,)
    throttle_classes = (PerMinute,)

    def post(self, request: Request) -> Response:
        body = ThingSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        id, data = f"srv_{uuid.uuid4().hex}", body.validated_data
        headers = {
            "ETag": '"1"',
            "Location": f"/v1/bench/{id}",
            "X-Request-Id": uuid.uuid4().hex,
            "Cache-Control": "no-store",
        }
        view = {"id": id, "name": data["name"], "memory_mib": data["memory_mib"], "ports": data["ports"]}
        return Response(view, status=201, headers=headers)


urlpatterns = [path("v1/bench/guarded", Guarded.as_view())]
application = get_wsgi_application()
