from collections.abc import Sequence
from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView


class StrictView(APIView):
    """Refuses unknown query parameters, so that a misspelt one is not lost in silence."""

    query: ClassVar[Sequence[OpenApiParameter]] = ()  # what a reading request may ask for

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        if request.GET:
            self._refuse_unknown_parameters(request)

    def _refuse_unknown_parameters(self, request: Request) -> None:
        reads = request.method in SAFE_METHODS
        known = {parameter.name for parameter in self.query} if reads else set()
        unknown = {
            name: ["This parameter is not known. Remove it."]
            for name in request.GET
            if name not in known
        }
        if unknown:
            raise ValidationError(unknown, code="unknown_parameter")
