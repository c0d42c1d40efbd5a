"""nginx and haproxy, each from a configuration of its own in a temporary directory.

No privileges, no system configuration, no fixed port. Both stand before the servers of
`origin`; nginx serves files as well.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

BRIEF_MS = 200
# Where Debian puts modules; without this one nginx knows no brotli.
BROTLI = Path("/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so")

NGINX = """
{modules}
{user}
worker_processes 1;
daemon off;
pid {here}/nginx.pid;
error_log {here}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/octet-stream;
    types {{ text/plain txt; }}
    client_body_temp_path {here}/client;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    client_max_body_size 0;
    gzip on;
    gzip_min_length 100;
    gzip_types text/plain;
    gzip_proxied any;
    {brotli}
    upstream application {{ server unix:{application}; keepalive 8; }}
    upstream odd {{ server unix:{odd}; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_hide_header X-Connection;
    proxy_read_timeout 30s;
    add_header X-Connection $connection always;
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    {servers}
}}
"""

NGINX_SERVER = """
    server {{
        listen unix:{path};
        listen 127.0.0.1:{tcp};
        listen 127.0.0.1:{tls} ssl;
        keepalive_timeout {keep_alive_ms}ms;
        root {here}/files;
        location / {{ proxy_pass http://application; }}
        location /endless {{ proxy_pass http://application; proxy_buffering off; }}
        location /events {{ proxy_pass http://application; proxy_buffering off; }}
        location /mirror {{
            proxy_pass http://application;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
        location /odd/ {{ proxy_pass http://odd; }}
        location /delimited/ {{
            # A body without a length goes out as it came in: ended by the connection.
            chunked_transfer_encoding off;
            rewrite ^/delimited(/.*)$ $1 break;
            proxy_pass http://application;
        }}
        location /files/ {{ alias {here}/files/; }}
        location /few {{ keepalive_requests 3; alias {here}/files/plain.txt; }}
        location /down {{ proxy_pass http://unix:{here}/nobody.sock; }}
        location /moved/ {{ rewrite ^/moved/(.*)$ /$1 permanent; }}
    }}
"""

HAPROXY = """
global
    maxconn 500
    tune.ssl.default-dh-param 2048
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    option http-no-delay
    option http-server-close
    compression algo gzip
    compression type text/plain
{frontends}
backend application
    option prefer-last-server
    http-reuse always
    server one unix@{application}
backend odd
    server one unix@{odd}
backend down
    server one unix@{here}/nobody.sock
"""

HAPROXY_FRONTEND = """
frontend {name}
    bind {path} mode 600
    bind fd@{tcp}
    bind fd@{tls} ssl crt {certificate}
    timeout http-keep-alive {keep_alive_ms}ms
    tcp-request connection set-var(sess.number) uuid()
    http-response set-header X-Connection %[var(sess.number)]
    http-request return status 200 content-type text/plain string "native" if {{ path /native }}
    http-request redirect prefix https://elsewhere.invalid code 301 if {{ path_beg /moved/ }}
    http-request deny deny_status 429 if {{ path /denied }}
    use_backend odd if {{ path_beg /odd/ }}
    use_backend down if {{ path /down }}
    default_backend application
"""


class Proxy:
    """A running server of another maker."""

    name: ClassVar[str]

    def __init__(self, process: subprocess.Popen[bytes], where: dict[str, dict[str, Any]]) -> None:
        self.process = process
        self.where = where

    def reload(self) -> None:
        """Have it read its configuration again; old workers let go of their connections."""

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def binary(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed (Debian: apt install {name})")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def wait_for(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + 20
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            process.wait()
            said = log.read_text("utf-8", "replace") if log.exists() else "nothing"
            raise RuntimeError(f"the server did not start; it said: {said}")
        time.sleep(0.01)


class Nginx(Proxy):
    """nginx with one worker."""

    name = "nginx"

    @classmethod
    def start(cls, here: Path, certificate: Path, application: str, odd: str) -> Nginx:
        """`application` and `odd` are sockets of `origin`."""
        program = binary("nginx")
        files = here / "files"
        files.mkdir()
        (files / "plain.txt").write_bytes(b"a file of nginx\n" * 1000)
        (files / "empty.txt").write_bytes(b"")
        where: dict[str, dict[str, Any]] = {}
        servers = ""
        for name, keep_alive_ms in (("nginx", 30_000), ("nginx.brief", BRIEF_MS)):
            where[name] = {
                "unix": str(here / f"{name}.sock"),
                "tcp": free_port(),
                "tls": free_port(),
            }
            servers += NGINX_SERVER.format(
                here=here,
                path=where[name]["unix"],
                tcp=where[name]["tcp"],
                tls=where[name]["tls"],
                keep_alive_ms=keep_alive_ms,
            )
        user = ""
        if os.geteuid() == 0:
            # As root it would make its workers somebody else, who may not enter `here`.
            account = pwd.getpwuid(0)
            user = f"user {account.pw_name} {grp.getgrgid(account.pw_gid).gr_name};"
        configuration = here / "nginx.conf"
        configuration.write_text(
            NGINX.format(
                here=here,
                user=user,
                modules=f"load_module {BROTLI};" if BROTLI.exists() else "",
                brotli="brotli on; brotli_min_length 100; brotli_types text/plain;"
                if BROTLI.exists()
                else "",
                certificate=certificate,
                application=application,
                odd=odd,
                servers=servers,
            ),
            "utf-8",
        )
        log = here / "nginx.out"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [program, "-p", str(here), "-e", str(here / "error.log"), "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_for(process, lambda: answers(where["nginx.brief"]["unix"]), log)
        return cls(process, where)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


class Haproxy(Proxy):
    """haproxy as a master with one worker; its TCP ports are sockets it inherits."""

    name = "haproxy"

    @classmethod
    def start(cls, here: Path, certificate: Path, application: str, odd: str) -> Haproxy:
        program = binary("haproxy")
        where: dict[str, dict[str, Any]] = {}
        frontends = ""
        inherited: list[socket.socket] = []
        for name, keep_alive_ms in (("haproxy", 30_000), ("haproxy.brief", BRIEF_MS)):
            pair = [socket.socket(), socket.socket()]
            for sock in pair:
                sock.bind(("127.0.0.1", 0))
            inherited += pair
            where[name] = {
                "unix": str(here / f"{name}.sock"),
                "tcp": pair[0].getsockname()[1],
                "tls": pair[1].getsockname()[1],
            }
            frontends += HAPROXY_FRONTEND.format(
                name=name,
                path=where[name]["unix"],
                tcp=pair[0].fileno(),
                tls=pair[1].fileno(),
                certificate=certificate,
                keep_alive_ms=keep_alive_ms,
            )
        configuration = here / "haproxy.cfg"
        configuration.write_text(
            HAPROXY.format(here=here, application=application, odd=odd, frontends=frontends),
            "utf-8",
        )
        log = here / "haproxy.out"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [program, "-W", "-q", "-p", str(here / "haproxy.pid"), "-f", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=[sock.fileno() for sock in inherited],
            )
        for sock in inherited:
            sock.close()
        wait_for(process, lambda: answers(where["haproxy.brief"]["unix"]), log)
        return cls(process, where)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGUSR2)
