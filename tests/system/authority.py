"""An authority whose certificates the viewers of a test believe, made with the openssl program: what operators of edges get from theirs."""

import base64
import hashlib
import os
import shutil
import ssl
import subprocess

SECTIONS = """[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[edge]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
"""


class Certificate:
    """Two files (PEM): a certificate and its key."""

    def __init__(self, folder, name):
        self.file, self.key = (os.path.join(folder, name + ending) for ending in (".pem", ".key"))

    @property
    def shown(self):
        """What a server with it shows in a handshake."""
        with open(self.file, encoding="ascii") as f:
            return ssl.PEM_cert_to_DER_cert(f.read())

    @property
    def pin(self):
        """Its key as Chromium is told of one that it has to believe."""
        public = subprocess.run(["openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER"], stdout=subprocess.PIPE, check=True).stdout
        return base64.b64encode(hashlib.sha256(public).digest()).decode()

    def take(self, file, key):
        """Becomes what those files hold: one after the other, each of them at once, as a renewal by certbot is seen."""
        for source, own in ((file, self.file), (key, self.key)):
            shutil.copyfile(source, own + ".new")
            os.replace(own + ".new", own)


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.sections = os.path.join(folder, "openssl.cnf")
        with open(self.sections, "w", encoding="ascii") as f:
            f.write(SECTIONS)
        self.own = self._make("authority", "-extensions", "authority")

    def issue(self, name, address):
        """A certificate with a key of its own, for a server at this IP address."""
        return self._make(name, "-extensions", "edge", "-addext", f"subjectAltName=IP:{address}", "-CA", self.own.file, "-CAkey", self.own.key)

    def _make(self, name, *words):
        made = Certificate(self.folder, name)
        done = subprocess.run(["openssl", "req", "-x509", "-config", self.sections, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                               "-days", "3", "-subj", f"/CN={name}", "-keyout", made.key, "-out", made.file, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"openssl: status {done.returncode}: {done.stdout}")
        return made
