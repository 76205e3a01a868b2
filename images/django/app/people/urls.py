"""Which page each address shows."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from people import views

urlpatterns = [
    path("", views.home, name="home"),
    path("register/", views.register, name="register"),
    path("login/", LoginView.as_view(template_name="form.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("users/<str:name>/", views.user, name="user"),
    path("healthz", views.healthy),
]
