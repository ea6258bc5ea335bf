"""Where a web address leads: its parts, and the network addresses behind its host, which are checked before use.

An image's URL comes from a catalog, which may have come from anybody. Nothing in it may make a worker ask a machine
that only the worker can reach: its own services, its private network, the metadata service of its cloud.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
import threading
import time
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit

from catalog.storage.base import AddressRefusedError, TransientError
from catalog.storage.locations import redact

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_FIRST_FREE_PORT = 1024  # Below are the ports of mail, shells and directories, which must not be made to answer.
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"

# What a closed network may open for itself.
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
        *("::1/128", "fc00::/7"),
    )
)
# What never is a picture's: this host, link-local with the metadata services of most clouds, relays of other networks,
# multicast, reserved; and the metadata services that live elsewhere (Alibaba, Azure, Oracle, AWS and Google on IPv6).
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "64:ff9b:1::/48", "3fff::/20", "fe80::/10", "fec0::/10", "ff00::/8"),
        *("100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::/32", "fd20:ce::/32"),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class WebAddress:
    """The parts of an http(s) URL, as a request needs them.

    Attributes:
        scheme: `http` or `https`.
        host: name or IP address in lower case, IPv6 without brackets.
        port: of the server.
        target: path and query, percent-encoded.
        authorization: the header that user and password of the URL ask for.
        shown: the URL without secrets, for messages.
    """

    scheme: str
    host: str
    port: int
    target: str
    authorization: str | None
    shown: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def follow(self, location: str) -> WebAddress:
        """Where a redirect leads. User and password go along to the same server only.

        Raises:
            AddressRefusedError: to another scheme, or from https to http.
        """
        encoded = quote(location.strip().encode("latin-1", "replace"), safe=f"{_PATH_SAFE}?#[]")
        there = parse(urljoin(f"{self.scheme}://{self.host_header}{self.target}", encoded))
        if self.scheme == "https" and there.scheme == "http":
            raise AddressRefusedError(f"{self.shown} redirects from https to http")
        same = (self.scheme, self.host, self.port) == (there.scheme, there.host, there.port)
        authorization = self.authorization if same else None
        return WebAddress(there.scheme, there.host, there.port, there.target, authorization, there.shown)


def parse(url: str) -> WebAddress:
    """The parts of `url`. Raises AddressRefusedError for another scheme or an odd port, OSError where it is no URL."""
    shown = re.split(r"[?#]", redact(url), maxsplit=1)[0]  # Also of a redirect to a scheme whose names may hold them.
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme.lower(), parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii").lower()
    except ValueError:
        raise OSError(f"{shown} is not a valid web address") from None
    if scheme not in _DEFAULT_PORTS:
        raise AddressRefusedError(f"{shown} is not an http or https address")
    if "\\" in parts.netloc or not (_HOST.fullmatch(host) or _is_ipv6(host)):
        raise OSError(f"{shown} is not a valid web address")
    port = _DEFAULT_PORTS[scheme] if port is None else port
    if port not in _DEFAULT_PORTS.values() and port < _FIRST_FREE_PORT:
        raise AddressRefusedError(f"{shown}: port {port} is not a web server's; expected 80, 443 or 1024 and above")
    target = quote(parts.path or "/", safe=_PATH_SAFE)
    if parts.query:
        target += f"?{quote(parts.query, safe=f'{_PATH_SAFE}?')}"
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return WebAddress(scheme, host, port, target, authorization, shown)


class Resolver:
    """Host names to checked network addresses. Remembers answers for a while; thread-safe."""

    def __init__(self, allow_private: bool = False, seconds: float = 30.0) -> None:
        """
        Args:
            allow_private: whether private networks and this machine may be asked; the rest stays refused.
            seconds: how long an answer is used again.
        """
        self._allow_private = allow_private
        self._seconds = seconds
        self._known: dict[tuple[str, int], tuple[float, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def addresses(self, address: WebAddress) -> tuple[str, ...]:
        """The IP addresses of the server, as text, in the order to try them.

        Raises:
            AddressRefusedError: one of them at least may not be asked.
            TransientError: the name service does not answer.
            OSError: there is no such host.
        """
        key, now = (address.host, address.port), time.monotonic()
        with self._lock:
            if (known := self._known.get(key)) and known[0] > now:
                return known[1]
        found = _look_up(address)
        for ip in found:
            if not may_be_asked(ip, self._allow_private):
                raise AddressRefusedError(f"{address.shown} leads to {ip}, which is not a public address")
        with self._lock:
            if len(self._known) >= 1_000:
                self._known.clear()
            self._known[key] = (now + self._seconds, found)
        return found


def _look_up(address: WebAddress) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TransientError(f"{address.shown}: the name service does not answer") from None
        raise OSError(f"{address.shown}: the host is not known") from None
    except UnicodeError:
        raise OSError(f"{address.shown} is not a valid web address") from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def may_be_asked(address: str, allow_private: bool = False) -> bool:
    """Whether a connection to the IP address is allowed: it is a public one, and so is every address inside it."""
    return all(_is_allowed(ip, allow_private) for ip in _with_embedded(ipaddress.ip_address(address)))


def _with_embedded(ip: _IP) -> list[_IP]:
    """The address itself and the IPv4 address that it carries; that alone where only that is asked in the end."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    if ip.ipv4_mapped is not None:
        return [ip.ipv4_mapped]
    if ip in _NAT64:
        return [ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)]
    return [ip] if ip.sixtofour is None else [ip, ip.sixtofour]


def _is_allowed(ip: _IP, allow_private: bool) -> bool:
    if any(ip in network for network in _NEVER):
        return False
    if any(ip in network for network in _PRIVATE):
        return allow_private
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
