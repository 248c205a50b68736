"""Tags and filters of the page components in templates/components."""

import hashlib
from datetime import date, datetime, timedelta
from typing import Any

from django import forms, template
from django.conf import settings
from django.template.defaultfilters import date as format_date
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal import look, navigation

register = template.Library()


@register.simple_tag
def status(domain: str, state: str, n: Any = "", m: Any = "") -> look.Look:
    return look.status_look(domain, state, n, m)


@register.simple_tag
def proof_look(state: str) -> dict:
    found = look.PROOFS.get(str(state), look.PROOFS["unknown"])
    return {"kind": found.kind, "icon": found.icon, "title": found.label}


@register.simple_tag(takes_context=True)
def menu(context: template.Context, name: str) -> list[dict]:
    request = context.get("request")
    return navigation.menu(name, request, context.get("nav_current", "")) if request else []


@register.simple_tag(takes_context=True)
def place(context: template.Context, name: str) -> str:
    """The address of one of navigation.PLACES, or nothing when that page is not there."""
    request = context.get("request")
    return (navigation.route_url(navigation.PLACES[name], request) or "") if request else ""


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """The current query string with some parameters changed: {% query page=2 %}."""
    values = context["request"].GET.copy()
    for name, value in changes.items():
        if value in (None, ""):
            values.pop(name, None)
        else:
            values[name] = str(value)
    return f"?{values.urlencode()}"


@register.simple_tag(takes_context=True)
def chosen(context: template.Context, name: str, value: str) -> str:
    """The mark of the option that the address names."""
    return " selected" if context["request"].GET.get(name, "") == str(value) else ""


@register.simple_tag
def hex(value: Any) -> str:  # noqa: A001 - the tag's name in templates
    """bytes or text as 0x-text; addresses (20 bytes) keep the spelling they came with."""
    if isinstance(value, bytes | bytearray | memoryview):
        return "0x" + bytes(value).hex()
    return str(value or "")


@register.simple_tag
def idle_seconds() -> int:
    return settings.SESSION_IDLE_SECONDS


@register.filter
def short_hash(value: str) -> str:
    return f"{value[:6]}…{value[-4:]}" if len(value) > 14 else value


@register.filter
def tenant_class(organisation: Any) -> str:
    colour = str(getattr(organisation, "colour", "") or "")
    if colour in look.TENANT_COLOURS:
        return f"t-{colour}"
    if not organisation:
        return ""
    seed = hashlib.sha256(str(getattr(organisation, "slug", organisation)).encode()).digest()[0]
    return f"t-{look.TENANT_COLOURS[seed % len(look.TENANT_COLOURS)]}"


@register.filter
def initials(name: str) -> str:
    words = [w for w in str(name or "").replace("@", " ").split() if w[:1].isalpha()]
    words = [w for w in words if w.rstrip(".").lower() not in ("dr", "prof", "mr", "mrs", "ms")] or words
    return "".join(w[0] for w in (words[:1] + words[-1:] if len(words) > 1 else words)).upper() or "?"


@register.filter
def category_icon(category: str) -> str:
    return look.CATEGORIES.get(str(category), look.CATEGORIES["other"])[0]


@register.filter
def category_label(category: str) -> str:
    return str(look.CATEGORIES.get(str(category), look.CATEGORIES["other"])[1])


@register.filter
def note_icon(kind: str) -> str:
    return look.NOTE_ICONS.get(kind, kind)


@register.filter
def message_kind(level: str) -> str:
    return {"success": "ok", "warning": "wait", "error": "warn"}.get(level, "info")


@register.filter
def patient_name(patient: Any) -> str:
    return f"{getattr(patient, 'given_name', '')} {getattr(patient, 'family_name', '')}".strip()


@register.filter
def sex_word(patient: Any) -> str:
    words = {"male": _("Male"), "female": _("Female"), "other": _("Other"), "unknown": _("Not known")}
    value = str(getattr(patient, "sex", patient) or "")
    return words.get(value, value)


@register.filter
def age(born: date | None) -> int | str:
    if not born:
        return ""
    today = timezone.localdate()
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


@register.filter
def iso(value: date | datetime | None) -> str:
    return value.isoformat() if value else ""


@register.filter
def when(value: date | datetime | None, form: str = "datetime") -> str:
    """A moment in words: date, time, datetime, full (with seconds), ago, or day (Today, Yesterday, a date)."""
    if not value:
        return ""
    local = timezone.localtime(value) if isinstance(value, datetime) and timezone.is_aware(value) else value
    if form == "ago" and isinstance(value, datetime):
        if abs((timezone.now() - value).total_seconds()) < 60:
            return _("just now")
        return _("%(time)s ago") % {"time": timesince(value).split(",")[0]}
    if form == "day":
        day = local.date() if isinstance(local, datetime) else local
        days = (timezone.localdate() - day).days
        named = {0: _("Today, %(day)s"), 1: _("Yesterday, %(day)s")}.get(days, "%(day)s")
        return named % {"day": format_date(day, "j F" if days in (0, 1) else "l, j F Y")}
    formats = {"date": "j M Y", "time": "H:i", "datetime": "j M Y, H:i", "full": "j M Y, H:i:s"}
    return format_date(local, formats.get(form, form))


@register.filter
def duration(value: timedelta) -> str:
    """A waiting time in its largest whole unit: 2 days, 36 hours, 1 minute."""
    seconds = round(value.total_seconds())
    if seconds >= 2 * 86400 and seconds % 86400 == 0:
        return ngettext("%(n)d day", "%(n)d days", seconds // 86400) % {"n": seconds // 86400}
    if seconds >= 3600 and seconds % 3600 == 0:
        return ngettext("%(n)d hour", "%(n)d hours", seconds // 3600) % {"n": seconds // 3600}
    if seconds >= 60 and seconds % 60 == 0:
        return ngettext("%(n)d minute", "%(n)d minutes", seconds // 60) % {"n": seconds // 60}
    return ngettext("%(n)d second", "%(n)d seconds", seconds) % {"n": seconds}


@register.filter
def styled(field: forms.BoundField) -> str:
    """The widget with our classes; a class the form set itself stays."""
    widget = field.field.widget
    attrs = {}
    if "class" not in widget.attrs:
        if isinstance(widget, (forms.Textarea, forms.SelectMultiple)):
            attrs["class"] = "p-field p-field--area"
        elif not isinstance(widget, forms.CheckboxInput | forms.RadioSelect | forms.FileInput):
            attrs["class"] = "p-field"
    return field.as_widget(attrs=attrs)


@register.filter
def widget_kind(field: forms.BoundField) -> str:
    widget = field.field.widget
    kinds = (
        (forms.CheckboxSelectMultiple, "checkboxes"),
        (forms.RadioSelect, "radios"),
        (forms.CheckboxInput, "checkbox"),
        (forms.FileInput, "file"),
    )
    return next((name for kind, name in kinds if isinstance(widget, kind)), "text")


@register.filter
def account_mark(user: Any) -> str:
    """Tells an open page whether it is still the same person, without saying who."""
    return salted_hmac("portal.account", str(user.pk)).hexdigest()[:16]


DEVICES = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "Mac"),
    ("CrOS", "Chromebook"),
    ("Linux", "Linux"),
)
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))


@register.filter
def device_name(user_agent: str) -> str:
    """Only what a person recognises: "Firefox on Windows"."""
    system = next((name for mark, name in DEVICES if mark in user_agent), "")
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or _("Another program")


@register.filter
def device_icon(user_agent: str) -> str:
    return "phone" if any(mark in user_agent for mark in ("iPhone", "Android", "iPad")) else "laptop"
