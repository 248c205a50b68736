"""What the campaign asks of the portal itself: `python -m tests.campaigns.processes.inside`, in its environment.

`ways` prints how to upload and, for the checker, each hospital's private key; `scrub` removes files that no row names.
"""

import json
import sys

import django


def ways():
    from cryptography.hazmat.primitives import serialization as form

    from bench.portal import doctor_with_token
    from hospitals import keyring
    from hospitals.models import Organisation
    from hospitals.tenancy import all_tenants

    token, path = doctor_with_token()
    wrap_keys = {}
    with all_tenants("tests"):
        for hospital in Organisation.objects.filter(kind="hospital").exclude(account_address=None):
            _, private = keyring._private(keyring.wrap_kid(hospital))
            plain = private.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption())
            wrap_keys[hospital.pk.hex] = plain.hex()
    return {"token": token, "path": path, "wrap_keys": wrap_keys}


def scrub():
    from records.sweeper import scrub_orphans

    return {"removed": len(scrub_orphans(older_than_seconds=0))}


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(json.dumps({"ways": ways, "scrub": scrub}[sys.argv[1]]()))
