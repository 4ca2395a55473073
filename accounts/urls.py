from django.urls import path

from accounts import api, views

app_name = "accounts"

urlpatterns = [
    path("signup/", views.SignUp.as_view(), name="signup"),
    path("login/", views.LogIn.as_view(), name="login"),
    path("logout/", views.LogOut.as_view(), name="logout"),
]

api_urlpatterns = [
    path("users", api.Users.as_view()),
    path("auth/token", api.Token.as_view()),
]
