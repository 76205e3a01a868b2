"""No byte twice: what the registry's log and a relay before it show of pulls that need little."""

from __future__ import annotations

import http.client
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.image.interop.ours import Minicontainer
from tests.image.interop.relay import Relay, relay
from tests.image.interop.tools import BY_SKOPEO, PEERS, Tools
from tests.image.registry.web_server import Exchange, WebServer
from tests.registries import PASSWORD, USER, Registry

pytestmark = pytest.mark.requires(*PEERS)
Publishing = Callable[..., str]


@pytest.fixture
def between(plain: Registry) -> Iterator[Relay]:
    """Give a relay in front of the registry."""
    with relay(plain.address) as found:
        yield found


def test_a_second_pull_fetches_no_blob(
    publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> None:
    name = publish(plain, sample)
    with plain.watched() as first:
        ours.succeed("pull", name)
    assert len([request for request in first if request.is_blob_download]) == 3
    with plain.watched() as second:
        said = ours.succeed("pull", name)
    assert [request.method for request in second if request.path != "/v2/"] == ["HEAD"]
    assert "Image is up to date" in said


def test_layers_that_are_there_are_not_fetched_for_another_name(
    publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> None:
    first, second = publish(plain, sample), publish(plain, sample)
    ours.succeed("pull", first)
    with plain.watched() as requests:
        ours.succeed("pull", second)
    assert not [request for request in requests if request.is_blob_download]


def test_two_pulls_at_once_fetch_each_blob_once(
    publish: Publishing, plain: Registry, between: Relay, ours: Minicontainer, large: Path
) -> None:
    name = publish(plain, large).replace(plain.address, between.address)
    between.pause = 0.002
    argv = ours.argv("pull", "--quiet", name)
    pulls = [subprocess.Popen(argv, env=ours.environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [pull.wait(60) for pull in pulls] == [0, 0]
    fetched = [asked.path for asked in between.asked if asked.is_blob_download]
    assert len(fetched) == len(set(fetched)) == 5, "four layers and a configuration"
    assert not ours.problems()


@pytest.mark.parametrize("cut", [200_000, 1_500_000, 3_000_000])
def test_after_a_cut_a_pull_goes_on_where_it_was(
    cut: int,
    publish: Publishing,
    plain: Registry,
    between: Relay,
    ours: Minicontainer,
    large: Path,
) -> None:
    name = publish(plain, large).replace(plain.address, between.address)
    between.cut_after(cut)
    ours.succeed("pull", name)
    assert not ours.problems()
    downloads = [asked for asked in between.asked if asked.is_blob_download]
    ranges = [asked.headers["range"] for asked in downloads if "range" in asked.headers]
    assert len(downloads) == 5 + 1, "four layers, a configuration, and what was cut once more"
    assert len(ranges) == 1
    assert 0 < int(ranges[0].removeprefix("bytes=").partition("-")[0]) < cut


@pytest.mark.parametrize("any_registry", ["basic"], indirect=True)
def test_the_password_does_not_follow_a_redirect_to_another_host(
    tools: Tools,
    publish: Publishing,
    plain: Registry,
    any_registry: Registry,
    make_ours: Callable[..., Minicontainer],
    sample: Path,
) -> None:
    """The storage behind a registry is another host: `localhost` and not `127.0.0.1`, without a password."""
    name = publish(any_registry, sample)
    BY_SKOPEO(tools, plain, sample, name.replace(any_registry.address, plain.address))
    with relay(plain.address) as storage, WebServer() as front:
        front.answer = lambda exchange: redirect_downloads(
            exchange, any_registry, f"localhost:{storage.port}"
        )
        ours = make_ours()
        ours.succeed("login", "--username", USER, "--password", PASSWORD, front.name)
        ours.succeed("pull", name.replace(any_registry.address, front.name))
        assert not ours.problems()
        assert len([asked for asked in storage.asked if asked.is_blob_download]) == 3
        assert not [asked for asked in storage.asked if "authorization" in asked.headers]
    assert len([seen for seen in front.requests("GET", "/blobs/") if "authorization" in seen.headers]) == 3


def redirect_downloads(exchange: Exchange, registry: Registry, storage: str) -> None:
    """Send a client with the right password to the storage for blobs; answer the rest as the registry."""
    method, target, headers = exchange.seen.method, exchange.seen.target, dict(exchange.seen.headers)
    if method == "GET" and "/blobs/" in target and "authorization" in headers:
        exchange.reply(307, Location=f"http://{storage}{target}")
        return
    connection = http.client.HTTPConnection(registry.address, timeout=30)
    connection.request(method, target, headers=headers)
    answer = connection.getresponse()
    body, kept = answer.read(), {"Content-Type", "Docker-Content-Digest", "Www-Authenticate"}
    connection.close()
    length = answer.headers["Content-Length"]
    exchange.reply(
        answer.status,
        body,
        **{name: value for name, value in answer.headers.items() if name in kept},
        Content_Length=length,
    )
