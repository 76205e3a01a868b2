"""References are read as Docker reads them: cases of github.com/distribution/reference, and round trips."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minicontainer.errors import SpecError
from minicontainer.image.reference import DEFAULT_DOMAIN, IDENTIFIER, Reference, parse

F64, D64 = f"sha256:{'f' * 64}", f"sha256:{'0123456789abcdef' * 4}"
F128 = f"sha512:{'f' * 128}"
HEX64 = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a"
LONG_PATH = "a/" * 127 + "a"  # 255 characters

RIGHT = [
    # text, domain, path, tag, digest, as people write it
    ("busybox", "docker.io", "library/busybox", "", "", "busybox"),
    ("busybox:1.36", "docker.io", "library/busybox", "1.36", "", "busybox:1.36"),
    (f"busybox@{F64}", "docker.io", "library/busybox", "", F64, f"busybox@{F64}"),
    (f"busybox:latest@{D64}", "docker.io", "library/busybox", "latest", D64, f"busybox:latest@{D64}"),
    ("library/ubuntu", "docker.io", "library/ubuntu", "", "", "ubuntu"),
    ("docker.io/ubuntu", "docker.io", "library/ubuntu", "", "", "ubuntu"),
    ("docker.io/library/ubuntu", "docker.io", "library/ubuntu", "", "", "ubuntu"),
    ("index.docker.io/ubuntu", "docker.io", "library/ubuntu", "", "", "ubuntu"),
    ("index.docker.io/library/ubuntu", "docker.io", "library/ubuntu", "", "", "ubuntu"),
    ("index.docker.io/fooo/bar", "docker.io", "fooo/bar", "", "", "fooo/bar"),
    ("fooo/bar", "docker.io", "fooo/bar", "", "", "fooo/bar"),
    ("library/foo/bar", "docker.io", "library/foo/bar", "", "", "library/foo/bar"),
    ("store/foo/bar", "docker.io", "store/foo/bar", "", "", "store/foo/bar"),
    ("other/library", "docker.io", "other/library", "", "", "other/library"),
    ("index.docker.io", "docker.io", "library/index.docker.io", "", "", "index.docker.io"),
    ("ubuntu-12.04-base", "docker.io", "library/ubuntu-12.04-base", "", "", "ubuntu-12.04-base"),
    ("test_com", "docker.io", "library/test_com", "", "", "test_com"),
    ("test_com/foo", "docker.io", "test_com/foo", "", "", "test_com/foo"),
    ("foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", "8080", "", "foo/foo_bar.com:8080"),
    ("lowercase:Uppercase", "docker.io", "library/lowercase", "Uppercase", "", "lowercase:Uppercase"),
    # one component is never a domain, whatever it looks like
    ("test.com:tag", "docker.io", "library/test.com", "tag", "", "test.com:tag"),
    ("test.com:5000", "docker.io", "library/test.com", "5000", "", "test.com:5000"),
    ("192.168.1.1", "docker.io", "library/192.168.1.1", "", "", "192.168.1.1"),
    ("192.168.0.1:80", "docker.io", "library/192.168.0.1", "80", "", "192.168.0.1:80"),
    ("foo_bar.com:8080", "docker.io", "library/foo_bar.com", "8080", "", "foo_bar.com:8080"),
    ("localhost", "docker.io", "library/localhost", "", "", "localhost"),
    ("localhost:5000", "docker.io", "library/localhost", "5000", "", "localhost:5000"),
    # the first of several is one if it has a dot, a colon or an upper-case letter, or is localhost
    ("test.com/repo:tag", "test.com", "repo", "tag", "", "test.com/repo:tag"),
    ("test:5000/repo", "test:5000", "repo", "", "", "test:5000/repo"),
    ("test:5000/repo:tag", "test:5000", "repo", "tag", "", "test:5000/repo:tag"),
    (f"test:5000/repo@{F64}", "test:5000", "repo", "", F64, f"test:5000/repo@{F64}"),
    (f"test:5000/repo:tag@{F64}", "test:5000", "repo", "tag", F64, f"test:5000/repo:tag@{F64}"),
    ("test-com:8080/foo", "test-com:8080", "foo", "", "", "test-com:8080/foo"),
    ("localhost/repo", "localhost", "repo", "", "", "localhost/repo"),
    ("localhost:5000/repo:1", "localhost:5000", "repo", "1", "", "localhost:5000/repo:1"),
    ("Foo/bar", "Foo", "bar", "", "", "Foo/bar"),
    ("DOCKER/docker", "DOCKER", "docker", "", "", "DOCKER/docker"),
    ("192.168.1.1/repo", "192.168.1.1", "repo", "", "", "192.168.1.1/repo"),
    ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", "5050", "", "192.168.1.1:5000/repo:5050"),
    ("127.0.0.1:8000/a/b", "127.0.0.1:8000", "a/b", "", "", "127.0.0.1:8000/a/b"),
    ("sub-dom1.foo.com/a/b/c:x-y", "sub-dom1.foo.com", "a/b/c", "x-y", "", "sub-dom1.foo.com/a/b/c:x-y"),
    ("b.gcr.io/t.example.com/my-app:t.c", "b.gcr.io", "t.example.com/my-app", "t.c", "",
     "b.gcr.io/t.example.com/my-app:t.c"),
    (f"xn--n3h.com/i:xn--n3h.com@{F128}", "xn--n3h.com", "i", "xn--n3h.com", F128,
     f"xn--n3h.com/i:xn--n3h.com@{F128}"),
    ("[::1]:5000/repo", "[::1]:5000", "repo", "", "", "[::1]:5000/repo"),
    ("[2001:db8::1]/repo", "[2001:db8::1]", "repo", "", "", "[2001:db8::1]/repo"),
    ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000", "repo", "tag", "", "[2001:db8::1]:5000/repo:tag"),
    ("[fc00:1:2:3:4:5:6:7]:5000/a/b", "[fc00:1:2:3:4:5:6:7]:5000", "a/b", "", "",
     "[fc00:1:2:3:4:5:6:7]:5000/a/b"),
    # lengths
    (f"x.y/{LONG_PATH}:t", "x.y", LONG_PATH, "t", "", f"x.y/{LONG_PATH}:t"),
    (f"busybox:{'t' * 128}", "docker.io", "library/busybox", "t" * 128, "", f"busybox:{'t' * 128}"),
    ("this" * 16, "docker.io", f"library/{'this' * 16}", "", "", "this" * 16),
    (HEX64[:63], "docker.io", f"library/{HEX64[:63]}", "", "", HEX64[:63]),
    # a name of 64 hexadecimal digits is an id, unless something says that it is a name
    (f"docker.io/{HEX64}", "docker.io", f"library/{HEX64}", "", "", f"library/{HEX64}"),
    (f"{HEX64}:1", "docker.io", f"library/{HEX64}", "1", "", f"library/{HEX64}:1"),
    # separators within a component
    ("docker---rules/docker", "docker.io", "docker---rules/docker", "", "", "docker---rules/docker"),
    ("dock__er/docker", "docker.io", "dock__er/docker", "", "", "dock__er/docker"),
    ("d/t", "docker.io", "d/t", "", "", "d/t"),
    # docker shortens these too, and then reads them as something else
    ("docker.io/localhost/x", "docker.io", "localhost/x", "", "", "docker.io/localhost/x"),
    ("docker.io/a.b/x:1", "docker.io", "a.b/x", "1", "", "docker.io/a.b/x:1"),
]  # fmt: skip

FORMAT = "invalid reference format"
LOWER = "must be lowercase"
LENGTH, UNSUPPORTED = "invalid checksum digest length", "unsupported digest algorithm"
WRONG = [
    ("", FORMAT), (":justtag", FORMAT), (f"@{F64}", FORMAT), (" busybox", FORMAT), ("busybox\n", FORMAT),
    ("busybox ", FORMAT), ("bu sybox", FORMAT), ("busybox:", FORMAT), ("busybox@", FORMAT),
    ("/busybox", FORMAT),
    ("busybox:-tag", FORMAT), ("busybox:.tag", FORMAT), ("busybox:t\u00e9", FORMAT), ("b\u00fcro", FORMAT),
    ("busybox:a:b", FORMAT), (f"busybox:{'t' * 129}", FORMAT), ("https://test.com/repo", FORMAT),
    ("aa/asdf$$^/aa", FORMAT), ("test.com/", FORMAT), ("docker/", FORMAT), ("a//b", FORMAT), ("a/b/", FORMAT),
    ("-docker", FORMAT), ("-docker/docker", FORMAT), ("docker-/docker", FORMAT), ("-docker.io/a/b", FORMAT),
    ("docker///docker", FORMAT), ("docker.io/docker///docker", FORMAT), ("____/____", FORMAT),
    ("_docker/_docker", FORMAT), ("dock..er/docker", FORMAT), ("dock_.er/docker", FORMAT),
    ("dock-.er/docker", FORMAT), ("dock___er/docker", FORMAT), ("docker/..", FORMAT), ("../etc", FORMAT),
    ("[2001:db8::1]", FORMAT), ("[2001:db8::1]:5000", FORMAT), ("[fc00::1]:tag", FORMAT),
    ("[fe80::1%eth0]:5000/repo", FORMAT), ("[fe80::1%@invalidzone]:5000/repo", FORMAT),
    ("fc00::1:5000/debian", FORMAT), ("[2001:db8:3:4::192.0.2.33]:5000/debian", FORMAT),
    ("test:port/repo", FORMAT), ("test:/repo", FORMAT), ("foo_bar.com/repo", FORMAT),
    (f"x.y/a{LONG_PATH}", "not be more than 255 characters"),
    (f"{'a_' * 140}a/docker", "not be more than 255 characters"),
    ("Uppercase:tag", LOWER), ("Busybox", LOWER), ("docker/Docker", LOWER),
    ("docker.io/docker/Docker", LOWER),
    ("test:5000/Uppercase/lowercase:tag", LOWER), (f"busybox@SHA256:{'f' * 64}", LOWER),
    ("repo@sha256:" + "f" * 34, LENGTH), ("repo@sha256:" + "f" * 65, LENGTH),
    (f"repo@sha512:{'f' * 64}", LENGTH),
    ("repo@sha256:" + "f" * 31, FORMAT), ("repo@sha256:../../../../etc/passwd", FORMAT),
    (f"repo@invaliddigest:{'f' * 64}", UNSUPPORTED), (f"repo@md5:{'f' * 32}", UNSUPPORTED),
    (f"repo@sha256+b64:{'f' * 64}", UNSUPPORTED),
    (f"repo@sha256:{'F' * 64}", "invalid checksum digest format"),
    (HEX64, f"invalid repository name ({HEX64}), cannot specify 64-byte hexadecimal strings"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "domain", "path", "tag", "digest", "familiar"), RIGHT, ids=[case[0][:60] for case in RIGHT]
)
def test_a_right_reference_is_read(
    text: str, domain: str, path: str, tag: str, digest: str, familiar: str
) -> None:
    reference = parse(text)
    assert reference == Reference(domain, path, tag, digest)
    assert reference.familiar() == familiar
    assert reference.name == f"{domain}/{path}"
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[case[0][:60] for case in WRONG])
def test_a_wrong_reference_is_refused_in_dockers_words(text: str, words: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse(text)
    assert words in str(raised.value)
    assert str(raised.value).startswith(("invalid reference format", "invalid repository name"))


@pytest.mark.requires("tool:skopeo")
@pytest.mark.parametrize("text", [text for text, _ in WRONG if text and text != "foo_bar.com/repo"])
def test_skopeo_refuses_the_same_without_asking_the_network(text: str) -> None:
    answer = subprocess.run(
        ["skopeo", "--command-timeout=5s", "inspect", f"docker://{text}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "parsing image name" in answer.stderr


def test_a_name_that_docker_takes_for_one_without_a_registry_is_refused() -> None:
    # Docker gives an empty domain for it and fails later: https:///v2/.
    with pytest.raises(SpecError, match="invalid reference format"):
        parse("foo_bar.com/repo")


def test_a_name_alone_gets_the_tag_latest() -> None:
    assert str(parse("busybox").with_default_tag()) == "docker.io/library/busybox:latest"
    assert str(parse("busybox:1").with_default_tag()) == "docker.io/library/busybox:1"
    assert str(parse(f"busybox@{F64}").with_default_tag()) == f"docker.io/library/busybox@{F64}"


def test_in_the_store_the_digest_wins_over_the_tag() -> None:
    assert parse("busybox").stored_name() == "docker.io/library/busybox:latest"
    assert parse(f"busybox:1.36@{F64}").stored_name() == f"docker.io/library/busybox@{F64}"


LABELS = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
HOSTS = st.one_of(
    st.lists(LABELS, min_size=2, max_size=4).map(".".join),
    st.just("localhost"),
    st.sampled_from(["[::1]", "[2001:db8::1]"]),
)
PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
DOMAINS = st.one_of(st.just(DEFAULT_DOMAIN), st.builds(lambda host, port: host + port, HOSTS, PORTS))
COMPONENTS = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
PATHS = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
TAGS = st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True))
DIGESTS = st.one_of(
    st.just(""), st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}"), st.just(F128)
)


def reference_of(domain: str, path: str, tag: str, digest: str) -> Reference:
    """Docker Hub has nothing outside of a folder, and no other name than docker.io."""
    domain = DEFAULT_DOMAIN if domain == "index.docker.io" else domain
    path = f"library/{path}" if domain == DEFAULT_DOMAIN and "/" not in path else path
    return Reference(domain, path, tag, digest)


REFERENCES = st.builds(reference_of, DOMAINS, PATHS, TAGS, DIGESTS)


@given(REFERENCES)
@example(Reference("docker.io", "localhost/x"))
@example(Reference("docker.io", f"library/{HEX64}"))
def test_what_a_reference_is_written_as_is_read_as_the_same_reference(reference: Reference) -> None:
    assert parse(str(reference)) == reference
    assert parse(reference.familiar()) == reference
    stored = parse(reference.stored_name())
    assert stored.stored_name() == reference.stored_name()
    assert (stored.name, stored.digest) == (reference.name, reference.digest)


@given(st.one_of(st.text(max_size=40), st.text("aZ0._-:/@[]%", max_size=60)))
def test_whatever_is_read_is_written_so_that_it_is_read_again(text: str) -> None:
    try:
        reference = parse(text)
    except SpecError:
        return
    assert parse(str(reference)) == reference
    assert parse(reference.familiar()) == reference
    assert not IDENTIFIER.fullmatch(reference.familiar())
