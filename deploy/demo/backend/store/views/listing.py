"""What lists have in common."""

from rest_framework.exceptions import ValidationError

LIMIT = 200  # rows of an answer, unless ?limit= asks for another number
MOST = 1000


def number(request, name):
    """A whole number from the query string, or None."""
    text = request.query_params.get(name)
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValidationError({name: "A whole number, please."})
    return int(text)


def limited(queryset, request):
    return queryset[: min(number(request, "limit") or LIMIT, MOST)]


def filtered(queryset, request, **columns):
    """Narrows by those parameters of the query string that are there: limit(…, status="status", unit="unit_id")."""
    for parameter, column in columns.items():
        if value := request.query_params.get(parameter):
            queryset = queryset.filter(**{column: number(request, parameter) if column.endswith("_id") else value})
    return queryset
