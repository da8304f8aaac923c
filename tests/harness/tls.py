"""Certificates for tests: for 127.0.0.1 unless they are for a name, and self-signed unless another identity signs them."""

import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Identity:
    """A certificate and its key, as PEM."""

    def __init__(self, name, days=30, dns=None, signed_by=None):
        now = datetime.datetime.now(datetime.timezone.utc)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        for_whom = x509.DNSName(dns) if dns else x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = x509.SubjectAlternativeName([for_whom])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signed_by.subject if signed_by else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=365))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True)
            .sign(signed_by.private_key if signed_by else key, hashes.SHA256())
        )
        self.name = name
        self.subject = subject
        self.private_key = key
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        self.key = self._key_pem(serialization.NoEncryption())

    def encrypted_key(self, passphrase):
        return self._key_pem(serialization.BestAvailableEncryption(passphrase))

    def _key_pem(self, encryption):
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )

    def write(self, directory):
        """As tls.crt and tls.key."""
        (directory / "tls.crt").write_bytes(self.certificate)
        (directory / "tls.key").write_bytes(self.key)


def trusting(*identities):
    """A client's context that believes these, and nobody else."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=b"".join(i.certificate for i in identities).decode())
    return context
