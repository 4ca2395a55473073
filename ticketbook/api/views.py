from collections.abc import Sequence
from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView


class StrictView(APIView):
    """Refuses query parameters that are unknown or repeated, so that none is lost in silence."""

    query: ClassVar[Sequence[OpenApiParameter]] = ()  # what a reading request may ask for

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        if request.GET:
            self._check_parameters(request)

    def _check_parameters(self, request: Request) -> None:
        reads = request.method in SAFE_METHODS
        known = {parameter.name for parameter in self.query} if reads else set()
        unknown = {
            name: ["This parameter is not known. Remove it."]
            for name in request.GET
            if name not in known
        }
        if unknown:
            raise ValidationError(unknown, code="unknown_parameter")
        # Readers of addresses differ in which of two values they take, so none is taken.
        repeated = {name: ["Send it once."] for name, sent in request.GET.lists() if len(sent) > 1}
        if repeated:
            raise ValidationError(repeated, code="repeated_parameter")
