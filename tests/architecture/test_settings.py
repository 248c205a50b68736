"""Every settings module loads; production refuses to start without its secrets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROD = {
    "PORTAL_SECRET_KEY": "only-for-this-test/" + "".join(chr(97 + place * 7 % 26) for place in range(45)),
    "PORTAL_HOSTS": "portal.example.org",
    "PORTAL_DATABASE_URL": "postgresql://portal:secret@db.example.org:5432/portal?sslmode=verify-full",
    "PORTAL_REDIS_URL": "rediss://redis.example.org:6379",
    **{f"PORTAL_{chain}_RPC_URL": f"https://{chain.lower()}.example.org" for chain in ("SUP", "MED")},
    "PORTAL_SUP_CHAIN_ID": "11155111",
    "PORTAL_MED_CHAIN_ID": "51001",
    "PORTAL_SUP_FINALITY": "tag",
    "PORTAL_MED_FINALITY": "instant",
    "PORTAL_COUNCIL_OFFICERS": ",".join(f"0x{number:040x}" for number in (1, 2, 3)),
}
SHOW = """
import json, sys
from importlib import import_module
module = import_module("portal.settings." + sys.argv[1])
print(json.dumps({name: repr(getattr(module, name)) for name in dir(module) if name.isupper()}))
"""


def load(name, tmp_path, **environment):
    environment = {"PORTAL_STATE": str(tmp_path), "PATH": "/usr/bin:/bin", **environment}
    command = [sys.executable, "-c", SHOW, name]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["base", "dev", "test"])
def test_loads_without_an_environment(name, tmp_path):
    result = load(name, tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["DEBUG"] == "False"


def test_prod_loads_with_its_environment(tmp_path):
    result = load("prod", tmp_path, **PROD)
    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)
    assert values["SESSION_COOKIE_NAME"] == "'__Host-session'"
    assert values["SESSION_COOKIE_SECURE"] == values["CSRF_COOKIE_SECURE"] == "True"
    assert int(values["SECURE_HSTS_SECONDS"]) >= 365 * 24 * 3600


@pytest.mark.parametrize("name", sorted(PROD))
def test_prod_has_no_default(name, tmp_path):
    result = load("prod", tmp_path, **{key: value for key, value in PROD.items() if key != name})
    assert result.returncode != 0
    assert name in result.stderr


def test_prod_reads_secrets_from_files(tmp_path):
    (tmp_path / "secret").write_text("f" * 60 + "\n")
    environment = {key: value for key, value in PROD.items() if key != "PORTAL_SECRET_KEY"}
    result = load("prod", tmp_path, PORTAL_SECRET_KEY_FILE=str(tmp_path / "secret"), **environment)
    assert json.loads(result.stdout)["SECRET_KEY"] == repr("f" * 60)


def test_an_unreadable_value_is_named(tmp_path):
    result = load("dev", tmp_path, PORTAL_WEB_PORT="eighty")
    assert "PORTAL_WEB_PORT must be a whole number" in result.stderr


def test_deploy_check_is_clean(tmp_path):
    environment = {"PORTAL_STATE": str(tmp_path), "PATH": "/usr/bin:/bin", **PROD}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    environment["DJANGO_SETTINGS_MODULE"] = "portal.settings.prod"
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_session_key_is_kept_and_private(tmp_path):
    first, second = (json.loads(load("dev", tmp_path).stdout)["SECRET_KEY"] for _ in range(2))
    assert first == second
    assert (tmp_path / "keys" / "session.key").stat().st_mode & 0o077 == 0
