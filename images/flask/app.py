"""Say hello, and which host says so: behind a Service, each answer may come from another one."""

import os
import socket

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    """Greet whom GREET names."""
    return f"Hello {os.environ.get('GREET', 'World')}! I am {socket.gethostname()}.\n"


@app.get("/healthz")
def healthy() -> str:
    """Answer who asks whether the application works."""
    return "ok\n"


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=int(os.environ.get("PORT", "8080")))
