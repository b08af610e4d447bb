"""Addresses that the web server may bind to: which are loopback, and which ports are free."""

from __future__ import annotations

import ipaddress
import socket

from shared.errors import ConfigurationError


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def port_is_free(host: str, port: int) -> bool:
    """Return whether a server could bind to the port now."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: a port whose old connections are still fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError as error:
            raise ConfigurationError(
                f"Port {port} on {host} may not be used by this user. Choose one above 1023 "
                "with --port."
            ) from error
        except OSError:
            return False
        return True


def require_free_port(host: str, port: int) -> None:
    """Check that the port can be used.

    Raises:
        ConfigurationError: it is taken or not allowed, or there is no such address here.
    """
    try:
        free = port_is_free(host, port)
    except socket.gaierror as error:
        raise ConfigurationError(f"There is no address {host!r}: {error.strerror}.") from error
    if not free:
        raise ConfigurationError(
            f"Port {port} on {host} is taken by another program. Choose another with --port."
        )


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


def url_of(host: str, port: int) -> str:
    """Return the address that a browser on this machine uses."""
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
