"""The pages: home, registration, one user."""

import socket

from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render


def home(request: HttpRequest) -> HttpResponse:
    """Show who is there, and which host says so: with replicas, each answer may come from another one."""
    users = get_user_model().objects.order_by("username")
    return render(request, "home.html", {"users": users, "host": socket.gethostname()})


def register(request: HttpRequest) -> HttpResponse:
    """Make a new user, who is logged in at once."""
    form = UserCreationForm(request.POST or None)
    if form.is_valid():
        login(request, form.save())
        return redirect("home")
    return render(request, "form.html", {"form": form})


@login_required
def user(request: HttpRequest, name: str) -> HttpResponse:
    """Show a user to those who are logged in."""
    return render(request, "user.html", {"shown": get_object_or_404(get_user_model(), username=name)})


def healthy(_request: HttpRequest) -> HttpResponse:
    """Answer who asks whether the application works: its database does."""
    get_user_model().objects.exists()
    return HttpResponse("ok\n", content_type="text/plain")
