"""Pages of a list by an opaque, signed mark that works only for the person, address and filters it was made for."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from django.core import signing
from django.db.models import Q, QuerySet
from rest_framework import serializers
from rest_framework.request import Request

from hospitals.errors import HospitalsError

PAGE_ROWS = 50
PAGE_ROWS_MAX = 200


class CursorInvalid(HospitalsError):
    code = "cursor_invalid"
    title = "This page mark does not fit"
    user_message = "Start again without a cursor. A mark works only for the list and the person it was made for."


def rows_wanted(request: Request) -> int:
    value = request.query_params.get("limit", "")
    return max(1, min(int(value), PAGE_ROWS_MAX)) if value.isascii() and value.isdigit() else PAGE_ROWS


def cursor_make(request: Request, place: list[Any]) -> str:
    return signing.dumps(place, salt=_salt(request), compress=True)


def cursor_read(request: Request) -> list[Any] | None:
    mark = request.query_params.get("cursor")
    if not mark:
        return None
    try:
        return signing.loads(mark, salt=_salt(request))
    except signing.BadSignature as error:
        raise CursorInvalid() from error


def page_of(
    request: Request, rows: QuerySet, *, at: str = "created_at", read: Callable[[QuerySet], Any] = lambda rows: rows
) -> tuple[list[Any], str | None]:
    """Newest first by (`at`, id); constant cost however deep, and no row twice while others are added.

    `read` turns the query into something sliceable whose rows carry `at` and `id`.
    """
    limit = rows_wanted(request)
    if place := cursor_read(request):
        when, key = datetime.fromisoformat(place[0]), place[1]
        rows = rows.filter(Q(**{f"{at}__lt": when}) | Q(**{at: when, "pk__lt": key}))
    found = list(read(rows.order_by(f"-{at}", "-pk"))[: limit + 1])
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], cursor_make(request, [getattr(last, at).isoformat(), str(last.id)])


def slice_of(request: Request, rows: list[Any], *, key: str = "id") -> tuple[list[Any], str | None]:
    """The same for rows that a selector has already put in order: goes on after the named row."""
    limit, start = rows_wanted(request), 0
    if place := cursor_read(request):
        keys = [str(getattr(row, key)) for row in rows]
        if place[0] not in keys:
            raise CursorInvalid()
        start = keys.index(place[0]) + 1
    found = rows[start : start + limit]
    more = start + limit < len(rows)
    return found, cursor_make(request, [str(getattr(found[-1], key))]) if more else None


@cache
def page_serializer(item: type[serializers.Serializer]) -> type[serializers.Serializer]:
    """The description of a page of `item` for the OpenAPI document."""
    name = item.__name__.removesuffix("Serializer")
    fields = {"results": item(many=True), "next": serializers.CharField(allow_null=True, help_text="Pass as `cursor`.")}
    return type(f"{name}PageSerializer", (serializers.Serializer,), fields)


def _salt(request: Request) -> str:
    filters = sorted((k, v) for k, v in request.query_params.lists() if k not in ("cursor", "limit"))
    return f"api.page:{request.user.pk}:{request.path}:{filters}"
