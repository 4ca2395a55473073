from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest
from knox.models import AuthToken

from accounts.forms import StaffLogInForm
from accounts.models import User

HISTORY = (
    "bookings, refunds or changes in the back office. History outlives its author: "
    "deactivate the user instead."
)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


def _may_touch(request: HttpRequest, user: User | None) -> bool:
    """Superusers are touched by superusers only, or staff could become one of them."""
    return user is None or not user.is_superuser or _is_superuser(request)


class UserCreationForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name")


class SetPasswordForm(AdminPasswordChangeForm):
    """A user without a password has no API tokens either. (With a new one: passwords.EndsTokens.)"""

    @transaction.atomic
    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit)
        AuthToken.objects.filter(user=user).delete()
        return user


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    add_form = UserCreationForm
    change_password_form = SetPasswordForm
    list_display = ["email", "name", "is_staff", "date_joined"]
    list_filter = ["is_staff", "is_active"]
    search_fields = ["email", "name", "public_id"]
    ordering = ["email"]
    readonly_fields = ["public_id", "date_joined", "last_login"]
    for_superusers = ["is_superuser", "groups", "user_permissions"]
    fieldsets = [
        (None, {"fields": ["email", "password"]}),
        ("Person", {"fields": ["name", "public_id"]}),
        (
            "May",
            {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]},
        ),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [
        (
            None,
            {
                "classes": ["wide"],
                "fields": ["email", "name", "usable_password", "password1", "password2"],
            },
        ),
    ]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        return [*self.readonly_fields, *([] if _is_superuser(request) else self.for_superusers)]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        deleted, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        if protected or LogEntry.objects.filter(user__in=[user.pk for user in objs]).exists():
            # Django would say that a permission is missing, or delete what a member of staff has done.
            return deleted, counts, set(), [HISTORY]
        return deleted, counts, perms_needed, protected


class ForSuperusers:
    """A group gives its permissions to all who are in it, so it is for superusers to change."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)

    has_change_permission = has_delete_permission = has_add_permission


admin.site.login_form = StaffLogInForm
admin.site.unregister(Group)
admin.site.unregister(AuthToken)


@admin.register(Group)
class GroupAdmin(ForSuperusers, DjangoGroupAdmin):
    pass


@admin.register(AuthToken)
class AuthTokenAdmin(admin.ModelAdmin):
    """API tokens are listed, and revoked by deleting them. knox's own page makes and shows them."""

    list_display = ["user", "created", "expiry"]
    list_display_links = None
    list_select_related = ["user"]
    search_fields = ["user__email", "user__name"]
    ordering = ["-created"]
    fields = ["user", "created", "expiry"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuthToken | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuthToken | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj and obj.user)
