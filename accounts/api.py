from django.conf import settings
from django.contrib.auth import authenticate
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import devices, throttle
from accounts.auth import new_token
from accounts.serializers import LogInSerializer, SignUpSerializer, TokenSerializer, UserSerializer
from accounts.signup import EmailTaken, sign_up
from ticketbook.api.views import StrictView
from ticketbook.errors import Refusal


class Users(StrictView):
    permission_classes = [AllowAny]
    authentication_classes = []

    @extend_schema(summary="Sign up", request=SignUpSerializer, responses={201: UserSerializer})
    def post(self, request: Request) -> Response:
        body = SignUpSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        throttle.count(*throttle.by_address("sign-up", settings.SIGNUPS_PER_ADDRESS, request))
        try:
            user = sign_up(**body.validated_data)
        except EmailTaken as exc:
            raise ValidationError({"email": [str(exc)]}, code="unique") from exc
        devices.remember(request, user.email)
        return Response(UserSerializer(user).data, status=201)


class BadCredentials(Refusal):
    """The e-mail address or the password is not right."""

    code = "not_authenticated"
    status = 401


class Token(StrictView):
    def get_permissions(self) -> list[BasePermission]:
        return [AllowAny()] if self.request.method == "POST" else [IsAuthenticated()]

    def get_authenticators(self) -> list[BaseAuthentication]:
        # A client that logs in anew may still send its dead token.
        logging_in = self.request is not None and self.request.method == "POST"
        return [] if logging_in else super().get_authenticators()

    @extend_schema(summary="Log in", request=LogInSerializer, responses=TokenSerializer, auth=[])
    def post(self, request: Request) -> Response:
        body = LogInSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        user = authenticate(request, **body.validated_data)
        if user is None:
            raise BadCredentials
        token, expiry = new_token(user)
        data = {"token": token, "expiry": expiry, "userId": user.public_id}
        return Response(TokenSerializer(data).data)

    @extend_schema(summary="Log out: the token is dead afterwards", responses={204: None})
    def delete(self, request: Request) -> Response:
        request.auth.delete()
        return Response(status=204)
