"""To whom does the client speak, and whom does it trust?"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from support.bench import GET, OK, PARTNER, PASSWORD, Bench, Raw, bench_of, http
from ycsync.api import Tally, login, new_session
from ycsync.errors import ApiError, Transient
from ycsync.store.database import Database

# --- who is spoken to -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


async def test_a_certificate_that_is_not_trusted_is_said_clearly_and_a_ca_file_trusts_it(
    database: Database, certificate: tuple[Path, Path]
) -> None:
    key, cert = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with Raw(context=context).listening() as server:
        async with bench_of(database) as bench:
            with pytest.raises(Transient, match=r"certificate is not trusted .*yclients\.ca_file"):
                await bench.api(server.url).fetch(GET, Tally(), tries=1)
            with pytest.raises(Transient, match=r"certificate is not trusted .*yclients\.ca_file"):
                await login(bench.session, server.url, PARTNER, "user", PASSWORD, bench.limiter)
        assert server.requests == []
        async with bench_of(database, ca_file=str(cert)) as bench:
            assert (await bench.api(server.url).fetch(GET, Tally(), tries=1)).total == 1
            wrong_name = server.url.replace("localhost", "127.0.0.1")
            with pytest.raises(Transient, match="certificate is not trusted"):
                await bench.api(wrong_name).fetch(GET, Tally(), tries=1)


async def test_a_server_without_tls_is_not_called_an_untrusted_certificate(bench: Bench) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(http(b"speak HTTP", 400))
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Transient, match="base_url") as caught:
            await bench.api(f"https://localhost:{port}").fetch(GET, Tally(), tries=1)
        assert "trusted" not in str(caught.value)


async def test_a_ca_file_that_is_not_there_or_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("not a certificate")
    for name in ("absent.pem", "none.pem"):
        with pytest.raises(ApiError, match=r"yclients\.ca_file"):
            new_session(timeout_s=1, ca_file=str(tmp_path / name))


async def test_proxies_and_passwords_of_the_environment_are_ignored(
    database: Database, server: Raw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with bench_of(database) as bench:
        assert (await bench.api(server.url).fetch(GET, Tally(), tries=1)).total == 1
    assert b"Authorization: Bearer" in server.requests[0][1]


async def test_cookies_are_not_kept(bench: Bench, server: Raw) -> None:
    server.answers = [http(OK, 200, "Set-Cookie: session=1; Path=/")]
    for _ in range(2):
        await bench.api(server.url).fetch(GET, Tally(), tries=1)
    assert b"cookie" not in server.requests[1][1].lower()
