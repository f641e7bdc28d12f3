"""TLS of the host: its own certificate, and callers' certificates if an authority is given.

App Service forwards *any* client certificate and leaves the check to the app; Python's TLS refuses one of a foreign
authority in the handshake. An app's own check must therefore be tested by calling the function, not through this socket.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from local.common.errors import StartError


def server_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, with an optional certificate of the caller.

    Raises:
        StartError: a file is missing or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path, option in ((certificate, "--tls-cert"), (key, "--tls-key"), (client_ca, "--client-ca")):
        if path is not None and not path.is_file():
            raise StartError(f"{path} does not exist; give a PEM file with {option}")
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"{certificate} and {key} are not a certificate chain and its key in PEM ({error})") from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (ssl.SSLError, OSError) as error:
            raise StartError(f"{client_ca} holds no certificate authority in PEM ({error})") from error
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _no_password() -> str:
    raise ssl.SSLError("the key is protected by a password; give one without")
