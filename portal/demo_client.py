"""A person at the portal, over HTTP: what a browser sends, without a browser."""

import base64
import hmac
import re
import struct
import time

import httpx

FIELD = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
PERIOD_SECONDS = 30


def one_time_code(secret, now=None):
    """RFC 6238 with the usual parameters."""
    counter = struct.pack(">Q", int(now or time.time()) // PERIOD_SECONDS)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    offset = digest[-1] & 15
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


class SignInFailed(Exception):
    """The portal did not let this person in."""


class Visitor:
    """Nobody yet; `sign_in` makes it somebody."""

    def __init__(self, base_url):
        self.http = httpx.Client(base_url=base_url, timeout=60, trust_env=False, follow_redirects=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.http.close()

    def get(self, path, **options):
        return self.http.get(path, **options)

    def post(self, path, data=None, *, page=None, files=None):
        """Fill in the form that `page` shows (default: the same address) and send it."""
        match = FIELD.search(self.get(page or path).text)
        fields = {**(data or {}), **({"csrfmiddlewaretoken": match.group(1)} if match else {})}
        headers = {"Referer": str(self.http.base_url.join(page or path))}
        return self.http.post(path, data=fields, files=files, headers=headers)

    def call(self, method, path, **options):
        """The API with this person's session."""
        headers = {"X-CSRFToken": self.http.cookies.get("csrftoken", ""), "Accept": "application/json"}
        headers["Referer"] = str(self.http.base_url)
        return self.http.request(method, path, headers={**headers, **options.pop("headers", {})}, **options)

    def sign_in(self, account):
        answer = self.post("/accounts/login/", {"login": account["email"], "password": account["password"]})
        if "/2fa/authenticate" in str(answer.url):
            # A code works once, so a second sign-in within half a minute waits for the next one.
            for _ in range(2):
                code = one_time_code(account["secret"])
                answer = self.post("/accounts/2fa/authenticate/", {"code": code})
                if "/2fa/authenticate" not in str(answer.url):
                    break
                time.sleep(PERIOD_SECONDS - time.time() % PERIOD_SECONDS + 0.5)
        if "/accounts/login" in str(answer.url) or "/2fa/authenticate" in str(answer.url):
            raise SignInFailed(f"{account['email']}: {answer.status_code} at {answer.url.path}")
        return self


class Program:
    """A program with a personal access token."""

    def __init__(self, base_url, token):
        headers = {"Authorization": f"Token {token}", "Accept": "application/json"}
        self.http = httpx.Client(base_url=base_url, headers=headers, timeout=120, trust_env=False)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.http.close()
