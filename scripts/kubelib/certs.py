"""Keys and certificates of a cluster: one authority, the server's, and one for each client."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubelib.errors import KubeFailed

DAYS = 365
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path


class Authority:
    """The certificates of one folder; made at the first call, found again afterwards.

    Args:
        folder: Where they lie; only the user may read it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._pair = Pair(folder / "ca.crt", folder / "ca.key")
        if not self._pair.key.is_file():
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name("posetask-dev-ca")
            builder = _builder(name, name, key.public_key())
            builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
            self._write(self._pair, builder.sign(key, hashes.SHA256()), key)

    @property
    def certificate(self) -> Path:
        """Of the authority."""
        return self._pair.certificate

    def server(self, name: str, *addresses: str) -> Pair:
        """For a server on loopback and the further addresses."""
        names = [x509.DNSName(one) for one in NAMES]
        ips = [x509.IPAddress(ipaddress.ip_address(one)) for one in ("127.0.0.1", "::1", *addresses)]
        return self._issue(name, None, ExtendedKeyUsageOID.SERVER_AUTH, [*names, *ips])

    def client(self, name: str, group: str | None = None) -> Pair:
        """For a user of that name; the group ``system:masters`` may do everything."""
        return self._issue(name, group, ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def service_accounts(self) -> Path:
        """The key that signs and checks service-account tokens."""
        path = self.folder / "service-accounts.key"
        if not path.is_file():
            self._write_key(path, rsa.generate_private_key(65537, 2048))
        return path

    def _issue(
        self, name: str, group: str | None, use: x509.ObjectIdentifier, alternatives: list[x509.GeneralName]
    ) -> Pair:
        stem = name.replace(":", "_").replace("/", "_")
        pair = Pair(self.folder / f"{stem}.crt", self.folder / f"{stem}.key")
        if pair.key.is_file():
            return pair
        signer = serialization.load_pem_private_key(self._pair.key.read_bytes(), None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise KubeFailed(f"{self._pair.key} is not a key of ours; remove {self.folder} and start again")
        issuer = x509.load_pem_x509_certificate(self._pair.certificate.read_bytes()).subject
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name, group), issuer, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        self._write(pair, builder.sign(signer, hashes.SHA256()), key)
        return pair

    def _write(self, pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._write_key(pair.key, key)

    def _write_key(self, path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )


def _name(common: str, group: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if group is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(parts)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )
