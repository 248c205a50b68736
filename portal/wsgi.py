from django.core.wsgi import get_wsgi_application

from portal import env

env.default_settings("portal.settings.dev")
application = get_wsgi_application()
